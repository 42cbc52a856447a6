# mypy: disallow-untyped-calls=False
"""Whether a configuration describes a model that can be built, and that its weights fill, before memory is spent."""

import re
from pathlib import Path

import torch
from transformers import AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel

from fervit.errors import ModelError, reason
from fervit.types import ModelSpec

SLACK = 50_000_000  # weights that may be missing before it is called another model: `check_shapes` names those


def build_empty(config: PreTrainedConfig, folder: Path) -> PreTrainedModel:
    """Return the model of a configuration without memory for its weights (on torch's device `meta`).

    Raises:
        ModelError: there is no such model; the message names the folder.
    """
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForImageClassification.from_config(
                config, trust_remote_code=False, attn_implementation="eager", dtype=torch.float32
            )
    except Exception as error:  # of many kinds: whatever a network's constructor stumbles over
        raise ModelError(f"{folder}/config.json does not describe a {config.model_type!r}: {reason(error)}") from error
    return model


def check_buildable(config: PreTrainedConfig, folder: Path, size: int) -> None:
    """Refuse a configuration that describes no model, or a far larger one than its weights.

    Args:
        config: as `read_config` returns it.
        folder: of the model, for the message.
        size: bytes of its weights. A weight has at least one.

    Raises:
        ModelError: there is no such model, or it has far more weights than the files can hold.
    """
    model = build_empty(config, folder)
    count = sum(weight.numel() for weight in model.parameters())
    if count > size + SLACK:
        raise ModelError(
            f"{folder} does not fit: its config.json describes a model of {count:,} weights, and its files have "
            f"{size:,} bytes"
        )


@torch.no_grad()
def check_input(model: PreTrainedModel, spec: ModelSpec, folder: Path) -> None:
    """Refuse a preprocessing whose input a model does not take, and labels that it has no output for.

    Args:
        model: without memory, as `build_empty` returns it; nothing is computed.
        spec: of the folder.
        folder: of the model, for the message.

    Raises:
        ModelError: the input has another size or other channels than `config.json` says, or there are more or fewer
            outputs than labels.
    """
    own = spec.preprocess
    shape = (1, own.channels, own.image_size, own.image_size)
    try:
        logits = model.eval()(pixel_values=torch.zeros(shape, device="meta")).logits
    except NotImplementedError:  # a network whose path depends on values, which there are none of here
        return
    except Exception as error:  # of many kinds: whatever a network stumbles over
        if re.search(r"\bmeta\b", str(error)):  # an operation that is not to be had on torch's device `meta`
            return
        raise ModelError(
            f"{folder}: the model does not take what its preprocessor_config.json makes, {own.channels} x "
            f"{own.image_size} x {own.image_size}: {reason(error)}"
        ) from error
    if tuple(logits.shape) != (1, len(spec.labels)):
        raise ModelError(
            f"{folder}: its {len(spec.labels)} labels do not fit the model, whose output is {tuple(logits.shape)[1:]}"
        )
