"""Going on from a model folder of the same architecture: at another image size, with other labels."""

import json
from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel

from fervit.errors import ModelError
from fervit.models.positions import resize_positions


def model_type_of(init: str | Path) -> str | None:
    """Return the `model_type` of a model folder, or None where `init` is none that can be read."""
    try:
        values = json.loads((Path(init) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a file, a Hub id, or a folder of which the plain ViT's builder says what is wrong
        return None
    return str(values.get("model_type")) if isinstance(values, dict) else None


def check_fit(init: str | Path, theirs: Mapping[str, object], options: object) -> None:
    """Compare what a folder was built with, by the options' names, with what is wanted.

    Raises:
        ModelError: they differ; the message names both and how to take the folder's own.
    """
    differing = {name: value for name, value in theirs.items() if value != getattr(options, name)}
    if differing:
        both = ", ".join(
            f"{name} {value} (model.{name} is {getattr(options, name)})" for name, value in differing.items()
        )
        fix = " ".join(f"--set model.{name}={value}" for name, value in differing.items())
        raise ModelError(f"{init} does not fit: it has {both}; take other weights, or {fix}")


def inherit(model: PreTrainedModel, parent: PreTrainedModel, *, head: bool) -> None:
    """Copy a parent's weights into a new model of its architecture, the head only where `head`.

    Positions are interpolated to the model's own grid.
    """
    state = parent.state_dict()
    if not head:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    key = f"{model.base_model_prefix}.embeddings.position_embeddings"
    if key in state:
        count = model.get_parameter(key).shape[1]
        state[key] = resize_positions(state[key], round((count - 1) ** 0.5))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("classifier.") for name in missing), (missing, unexpected)
