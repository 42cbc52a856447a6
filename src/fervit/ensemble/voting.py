"""Ensembles by soft vote: members and weights chosen on public_test, written as one folder that acts as a model.

Nothing here reads private_test. What is chosen on public_test flatters there, so the verdict (is the ensemble better
than its best member?) is drawn from answers whose weights were chosen without the face, see `vote.cross_fitted`.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fervit import probabilities
from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.ensemble.weights import FITTED, FOLDS, UNIFORM, chooser, cross_fitted, mix
from fervit.errors import ConfigError, ModelError
from fervit.evaluation import intervals
from fervit.evaluation.calibration import fit_temperature
from fervit.evaluation.comparison import Comparison, compare_probs
from fervit.evaluation.measurement import measure
from fervit.evaluation.prediction import predict_dataset
from fervit.labels import canonical
from fervit.models import TorchClassifier, load_checkpoint
from fervit.models.checkpoint import ENSEMBLE_FILE
from fervit.models.mixture import mixture_spec, save_mixture
from fervit.probabilities import log_probs, soften
from fervit.reports.card_ensemble import EnsembleFigures, EnsembleLine, ensemble_card
from fervit.types import ModelSpec

SOUP_FILE = "soup.json"  # tells a soup's folder from any other model's


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table: a member, or all together.

    Attributes:
        name: what to call it.
        weight: share of the vote; None for all together.
        probs: `(N, K)` its answers on public_test.
        accuracy: share of right answers, 0..1, and its 95 % interval.
        nll: mean negative log-likelihood in nats, and its 95 % interval.
    """

    name: str
    weight: float | None
    probs: np.ndarray
    accuracy: tuple[float, float, float]
    nll: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Choice:
    """What was made of the members, and what it is worth on public_test.

    Attributes:
        kind: such as `soft vote (fitted weights)` or `greedy soup`.
        dataset: the data set's name.
        members: one row for each that was given, in that order; those left out have weight 0.
        mix: the ensemble, as it was written.
        fair: the ensemble with weights that were chosen without the face; None where nothing was chosen.
        comparison: the best member against `fair`, or `mix` where nothing was chosen.
    """

    kind: str
    dataset: str
    members: tuple[Row, ...]
    mix: Row
    fair: Row | None
    comparison: Comparison

    @property
    def lines(self) -> tuple[Row, ...]:
        """All lines of the table."""
        return (*self.members, self.mix, *(() if self.fair is None else (self.fair,)))

    @property
    def better(self) -> bool:
        """Whether it is better than its best member by more than chance explains."""
        return self.comparison.distinguishable and self.comparison.accuracy[1] > self.comparison.accuracy[0]

    @property
    def verdict(self) -> str:
        """What follows, in one sentence."""
        said = self.comparison.verdict
        return said if self.better else f"it is not better than its best member in accuracy: {said}"


