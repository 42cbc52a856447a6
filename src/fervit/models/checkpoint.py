# mypy: disallow-untyped-calls=False
"""Checkpoints: plain Hugging Face model folders with fervit's `ModelSpec` inside `config.json`."""

import json
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel

from fervit.errors import ModelError
from fervit.labels import as_known
from fervit.models.folders.building import build_empty, check_input
from fervit.models.folders.config import read_config
from fervit.models.folders.files import find_weights
from fervit.models.folders.processor import processor_of, read_preprocess
from fervit.models.pretrained import (
    check_complete,
    check_loaded,
    label_fields,
    load_pretrained,
    quiet_transformers,
)
from fervit.types import ModelSpec
from fervit.weights.layout import CONFIG, PROCESSOR, folder_name

MARGINS = ("crop_margin", "crop_offset")  # what `preprocessor_config.json` has no place for


def save_checkpoint(model: PreTrainedModel, spec: ModelSpec, folder: Path, *, half: bool = False) -> None:
    """Write `config.json`, `model.safetensors` and `preprocessor_config.json`.

    `half` stores the weights as float16, half the size; they are read back as float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = label_fields(spec.labels)
    model.config.id2label, model.config.label2id = names["id2label"], names["label2id"]
    values = spec.to_dict()
    del values["labels"]
    margins = values.pop("preprocess")
    values |= {key: margins[key] for key in MARGINS}
    model.config.fervit = values
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=state)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # written as readable by the owner alone, which a shared installation cannot use
    text = json.dumps(processor_of(spec.preprocess), indent=2) + "\n"
    (folder / PROCESSOR).write_text(text, encoding="utf-8")


def read_checkpoint(folder: str | Path) -> tuple[PreTrainedModel, ModelSpec]:
    """Read a model folder (fervit's, or anyone's Hugging Face image classifier) in float32, ready to evaluate.

    Raises:
        ModelError: it is missing, holds a pickle instead of safetensors, is truncated, lacks some of its weights,
            or has others than its `config.json` says.
    """
    folder = Path(folder)
    find_weights(folder)  # says what is missing before anything is said of `config.json`
    config = read_config(folder)
    spec = spec_of(config, folder)
    if not spec.labels:
        raise ModelError(f"{folder} is a backbone without a head: `fervit train --init {folder}` gives it one")
    model, loaded = load_pretrained(folder, config)
    check_complete(folder, loaded["missing_keys"])
    check_loaded(folder, loaded, head=True)
    check_input(build_empty(config, folder), spec, folder)
    return model.eval(), spec


def spec_of(config: PreTrainedConfig, folder: Path) -> ModelSpec:
    """Build the `ModelSpec` of a model folder from its two JSON files."""
    values = getattr(config, "fervit", None) or {}
    if not isinstance(values, dict):
        raise ModelError(f"{folder / CONFIG}: fervit is no object; expected what `fervit train` writes")
    margins = {key: values[key] for key in MARGINS if key in values}
    preprocess = read_preprocess(folder, config, margins=margins)
    fields: dict[str, object] = {"arch": config.model_type, "name": folder_name(folder)}
    fields |= {key: value for key, value in values.items() if key not in MARGINS}
    labels = _labels_of(config, folder)
    if not values and all(isinstance(label, str) for label in labels):  # of others than fervit
        labels = [*as_known([str(label) for label in labels])]
    fields |= {"labels": labels, "preprocess": preprocess.to_dict()}
    try:
        return ModelSpec.from_dict(fields)
    except ModelError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error


def _labels_of(config: PreTrainedConfig, folder: Path) -> list[object]:
    """Return the names of the labels in their order, 0 to K - 1; numbers as texts."""
    names: dict[int, object] = {int(k): name for k, name in (config.id2label or {}).items()}
    if sorted(names) != list(range(len(names))):
        raise ModelError(
            f"{folder / CONFIG}: id2label has the numbers {', '.join(map(str, sorted(names)[:20]))}; expected "
            f"0 to {len(names) - 1}"
        )
    labels = [names[k] for k in range(len(names))]
    return [str(label) if isinstance(label, int) and not isinstance(label, bool) else label for label in labels]
