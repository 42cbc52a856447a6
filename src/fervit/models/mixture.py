"""Ensembles as models: members' probabilities mixed by weight, in one module and in one folder.

The folder holds `ensemble.json` (members, weights, `ModelSpec`) and `members/`, a plain model folder for each. Each
member sees the face in its own way: the mixture has an input for each distinct `Preprocess`, see `ModelSpec.inputs`.
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import nn

from fervit.errors import ModelError
from fervit.labels import canonical, label_places
from fervit.models.checkpoint import ENSEMBLE_FILE, read_checkpoint, save_checkpoint
from fervit.types import ModelSpec

MEMBERS = "members"
ARCH = "ensemble"


class Mixture(nn.Module):
    """Soft vote: logits of `sum_k w_k softmax(logits_k)`, over the mixture's temperature.

    Args:
        members: models that take `pixel_values` and answer with `.logits (B, K)`.
        specs: one for each member.
        weights: one for each member, positive, summing to 1.
        spec: of the mixture, see `mixture_spec`.
    """

    def __init__(self, members: Sequence[Any], specs: Sequence[ModelSpec], weights: Sequence[float], spec: ModelSpec):
        super().__init__()
        self.members = nn.ModuleList(members)
        names = {preprocess: name for name, preprocess in spec.inputs.items()}
        self.sources = [names[own.preprocess] for own in specs]
        self.orders = [label_places(own.labels, spec.labels) for own in specs]
        self.temperature = spec.temperature
        self.log_weights: torch.Tensor
        self.register_buffer("log_weights", torch.tensor(weights).log().view(-1, 1, 1))

    def forward(self, **inputs: Any) -> Any:
        """Return an output whose `.logits` is `(B, K)`, from a `(B, 3, S, S)` tensor for each of `spec.inputs`.

        Raises:
            ModelError: attention is asked for; only the members have it.
        """
        from transformers.modeling_outputs import ImageClassifierOutput

        if inputs.get("output_attentions"):
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
    """Return what the mixture of these models is, its main input that of the largest pictures.

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
        cuts = [(s.preprocess.crop_margin, s.preprocess.crop_offset) for s in (first, other)]
        if cuts[0] != cuts[1]:
            raise ModelError(
                f"{first.name} and {other.name} crop faces differently (crop_margin, crop_offset: {cuts[0]} and "
                f"{cuts[1]}), and an ensemble is given one crop; train them with the same"
            )
    ways = sorted(dict.fromkeys(s.preprocess for s in specs), key=lambda way: -way.image_size)
    hashes = {s.data_hash for s in specs}
    return ModelSpec(
        arch=ARCH,
        preprocess=ways[0],
        labels=first.labels,
        name=name,
        licence=" AND ".join(dict.fromkeys(s.licence for s in specs if s.licence)),
        data_hash=hashes.pop() if len(hashes) == 1 else "",
        extra_inputs=tuple(ways[1:]),
    )


def save_mixture(
    members: Sequence[tuple[Any, ModelSpec]], weights: Sequence[float], spec: ModelSpec, folder: Path
) -> list[Path]:
    """Write an ensemble's folder, the members' weights as float16, and return the members' folders."""
    names = [f"{k}-{_plain(own.name)}" for k, (_, own) in enumerate(members, start=1)]
    for name, (model, own) in zip(names, members, strict=True):
        save_checkpoint(model, own, folder / MEMBERS / name, half=True)
    rows = [{"folder": name, "weight": float(weight)} for name, weight in zip(names, weights, strict=True)]
    text = json.dumps({"members": rows, "spec": spec.to_dict()}, indent=2) + "\n"
    (folder / ENSEMBLE_FILE).write_text(text, encoding="utf-8")
    return [folder / MEMBERS / name for name in names]


def load_mixture(folder: Path) -> tuple[Mixture, ModelSpec]:
    """Read an ensemble's folder, ready to evaluate.

    Raises:
        ModelError: `ensemble.json` is not readable, names a folder outside `members/`, its weights are none, or a
            member is missing, broken or no longer what it was when the ensemble was made.
    """
    try:
        values = json.loads((folder / ENSEMBLE_FILE).read_text(encoding="utf-8"))
        spec = ModelSpec.from_dict(values["spec"])
        rows = [(str(row["folder"]), float(row["weight"])) for row in values["members"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / ENSEMBLE_FILE} is not readable ({error}); run `fervit ensemble` again") from error
    weights = [weight for _, weight in rows]
    if not rows or not all(weight > 0 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
        raise ModelError(f"{folder}: expected members with positive weights that sum to 1, got {weights}")
    for name, _ in rows:
        if PurePath(name).parts != (name,) or name == "..":
            raise ModelError(f"{folder}: member {name!r} is no folder in {MEMBERS}/")
        if (folder / MEMBERS / name / ENSEMBLE_FILE).exists():
            raise ModelError(f"{folder}: member {name} is an ensemble itself")
    loaded = [read_checkpoint(folder / MEMBERS / name) for name, _ in rows]
    specs = [own for _, own in loaded]
    expected = mixture_spec(specs, name=spec.name)
    if (expected.inputs, expected.labels) != (spec.inputs, spec.labels):
        raise ModelError(f"{folder}: its members are not those that it was made of; run `fervit ensemble` again")
    return Mixture([model for model, _ in loaded], specs, weights, spec).eval(), spec


def _plain(name: str) -> str:
    """Return a name as a part of a path."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name).strip(".-") or "member"
