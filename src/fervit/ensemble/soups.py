"""Model soups: the mean of the weights of models of one architecture and shape, which is one plain model again.

Wortsman et al. 2022, arXiv 2203.05482: fine-tuned from the same starting weights, models lie in one basin, and
their mean is often better than the best of them, at the cost of one. From unlike starting weights it is noise.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.ensemble.voting import (
    SOUP_FILE,
    Choice,
    check_data,
    check_members,
    figures,
    judge,
    read_rounded,
    replacing,
    tell_apart,
)
from fervit.ensemble.weights import GREEDY, UNIFORM
from fervit.errors import ConfigError, ModelError, unknown
from fervit.evaluation.calibration import fit_temperature
from fervit.evaluation.measurement import measure
from fervit.evaluation.prediction import predict_dataset
from fervit.models import TorchClassifier, save_checkpoint
from fervit.probabilities import log_probs
from fervit.reports.card import Origin, model_card
from fervit.types import ModelSpec

SOUPS = (UNIFORM, GREEDY)
# What may differ between the configurations of two models of one shape.
INCIDENTAL = ("fervit", "_name_or_path", "dtype", "torch_dtype", "transformers_version", "id2label", "label2id")
State = Mapping[str, torch.Tensor]


def soup(
    folders: Sequence[Path],
    dataset: Dataset,
    out: Path,
    *,
    kind: str,
    overwrite: bool = False,
    command: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """Average the weights of models and write the mean as a plain model folder, calibrated on public_test.

    Args:
        folders: model folders of one architecture and shape.
        dataset: a greedy soup is chosen on its public_test split; no other is read.
        out: the folder to write.
        kind: `uniform` takes all; `greedy` takes them from the best to the worst, each only if the soup's
            accuracy does not fall (Wortsman et al. 2022, recipe 1).
        overwrite: replace the ensemble or soup in `out`.
        command: the command line, for the card.
        progress: called with pictures done and pictures in all, over all models that are asked.

    Raises:
        ConfigError: an unknown kind, fewer than two members, one twice, or `out` is in the way.
        ModelError: a member cannot be read, has batch norms, or is of another shape, labels or preprocessing.
        DataError: the data set has no public_test.
    """
    if kind not in SOUPS:
        raise ConfigError(unknown("soup", kind, SOUPS))
    check_members(folders, out, overwrite=overwrite)
    part = dataset.split(PUBLIC_TEST)
    loaded = [read_rounded(folder) for folder in folders]
    specs = [spec for _, spec in loaded]
    names = tell_apart(specs, folders)
    check_alike([model for model, _ in loaded], specs, names)
    check_data(specs[0], part)
    states = [model.state_dict() for model, _ in loaded]
    pot = _Pot(
        read_rounded(folders[0])[0],
        specs[0],
        part,
        progress,
        passes=len(folders) + (len(folders) - 1) * (kind == GREEDY) + 2,
    )
    asked = np.stack([pot.ask(state) for state in states])
    taken = _greedy(pot, states, asked) if kind == GREEDY else list(range(len(states)))
    temperature = pot.calibrate(mean([states[k] for k in taken]))
    probs = pot.ask(pot.model.state_dict())
    shares = np.array([(k in taken) / len(taken) for k in range(len(states))])
    choice = judge(f"{kind} soup", part, names, shares, asked, probs)
    spec = replace(specs[0], name=out.name, temperature=temperature, metrics=figures(probs, part, specs[0]))
    members = [names[k] for k in taken]
    with replacing(out) as folder:
        save_checkpoint(pot.model, spec, folder, half=True)
        record = json.dumps({"kind": kind, "members": members, "command": command}, indent=2) + "\n"
        (folder / SOUP_FILE).write_text(record, encoding="utf-8")
        report = measure(probs, part, model=spec.name)
        base = f"a {kind} soup (arXiv 2203.05482) of {', '.join(members)}"
        origin = Origin(dataset=part.name, base_model=base, command=command)
        text = model_card(spec, report=report, origin=origin)
        (folder / "README.md").write_text(text, encoding="utf-8")
    return choice


class _Pot:
    """One model whose weights are exchanged, asked about the same faces again and again."""

    def __init__(
        self, model: Any, spec: ModelSpec, part: Dataset, progress: Callable[[int, int], None] | None, *, passes: int
    ):
        self.model, self.spec, self.part = model, spec, part
        self._progress, self._passes, self._done = progress, passes, 0

    def ask(self, state: State) -> np.ndarray:
        """Return `(N, K)` probabilities with these weights, rounded as they would be stored."""
        self.fill(state)
        tick, before = self._progress, self._done * len(self.part)
        total = self._passes * len(self.part)
        step = None if tick is None else (lambda done, _: tick(before + done, total))
        self._done += 1
        return predict_dataset(TorchClassifier(self.model, self.spec), self.part, progress=step)

    def fill(self, state: State) -> None:
        """Take over weights, rounded to float16."""
        rounded = {name: x.half().float() if x.is_floating_point() else x for name, x in state.items()}
        self.model.load_state_dict(rounded)

    def calibrate(self, state: State) -> float:
        """Take over weights with the best temperature on these faces folded into the head, and return it."""
        temperature = fit_temperature(log_probs(self.ask(state)), self.part.targets)
        head = ("classifier.weight", "classifier.bias")
        self.fill({name: x / temperature if name in head else x for name, x in state.items()})
        return temperature


def _greedy(pot: _Pot, states: Sequence[State], asked: np.ndarray) -> list[int]:
    """Return the members of the greedy soup, best first."""
    targets = pot.part.targets

    def accuracy(probs: np.ndarray) -> float:
        return float((probs.argmax(axis=1) == targets).mean())

    first, *others = sorted(range(len(states)), key=lambda k: -accuracy(asked[k]))
    taken, best = [first], accuracy(asked[first])
    for k in others:
        reached = accuracy(pot.ask(mean([states[j] for j in (*taken, k)])))
        if reached >= best:
            taken, best = [*taken, k], reached
    return taken


def mean(states: Sequence[State]) -> dict[str, torch.Tensor]:
    """Return the mean of weights; what is no float is the first one's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if x.is_floating_point() else x
        for name, x in states[0].items()
    }


