"""Ensembles as models: members' probabilities mixed by weight, in one module and in one folder.

The folder holds `ensemble.json` (members, weights, `ModelSpec`) and `members/`, a plain model folder for each. Each
member has its own preprocessing: the mixture has an input for each distinct `Preprocess`, see `ModelSpec.inputs`.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from fervit.errors import ModelError
from fervit.labels import canonical, label_places
from fervit.licences import union
from fervit.models.checkpoint import read_checkpoint, save_checkpoint
from fervit.types import ModelSpec
from fervit.weights.layout import ENSEMBLE_FILE, MEMBERS, read_object

ARCH = "ensemble"
MAX_MEMBERS = 64  # each is in memory while the ensemble is


class Mixture(nn.Module):
    """The members' weighted mean: logits of `sum_k w_k softmax(logits_k)`, over the mixture's temperature.

    Args:
        members: models that take `pixel_values` and return `.logits (B, K)`.
        specs: one for each member.
        weights: one for each member, positive, summing to 1.
        spec: of the mixture, see `mixture_spec`.
    """

    def __init__(
        self, members: Sequence[nn.Module], specs: Sequence[ModelSpec], weights: Sequence[float], spec: ModelSpec
    ):
        super().__init__()
        self.members = nn.ModuleList(members)
        names = {preprocess: name for name, preprocess in spec.inputs.items()}
        self.sources = [names[own.preprocess] for own in specs]
        self.orders = [label_places(own.labels, spec.labels) for own in specs]
        self.temperature = spec.temperature
        self.log_weights: torch.Tensor
        self.register_buffer("log_weights", torch.tensor(weights).log().view(-1, 1, 1))

    def forward(self, *, output_attentions: bool = False, **inputs: torch.Tensor) -> ImageClassifierOutput:
        """Return an output whose `.logits` is `(B, K)`, from a `(B, 3, S, S)` tensor for each of `spec.inputs`.

        Raises:
            ModelError: attention is wanted; only the members have it.
        """
        if output_attentions:
            raise ModelError(
                f"an ensemble has no attention of its own: name one of its members (in its folder {MEMBERS}/), "
                "or use --method occlusion"
            )
        parts = [
            member(pixel_values=inputs[source]).logits.log_softmax(dim=1)[:, order]
            for member, source, order in zip(self.members, self.sources, self.orders, strict=True)
        ]
        mixed = (torch.stack(parts) + self.log_weights).logsumexp(dim=0)  # (M, B, K) -> (B, K)
        return ImageClassifierOutput(logits=mixed / self.temperature)


def mixture_spec(specs: Sequence[ModelSpec], *, name: str) -> ModelSpec:
    """Return what the mixture of these models is, its main input that of the largest images.

    Raises:
        ModelError: the members have different labels, or crop faces differently.
    """
    first, *others = specs
    for other in others:
        if {canonical(n) for n in other.labels} != {canonical(n) for n in first.labels}:
            raise ModelError(
                f"{first.name} and {other.name} have different labels, so they cannot form an ensemble: "
                f"{', '.join(first.labels)}; {', '.join(other.labels)}"
            )
        crops = [(s.preprocess.crop_margin, s.preprocess.crop_offset) for s in (first, other)]
        if crops[0] != crops[1]:
            raise ModelError(
                f"{first.name} and {other.name} crop faces differently (crop_margin, crop_offset: {crops[0]} and "
                f"{crops[1]}), and an ensemble is given one crop; train them with the same"
            )
    distinct = dict.fromkeys(s.preprocess for s in specs)
    largest, *smaller = sorted(distinct, key=lambda preprocess: -preprocess.image_size)
    hashes = {s.data_hash for s in specs}
    return ModelSpec(
        arch=ARCH,
        preprocess=largest,
        labels=first.labels,
        name=name,
        licence=" AND ".join(dict.fromkeys(s.licence for s in specs if s.licence)),
        data_hash=hashes.pop() if len(hashes) == 1 else "",
        extra_inputs=tuple(smaller),
        trained_on=union(*(s.trained_on for s in specs)),
    )


def save_mixture(
    members: Sequence[tuple[PreTrainedModel, ModelSpec]], weights: Sequence[float], spec: ModelSpec, folder: Path
) -> list[Path]:
    """Write an ensemble's folder, the members' weights as float16, and return the members' folders."""
    names = [f"{k}-{_plain(own.name)}" for k, (_, own) in enumerate(members, start=1)]
    for name, (model, own) in zip(names, members, strict=True):
        save_checkpoint(model, own, folder / MEMBERS / name, half=True)
    entries = [{"folder": name, "weight": float(weight)} for name, weight in zip(names, weights, strict=True)]
    text = json.dumps({"members": entries, "spec": spec.to_dict()}, indent=2) + "\n"
    (folder / ENSEMBLE_FILE).write_text(text, encoding="utf-8")
    return [folder / MEMBERS / name for name in names]


def load_mixture(folder: Path) -> tuple[Mixture, ModelSpec]:
    """Read an ensemble's folder, ready to evaluate.

    Raises:
        ModelError: `ensemble.json` is not readable, names a folder outside `members/`, its weights are no weights, or a
            member is missing, broken or no longer what it was when the ensemble was made.
    """
    spec, entries = _read_members(folder)
    loaded = [read_checkpoint(folder / MEMBERS / name) for name, _ in entries]
    specs = [own for _, own in loaded]
    expected = mixture_spec(specs, name=spec.name)
    if (expected.inputs, expected.labels) != (spec.inputs, spec.labels):
        raise ModelError(f"{folder}: its members are not those that it was made of; run `fervit ensemble` again")
    spec = replace(spec, trained_on=union(spec.trained_on, expected.trained_on))
    return Mixture([model for model, _ in loaded], specs, [weight for _, weight in entries], spec).eval(), spec


def _read_members(folder: Path) -> tuple[ModelSpec, list[tuple[str, float]]]:
    """Return what `ensemble.json` says: the mixture, and each member's folder and weight."""
    path = folder / ENSEMBLE_FILE
    try:
        values: Any = read_object(path)
        spec = ModelSpec.from_dict(values["spec"])
        entries = [(str(entry["folder"]), float(entry["weight"])) for entry in values["members"]]
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        raise ModelError(f"{path} is not readable ({error}); run `fervit ensemble` again") from error
    names, weights = [name for name, _ in entries], [weight for _, weight in entries]
    if len(entries) > MAX_MEMBERS:
        raise ModelError(f"{path} lists {len(entries):,} members; expected at most {MAX_MEMBERS}")
    if not entries or not all(weight > 0 for weight in weights) or not abs(sum(weights) - 1) <= 1e-6:
        raise ModelError(f"{folder}: expected members with positive weights that sum to 1, got {weights}")
    if len(set(names)) < len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise ModelError(f"{path} lists the member {twice!r} twice; expected each once, with its whole weight")
    for name in names:
        if PurePath(name).parts != (name,) or name == "..":
            raise ModelError(f"{folder}: member {name!r} is no folder in {MEMBERS}/")
        if (folder / MEMBERS / name / ENSEMBLE_FILE).exists():
            raise ModelError(f"{folder}: member {name} is an ensemble itself")
        if not (folder / MEMBERS / name).resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{folder}: member {name} is a link that leads out of the folder: copy it to its place")
    return spec, entries


def _plain(name: str) -> str:
    """Return a name as one part of a path."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name).strip(".-") or "member"
