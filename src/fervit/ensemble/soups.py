"""Model soups: the mean of the weights of models of one architecture and shape, which is one plain model again.

Wortsman et al. 2022, arXiv 2203.05482: fine-tuned from the same starting weights, models lie in one basin, and
their mean is often better than the best of them, at the cost of one. From unlike starting weights it is noise.
The running statistics of batch norms belong to the weights before the mean, so they are measured anew on faces of the
train split, without their labels (Izmailov et al. 2018, arXiv 1803.05407, section 3.2).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from fervit.data.dataset import PUBLIC_TEST, TRAIN, Dataset
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.ensemble.members import (
    SOUP_FILE,
    Members,
    Output,
    Progress,
    check_data,
    check_members,
    output_folder,
    predict_mixture,
    read_rounded,
    unique_names,
)
from fervit.ensemble.results import Choice, compare_with_best_member, spec_metrics
from fervit.ensemble.weights import GREEDY, UNIFORM, temperature_of
from fervit.errors import ConfigError, ModelError, unknown
from fervit.evaluation.measurement import measure
from fervit.files import replacing_folder
from fervit.licences import union
from fervit.models import TorchClassifier, save_checkpoint
from fervit.reports.card import Origin, model_card
from fervit.types import ModelSpec

SOUPS = (UNIFORM, GREEDY)
# What may differ between the configurations of two models of one shape.
INCIDENTAL = ("fervit", "_name_or_path", "dtype", "torch_dtype", "transformers_version", "id2label", "label2id")
STATISTICS_FACES = 4096  # twice as many changed the accuracy of a mean of two MobileNets by less than 0.1 points
State = Mapping[str, torch.Tensor]


def check_kind(kind: str) -> None:
    """Raise `ConfigError` where there is no such soup."""
    if kind not in SOUPS:
        raise ConfigError(unknown("soup", kind, SOUPS))


def soup(
    folders: Sequence[Path],
    dataset: Dataset | Mixture,
    out: Output | Path,
    *,
    kind: str,
    progress: Progress | None = None,
) -> Choice:
    """Average the weights of models and write the mean as a plain model folder, calibrated on public_test.

    Args:
        folders: model folders of one architecture and shape.
        dataset: a greedy soup is chosen on its public_test split. Models with batch norms also read faces of its
            train split, whose statistics they need; no other split is read.
        out: the folder to write, in an `Output` where it may replace another.
        kind: `uniform` takes all; `greedy` takes them from the best to the worst, each only if the soup's
            accuracy does not fall (Wortsman et al. 2022, recipe 1).
        progress: called with images done and images in all, over all models that are run.

    Raises:
        ConfigError: an unknown kind, fewer than two members, one twice, or `out` is in the way or cannot be written.
        ModelError: a member cannot be read, or is of another shape, labels or preprocessing.
        DataError: the data set has no public_test, or no train split that models with batch norms need.
    """
    check_kind(kind)
    out = out if isinstance(out, Output) else Output(out)
    check_members(folders, out)
    with output_folder(out):
        return _soup(folders, as_mixture(dataset), out, kind, progress)


def _soup(folders: Sequence[Path], dataset: Mixture, out: Output, kind: str, progress: Progress | None) -> Choice:
    """Make and write the soup of models that were checked, into a folder that is held."""
    loaded = [read_rounded(folder) for folder in folders]
    specs = [spec for _, spec in loaded]
    names = unique_names(specs, folders)
    check_alike([model for model, _ in loaded], specs, names)
    data = check_data(specs[0], dataset.split(PUBLIC_TEST))
    part = data.joined()
    unlabelled = _faces_for_statistics(dataset) if _batch_norms(loaded[0][0]) else None
    states = [model.state_dict() for model, _ in loaded]
    passes = len(folders) + (len(folders) - 1) * (kind == GREEDY) + 2
    shared = _SharedModel(read_rounded(folders[0])[0], specs[0], data, unlabelled, progress, passes=passes)
    predicted = np.stack([shared.predict(state) for state in states])
    taken = _greedy(shared, states, predicted) if kind == GREEDY else list(range(len(states)))
    temperature = shared.calibrate(shared.mixed([states[k] for k in taken]))
    probs = shared.predict(shared.model.state_dict())
    weights = np.array([(k in taken) / len(taken) for k in range(len(states))])
    choice = compare_with_best_member(f"{kind} soup", part, Members(names, predicted, weights), probs)
    spec = replace(
        specs[0],
        name=out.folder.name,
        temperature=temperature,
        metrics=spec_metrics(probs, part),
        trained_on=union(*(specs[k].trained_on for k in taken), dataset.licences),  # it was calibrated on these faces
    )
    with replacing_folder(out.folder) as folder:
        save_checkpoint(shared.model, spec, folder, half=True)
        record = {"kind": kind, "members": [names[k] for k in taken], "command": out.command}
        (folder / SOUP_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        base = f"a {kind} soup (arXiv 2203.05482) of {', '.join(names[k] for k in taken)}"
        origin = Origin(dataset=part.name, base_model=base, command=out.command)
        text = model_card(spec, report=measure(probs, part, model=spec.name), origin=origin)
        (folder / "README.md").write_text(text, encoding="utf-8")
    return choice


class _SharedModel:
    """One model that predicts for the same faces again and again, each time with other weights."""

    def __init__(
        self,
        model: PreTrainedModel,
        spec: ModelSpec,
        data: Mixture,
        unlabelled: Mixture | None,
        progress: Progress | None,
        passes: int,
    ):
        self.model, self.spec, self.data = model, spec, data
        self._unlabelled = unlabelled
        self._progress, self._passes, self._done = progress, passes, 0

    def predict(self, state: State) -> np.ndarray:
        """Return `(N, K)` probabilities with these weights, rounded as they would be stored."""
        self.load(state)
        tick, before = self._progress, self._done * len(self.data)
        total = self._passes * len(self.data)
        step = None if tick is None else (lambda done, _: tick(before + done, total))
        self._done += 1
        return predict_mixture(TorchClassifier(self.model, self.spec), self.data, progress=step)

    def mixed(self, states: Sequence[State]) -> State:
        """Return the mean of weights, with the statistics of its batch norms where it has any."""
        if self._unlabelled is None:
            return mean(states)
        self.load(mean(states))
        measure_statistics(self.model, self.spec, self._unlabelled)
        return {name: x.clone() for name, x in self.model.state_dict().items()}

    def load(self, state: State) -> None:
        """Take over weights, rounded to float16."""
        rounded = {name: x.half().float() if x.is_floating_point() else x for name, x in state.items()}
        self.model.load_state_dict(rounded)

    def calibrate(self, state: State) -> float:
        """Take over weights with the best temperature on these faces folded into the head, and return it."""
        temperature = temperature_of(self.predict(state), self.data.targets)
        head = ("classifier.weight", "classifier.bias")
        self.load({name: x / temperature if name in head else x for name, x in state.items()})
        return temperature


def _greedy(shared: _SharedModel, states: Sequence[State], predicted: np.ndarray) -> list[int]:
    """Return the members of the greedy soup, best first."""
    targets = shared.data.targets

    def accuracy(probs: np.ndarray) -> float:
        return float((probs.argmax(axis=1) == targets).mean())

    first, *others = sorted(range(len(states)), key=lambda k: -accuracy(predicted[k]))
    taken, best = [first], accuracy(predicted[first])
    for k in others:
        reached = accuracy(shared.predict(shared.mixed([states[j] for j in (*taken, k)])))
        if reached >= best:
            taken, best = [*taken, k], reached
    return taken


def mean(states: Sequence[State]) -> dict[str, torch.Tensor]:
    """Return the mean of weights; what is no float is the first one's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if x.is_floating_point() else x
        for name, x in states[0].items()
    }