def check_alike(models: Sequence[Any], specs: Sequence[ModelSpec], names: Sequence[str]) -> None:
    """Refuse models whose weights have no mean, naming what differs.

    Raises:
        ModelError: another architecture, shape, label order or preprocessing; or batch norms, whose running
            statistics are not those of the mean weights.
    """
    for name, model in zip(names, models, strict=True):
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            raise ModelError(
                f"{name} has batch norms, whose running statistics would not fit averaged weights; "
                "average the answers instead: leave --soup out"
            )
    for name, model, spec in zip(names[1:], models[1:], specs[1:], strict=True):
        if differing := _differences(models[0], model, specs[0], spec):
            raise ModelError(
                f"{names[0]} and {name} cannot be one soup, they differ in {'; '.join(differing)}; "
                "average their answers instead: leave --soup out"
            )


def _differences(first: Any, other: Any, spec: ModelSpec, its: ModelSpec) -> list[str]:
    pairs = {"labels": (", ".join(spec.labels), ", ".join(its.labels)), "arch": (spec.arch, its.arch)}
    ours, theirs = (vars(spec.preprocess), vars(its.preprocess))
    pairs |= {key: (ours[key], theirs[key]) for key in ours}
    ours, theirs = (model.config.to_dict() for model in (first, other))
    pairs |= {key: (ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs) if key not in INCIDENTAL}
    found = [f"{key} ({a} and {b})" for key, (a, b) in pairs.items() if a != b]
    shapes = [{name: tuple(x.shape) for name, x in model.state_dict().items()} for model in (first, other)]
    if not found and shapes[0] != shapes[1]:
        odd = next(name for name in (*shapes[0], *shapes[1]) if shapes[0].get(name) != shapes[1].get(name))
        found = [f"{odd} ({shapes[0].get(odd)} and {shapes[1].get(odd)})"]
    return found
