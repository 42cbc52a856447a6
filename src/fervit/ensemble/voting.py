"""Ensembles by soft voting: members and weights chosen on public_test, written as one folder that acts as a model.

Nothing here reads private_test. What is chosen on public_test flatters there, so the verdict (is the ensemble better
than its best member?) is drawn from predictions whose weights were chosen without the face, see `cross_fitted`.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.ensemble.members import (
    Members,
    Output,
    Progress,
    check_data,
    check_members,
    output_folder,
    predict_members,
    read_rounded,
    unique_names,
)
from fervit.ensemble.results import Choice, compare_with_best_member, spec_metrics
from fervit.ensemble.weights import Weighting, cross_fitted, mix, temperature_of
from fervit.files import replacing_folder
from fervit.licences import union
from fervit.models.mixture import mixture_spec, save_mixture
from fervit.probabilities import soften
from fervit.reports.card_ensemble import EnsembleFigures, ensemble_card
from fervit.types import ModelSpec


def ensemble(
    folders: Sequence[Path],
    dataset: Dataset | Mixture,
    out: Output | Path,
    *,
    weighting: Weighting | None = None,
    progress: Progress | None = None,
) -> Choice:
    """Average the predictions of models and write the models as one folder.

    Args:
        folders: model folders; the pool.
        dataset: members and weights are chosen on its public_test split; no other is read.
        out: the folder to write, in an `Output` where it may replace another.
        weighting: how members and weights are chosen; by default all members with fitted weights.
        progress: called with images done and images in all, over all members.

    Raises:
        ConfigError: fewer than two members, one twice, or `out` is in the way or cannot be written.
        ModelError: a member cannot be read, or members or data do not fit each other.
        DataError: the data set has no public_test.
    """
    out = out if isinstance(out, Output) else Output(out)
    weighting = weighting or Weighting()
    check_members(folders, out)
    with output_folder(out):
        return _ensemble(folders, as_mixture(dataset).split(PUBLIC_TEST), out, weighting, progress)


def _ensemble(
    folders: Sequence[Path], data: Mixture, out: Output, weighting: Weighting, progress: Progress | None
) -> Choice:
    """Make and write the ensemble of models that were checked, into a folder that is held."""
    specs = [read_rounded(folder)[1] for folder in folders]
    data = check_data(mixture_spec(specs, name=out.folder.name), data)
    part = data.joined()
    names = unique_names(specs, folders)
    predicted = predict_members(folders, data, progress)
    members = Members(names, predicted, weighting.fit(predicted, part.targets))
    mixed = mix(predicted, members.weights)
    temperature = temperature_of(mixed, part.targets)
    probs = soften(mixed, temperature)
    fair = cross_fitted(predicted, part.targets, weighting.fit) if weighting.uses_data else None
    choice = compare_with_best_member(str(weighting), part, members, probs, fair)
    kept = np.flatnonzero(members.weights > 0).tolist()
    spec = mixture_spec([specs[k] for k in kept], name=out.folder.name)  # of what is in the folder, not of the pool
    licences = union(spec.trained_on, part.licences)  # weights and temperature were fitted on these faces
    spec = replace(spec, temperature=temperature, metrics=spec_metrics(probs, part), trained_on=licences)
    with replacing_folder(out.folder) as folder:
        _save_members([folders[k] for k in kept], members.weights[kept].tolist(), spec, folder)
        (folder / "README.md").write_text(_card(spec, choice, command=out.command), encoding="utf-8")
    return choice


def _save_members(sources: Sequence[Path], weights: Sequence[float], spec: ModelSpec, folder: Path) -> None:
    """Write the ensemble's folder, with the model cards of its members."""
    written = save_mixture([read_rounded(source) for source in sources], weights, spec, folder)
    for source, member in zip(sources, written, strict=True):
        if (source / "README.md").is_file():
            shutil.copyfile(source / "README.md", member / "README.md")


def _card(spec: ModelSpec, choice: Choice, *, command: str) -> str:
    """Return the text of the ensemble's `README.md`."""
    figures = EnsembleFigures(
        choice.kind,
        choice.dataset,
        count=len(choice.mix.probs),
        members=sum(bool(line.weight) for line in choice.members),
        lines=choice.lines,
        verdict=choice.verdict,
    )
    return ensemble_card(spec, figures, command=command)