def measure_statistics(model: PreTrainedModel, spec: ModelSpec, data: Mixture) -> None:
    """Give the batch norms of a model the mean statistics of these faces, in batches and as they are, unaugmented."""
    classifier = TorchClassifier(model, spec)
    norms = _batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    predict_mixture(classifier, data)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _batch_norms(model: PreTrainedModel) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _faces_for_statistics(dataset: Mixture) -> Mixture:
    """Return training faces, the same every time, for the statistics of batch norms."""
    train = dataset.split(TRAIN)
    chosen = np.random.default_rng(0).permutation(len(train))[:STATISTICS_FACES]
    return train.take(np.sort(chosen))


def check_alike(models: Sequence[PreTrainedModel], specs: Sequence[ModelSpec], names: Sequence[str]) -> None:
    """Refuse models whose weights have no mean, naming what differs.

    Raises:
        ModelError: another architecture, shape, label order or preprocessing.
    """
    for name, model, spec in zip(names[1:], models[1:], specs[1:], strict=True):
        if differing := _differences(models[0], model, specs[0], spec):
            raise ModelError(
                f"{names[0]} and {name} cannot be one soup, they differ in {'; '.join(differing)}; "
                "average their predictions instead: leave --soup out"
            )


def _differences(first: PreTrainedModel, other: PreTrainedModel, spec: ModelSpec, its: ModelSpec) -> list[str]:
    """Return what keeps two models from having a mean, each as `name (the one's and the other's)`."""
    pairs: dict[str, tuple[object, object]] = {
        "labels": (", ".join(spec.labels), ", ".join(its.labels)),
        "arch": (spec.arch, its.arch),
    }
    ours, theirs = vars(spec.preprocess), vars(its.preprocess)
    pairs |= {key: (ours[key], theirs[key]) for key in ours}
    ours, theirs = (model.config.to_dict() for model in (first, other))
    pairs |= {key: (ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs) if key not in INCIDENTAL}
    found = [f"{key} ({a} and {b})" for key, (a, b) in pairs.items() if a != b]
    shapes = [{name: tuple(x.shape) for name, x in model.state_dict().items()} for model in (first, other)]
    if not found and shapes[0] != shapes[1]:
        odd = next(name for name in (*shapes[0], *shapes[1]) if shapes[0].get(name) != shapes[1].get(name))
        found = [f"{odd} ({shapes[0].get(odd)} and {shapes[1].get(odd)})"]
    return found
