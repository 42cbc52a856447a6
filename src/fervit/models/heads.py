"""The head of starting weights: rows of labels that the new model has, too, go on under its names and in its order."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel

from fervit.labels import find_places
from fervit.models.backbone import head_of
from fervit.weights.hub import cached_file, parse_hub_id

MANY = 8  # labels; of more, a message names the first

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """The head of a classifier: `weight (K, D)` and `bias (K,)` for its K labels, and what kind of model it is of."""

    model_type: str
    labels: tuple[str, ...]
    weight: torch.Tensor
    bias: torch.Tensor


@torch.no_grad()
def carry_head(model: PreTrainedModel, init: str | Path, labels: Sequence[str]) -> None:
    """Copy the rows of a trained head whose labels a new model has, by name whatever the spelling, into its head.

    The same labels in the same order and spelling are left as they are: the architectures keep their head themselves.
    In every other case one line is logged that says what was kept and what is new.

    Args:
        model: new, over `labels`.
        init: what it started from; only model folders and Hub ids have a head with names.
        labels: of the new model.
    """
    theirs = _read_head(init)
    if theirs is None or theirs.labels == tuple(labels):
        return
    head = head_of(model)
    fits = theirs.model_type == model.config.model_type and theirs.weight.shape[1] == head.in_features
    places = find_places(theirs.labels, labels)
    if fits:
        for row, place in enumerate(places):
            if place is not None:
                head.weight[row] = theirs.weight[place].to(head.weight)
                head.bias[row] = theirs.bias[place].to(head.bias)
    logger.warning("%s", _what_was_kept(init, theirs, labels, places if fits else None))


def _what_was_kept(
    init: str | Path, theirs: TrainedHead, labels: Sequence[str], places: Sequence[int | None] | None
) -> str:
    """Return a line on the head; `places` are None where the head is of another kind."""
    if places is None:
        return (
            f"the head is new: that of {init}, for {_names(theirs.labels)}, is of a {theirs.model_type} "
            f"with {theirs.weight.shape[1]} features and does not fit"
        )
    kept = [
        name if name == theirs.labels[place] else f"{name} (there {theirs.labels[place]})"
        for name, place in zip(labels, places, strict=True)
        if place is not None
    ]
    if not kept:
        return f"the head is new: {init} predicts {_names(theirs.labels)}, none of {_names(labels)}"
    new = [name for name, place in zip(labels, places, strict=True) if place is None]
    unused = [name for k, name in enumerate(theirs.labels) if k not in places]
    order = "" if places == sorted(place for place in places if place is not None) else ", in the data's order"
    parts = [f"the head of {init} is kept for {_names(kept)}{order}"]
    parts += [f"new: {_names(new)}"] if new else []
    parts += [f"not used: {_names(unused)}"] if unused else []
    return "; ".join(parts)


def _names(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:MANY])
    return shown if len(labels) <= MANY else f"{shown} and {len(labels) - MANY} more"


def _read_head(init: str | Path) -> TrainedHead | None:
    """Return the head in a model folder or a Hub id, or None where there is none with names."""
    try:
        config = json.loads(_file_of(init, "config.json").read_text(encoding="utf-8"))
        names = {int(k): str(name) for k, name in config["id2label"].items()}
        weight, bias = (_read_tensor(init, f"classifier.{part}") for part in ("weight", "bias"))
        labels = tuple(names[k] for k in sorted(names))
        if weight.ndim != 2 or len(weight) != len(labels) or weight.shape[:1] != bias.shape:
            return None
        return TrainedHead(str(config["model_type"]), labels, weight, bias)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError):
        return None  # a file, `scratch`, a backbone: none has a head; what is broken was refused before


def _read_tensor(init: str | Path, name: str) -> torch.Tensor:
    """Return one tensor of a model, from its single file or from the one that its index names."""
    try:
        path = _file_of(init, "model.safetensors")
    except FileNotFoundError:
        index = json.loads(_file_of(init, "model.safetensors.index.json").read_text(encoding="utf-8"))
        path = _file_of(init, Path(index["weight_map"][name]).name)
    with safe_open(path, framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
    return tensor


def _file_of(init: str | Path, name: str) -> Path:
    """Return a file of a folder, or of a Hub id as the cache has it: its model has just been read.

    Raises:
        FileNotFoundError: it has none.
    """
    path: Path | None = Path(init) / name
    if not Path(init).exists():
        hub_id = parse_hub_id(str(init))
        path = None if hub_id is None else cached_file(hub_id, name)
    if path is None or not path.is_file():
        raise FileNotFoundError(name)
    return path
