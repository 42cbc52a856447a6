# mypy: disallow-untyped-calls=False
"""Checkpoints: plain Hugging Face model folders with fervit's `ModelSpec` inside `config.json`."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel

from fervit.errors import ModelError, reason
from fervit.files import is_pickle
from fervit.models.pretrained import (
    FILTERS,
    check_complete,
    check_loaded,
    label_fields,
    load_pretrained,
    quiet_transformers,
    read_preprocess,
)
from fervit.types import ModelSpec

ENSEMBLE_FILE = "ensemble.json"  # in the folder of an ensemble; the models lie below it


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
    values |= {key: margins[key] for key in ("crop_margin", "crop_offset")}
    model.config.fervit = values
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=state)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # written as readable by the owner alone, which a shared installation cannot use
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": spec.preprocess.image_size, "width": spec.preprocess.image_size},
        "resample": {name: number for number, name in FILTERS.items()}[spec.preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(spec.preprocess.mean),
        "image_std": list(spec.preprocess.std),
    }
    text = json.dumps(processor, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def read_checkpoint(folder: str | Path) -> tuple[PreTrainedModel, ModelSpec]:
    """Read a model folder (fervit's, or anyone's Hugging Face image classifier) in float32, ready to evaluate.

    Raises:
        ModelError: it is missing, holds a pickle instead of safetensors, is truncated, lacks some of its weights,
            or has others than its `config.json` says.
    """
    folder = Path(folder)
    _check_files(folder)
    try:
        model, loaded = load_pretrained(str(folder))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder} cannot be read: {reason(error)}") from error
    spec = spec_of(model.config, folder)
    if not spec.labels:
        raise ModelError(f"{folder} is a backbone without a head: `fervit train --init {folder}` gives it one")
    check_complete(folder, loaded["missing_keys"])
    check_loaded(folder, loaded, head=True)
    return model.eval(), spec


def _check_files(folder: Path) -> None:
    """Raise `ModelError` where a folder has no configuration, or no weights that can be read without running code."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is no model folder: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        pickles = [path.name for path in folder.iterdir() if is_pickle(path)]
        holds = f"only {pickles[0]}, a pickle, which can run code when read" if pickles else "no weights"
        raise ModelError(f"{folder} holds {holds}; fervit reads model.safetensors")


def spec_of(config: PreTrainedConfig, folder: Path) -> ModelSpec:
    """Build the `ModelSpec` of a model folder from its two JSON files."""
    values = dict(getattr(config, "fervit", None) or {})
    margins = {key: values.pop(key) for key in ("crop_margin", "crop_offset") if key in values}
    preprocess = read_preprocess(str(folder), margins=margins)
    labels = tuple(str(name) for _, name in sorted((config.id2label or {}).items()))
    fields = {"arch": config.model_type, "name": folder.name} | values
    return ModelSpec.from_dict(fields | {"labels": labels, "preprocess": asdict(preprocess)})