def ensemble(
    folders: Sequence[Path],
    dataset: Dataset,
    out: Path,
    *,
    weights: str | None = None,
    select: str | None = None,
    overwrite: bool = False,
    command: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """Let models vote and write them as one folder.

    Args:
        folders: model folders; the pool.
        dataset: members and weights are chosen on its public_test split; no other is read.
        out: the folder to write.
        weights: `fitted` minimises the mixture's negative log-likelihood, `uniform` gives equal ones; None is
            `fitted`, or what greedy selection counted.
        select: `greedy` takes members from the pool one by one as long as they help; None takes all.
        overwrite: replace the ensemble in `out`.
        command: the command line, for the card.
        progress: called with pictures done and pictures in all, over all members.

    Raises:
        ConfigError: an unknown choice, fewer than two members, one twice, or `out` is in the way.
        ModelError: a member cannot be read, or members or data do not fit each other.
        DataError: the data set has no public_test.
    """
    choose = chooser(weights, select)
    check_members(folders, out, overwrite=overwrite)
    part = dataset.split(PUBLIC_TEST)
    specs = [read_rounded(folder)[1] for folder in folders]
    check_data(mixture_spec(specs, name=out.name), part)
    names = tell_apart(specs, folders)
    asked = ask(folders, part, progress)
    shares = choose(asked, part.targets)
    mixed = mix(asked, shares)
    temperature = fit_temperature(log_probs(mixed), part.targets)
    probs = soften(mixed, temperature)
    fair = None if (weights, select) == (UNIFORM, None) else cross_fitted(asked, part.targets, choose)
    choice = judge(_kind(weights, select), part, names, shares, asked, probs, fair)
    kept = [k for k, share in enumerate(shares) if share > 0]
    spec = mixture_spec([specs[k] for k in kept], name=out.name)  # of what is in the folder, not of the pool
    spec = replace(spec, temperature=temperature, metrics=figures(probs, part, spec))
    with replacing(out) as folder:
        members = save_mixture([read_rounded(folders[k]) for k in kept], [float(shares[k]) for k in kept], spec, folder)
        for k, member in zip(kept, members, strict=True):
            if (folders[k] / "README.md").is_file():
                shutil.copyfile(folders[k] / "README.md", member / "README.md")
        (folder / "README.md").write_text(card(spec, choice, command=command), encoding="utf-8")
    return choice


def check_members(folders: Sequence[Path], out: Path, *, overwrite: bool) -> None:
    """Refuse what would fail or destroy something later.

    Raises:
        ConfigError: there are fewer than two members, one is given twice, or `out` is in the way or one of them.
        ModelError: a member is no model folder.
    """
    if len(folders) < 2:
        raise ConfigError(f"an ensemble needs two members or more, got {len(folders)}")
    places = [folder.resolve() for folder in folders]
    for k, (folder, place) in enumerate(zip(folders, places, strict=True)):
        if place in places[:k]:
            raise ConfigError(f"{folder} is given twice; weights say how much a member counts")
        if not folder.is_dir():
            found = "is an exported file" if folder.is_file() else "does not exist"
            raise ModelError(f"{folder} {found}: the members of an ensemble are model folders")
        if (folder / ENSEMBLE_FILE).is_file():
            raise ModelError(f"{folder} is an ensemble itself: name its members, the folders in {folder / 'members'}")
        if out.resolve() == place or out.resolve() in place.parents or place in out.resolve().parents:
            raise ConfigError(f"--out {out} and the member {folder} lie in one another: take another folder")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not any((out / name).is_file() for name in (ENSEMBLE_FILE, SOUP_FILE)):
        raise ConfigError(f"{out} exists and is no ensemble of fervit's, so it is not replaced: take another folder")
    if not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it")


def check_data(spec: ModelSpec, part: Dataset) -> None:
    """Raise `ModelError` unless the data has the same labels as the members, in any order or spelling."""
    ours, theirs = ({canonical(name) for name in labels} for labels in (spec.labels, part.labels))
    if ours != theirs:
        raise ModelError(
            f"{part.name} and the members have different labels (only one of them has "
            f"{', '.join(sorted(ours ^ theirs))}); choose weights on data that has all of theirs"
        )


def tell_apart(specs: Sequence[ModelSpec], folders: Sequence[Path]) -> list[str]:
    """Return what to call the members: their own names, or where they lie when two have the same."""
    own = [spec.name or folder.name for spec, folder in zip(specs, folders, strict=True)]
    for names in (own, [folder.name for folder in folders]):
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def read_rounded(folder: Path) -> tuple[Any, ModelSpec]:
    """Read a member with its weights rounded to float16, as they are going to be stored."""
    model, spec = load_checkpoint(folder)
    return model.half().float(), spec


def ask(folders: Sequence[Path], part: Dataset, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Return `(M, N, K)` probabilities of models, one in memory at a time, columns in the data's order."""
    count, asked = len(part), []
    for k, folder in enumerate(folders):
        tick = None if progress is None else (lambda done, _, k=k: progress(k * count + done, len(folders) * count))
        probs = predict_dataset(TorchClassifier(*read_rounded(folder)), part, progress=tick)
        asked.append(probabilities.check_probs(probs, part.targets)[0])
    return np.stack(asked)


def row(name: str, weight: float | None, probs: np.ndarray, targets: np.ndarray) -> Row:
    """Measure one line of the table."""
    right = int((probs.argmax(axis=1) == targets).sum())
    losses = -np.log(probs[np.arange(len(targets)), targets].clip(probabilities.SMALLEST_PROB))
    spread = intervals.bootstrap_interval(losses, lambda sums: sums / len(targets))
    share = right / len(targets)
    return Row(
        name, weight, probs, (share, *intervals.wilson_interval(right, len(targets))), (float(losses.mean()), *spread)
    )


def figures(probs: np.ndarray, part: Dataset, spec: ModelSpec) -> dict[str, Any]:
    """Return what a `ModelSpec` tells of public_test."""
    report = dict(measure(probs, part, model=spec.name).to_dict())
    wanted = ("n", "accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95", "balanced_accuracy", "ece", "nll")
    return {PUBLIC_TEST: {key: report[key] for key in wanted}}


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of `out` only when all is written.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".ensemble-") as scratch:
            folder = Path(scratch) / "new"
            folder.mkdir()
            yield folder
            if out.exists():
                out.rename(Path(scratch) / "old")
            folder.rename(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}") from error


def judge(
    kind: str,
    part: Dataset,
    names: Sequence[str],
    shares: np.ndarray,
    asked: np.ndarray,
    probs: np.ndarray,
    fair: np.ndarray | None = None,
) -> Choice:
    """Measure the members and what was made of them, and compare the best member with it.

    Args:
        kind: what was made.
        part: public_test.
        names: of the members.
        shares: `(M,)` weights; 0 for members that were left out.
        asked: `(M, N, K)` answers of the members.
        probs: `(N, K)` answers of what was made.
        fair: `(N, K)` what `cross_fitted` returns, or None where nothing was chosen.
    """
    rows = [row(*given, part.targets) for given in zip(names, map(float, shares), asked, strict=True)]
    best = max(rows, key=lambda member: (member.accuracy[0], -member.nll[0]))
    whole = row(kind, None, probs, part.targets)
    without = (
        None if fair is None else row(f"the same, chosen without the face ({FOLDS} folds)", None, fair, part.targets)
    )
    judged = whole if without is None else without
    comparison = compare_probs(best.probs, judged.probs, part, names=(best.name, f"the {kind}"), split=PUBLIC_TEST)
    return Choice(kind, part.name, tuple(rows), whole, without, comparison)


def _kind(weights: str | None, select: str | None) -> str:
    if select is None:
        return f"soft vote ({weights or FITTED} weights)"
    return f"soft vote ({select} selection, {weights or 'counted'} weights)"


def card(spec: ModelSpec, choice: Choice, *, command: str = "") -> str:
    """Return the text of an ensemble's `README.md`."""
    figures = EnsembleFigures(
        choice.kind,
        choice.dataset,
        count=len(choice.mix.probs),
        members=sum(bool(line.weight) for line in choice.members),
        lines=[EnsembleLine(line.name, line.weight, line.accuracy, line.nll) for line in choice.lines],
        verdict=choice.verdict,
    )
    return ensemble_card(spec, figures, command=command)
