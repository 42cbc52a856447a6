"""Starting weights and model folders, read through transformers: safetensors only, and nothing filled in unsaid."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fervit.config.architectures import ARCHS
from fervit.errors import ModelError
from fervit.types import Preprocess

HALF = (0.5, 0.5, 0.5)  # mean and deviation where the weights bring no preprocessing
# Pillow's filter numbers, as `preprocessor_config.json` writes them.
FILTERS = {2: "bilinear", 3: "bicubic"}
# A DINOv2's attention as transformers names it in memory, and what earlier versions (seen with 5.17) call it.
EARLIER = {f"attention.{p[0]}_proj.": f"attention.attention.{p}." for p in ("query", "key", "value")}
EARLIER |= {"attention.o_proj.": "attention.output.dense."}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' and the Hub's progress bars, load reports and retry notes while weights move."""
    from transformers.utils import logging as untyped

    transformers: Any = untyped
    hub = logging.getLogger("huggingface_hub")
    level, hub_level, bars = transformers.get_verbosity(), hub.level, transformers.is_progress_bar_enabled()
    transformers.set_verbosity_error()
    transformers.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            transformers.enable_progress_bar()


def label_fields(labels: Sequence[str]) -> dict[str, Any]:
    """Return the two fields of a configuration that name the labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {name: k for k, name in enumerate(labels)}}


def from_hugging_face(
    init: str | Path,
    labels: Sequence[str],
    image_size: int,
    *,
    kinds: Sequence[str],
    changes: Mapping[str, Any] | None = None,
    files: bool = False,
) -> tuple[Any, Preprocess]:
    """Build from a model folder or a Hub id through transformers' Auto classes; safetensors only.

    The model is for the image size that its weights were trained at; the preprocessing for the one that is asked for.

    Args:
        init: the folder or id.
        labels: of the head, which is made anew unless they are the weights' own.
        image_size: side of the input in px.
        kinds: the `model_type`s that will do.
        changes: values for the configuration.
        files: whether the caller reads single files, for the message.

    Raises:
        ModelError: there is no such folder and it looks like no id, it cannot be read, is incomplete or another model.
    """
    from transformers import AutoConfig, AutoModelForImageClassification

    name = str(init)
    if not (Path(init).is_dir() or _looks_like_hub_id(name)):
        forms = f"{'a safetensors file, ' if files else ''}a model folder or a Hub id owner/name"
        raise ModelError(f"no weights at {init} (expected {forms})")
    load: dict[str, Any] = {"local_files_only": Path(init).is_dir()}
    try:
        with quiet_transformers():
            config: Any = AutoConfig.from_pretrained(name, **load)
        if config.model_type not in kinds:
            raise ModelError(_another(name, config.model_type, kinds))
        same_labels = tuple(map(config.id2label.get, range(config.num_labels))) == tuple(labels)
        if "fervit" in config.to_dict():
            del config.fervit  # what was measured on the parent does not hold for the child
        for key, value in (label_fields(labels) | dict(changes or {})).items():
            setattr(config, key, value)
        with quiet_transformers():
            model: Any
            model, loaded = AutoModelForImageClassification.from_pretrained(
                name,
                config=config,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                attn_implementation="eager",
                dtype=torch.float32,
                output_loading_info=True,
                **load,
            )
        preprocess = read_preprocess(name, image_size=image_size)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"cannot load {name}: {reason} (a Hub id needs internet or a filled cache)") from error
    renewed = ("classifier.", "pooler.", "mask_token")  # a head is made anew, and of the others nothing is used
    check_complete(name, [key for key in loaded["missing_keys"] if not any(part in key for part in renewed)])
    check_loaded(name, loaded)
    if not same_labels:  # transformers keeps a head of the same width, whatever it tells apart
        nn.init.trunc_normal_(model.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(model.classifier.bias)
    return model, preprocess


def _another(name: str, model_type: str, kinds: Sequence[str]) -> str:
    """Say that these weights are of another architecture than is asked for, and which setting takes them."""
    arch = {"dinov2": "vit"}.get(model_type, model_type)
    way = f"; for these weights set arch={arch}" if arch in ARCHS else ""
    return f"{name} is a {model_type!r}; this architecture fine-tunes: {', '.join(kinds)}{way}"


def _looks_like_hub_id(text: str) -> bool:
    return text.count("/") == 1 and not text.startswith((".", "/", "~")) and Path(text).suffix != ".safetensors"


def as_named_in(model: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors under the names that this version of transformers has for them in memory."""
    known, named = model.state_dict().keys(), {}
    for name, tensor in state.items():
        old = next((name.replace(new, was) for new, was in EARLIER.items() if new in name), name)
        named[old if name not in known and old in known else name] = tensor
    return named


def read_preprocess(name: str, *, image_size: int | None = None, extra: dict[str, Any] | None = None) -> Preprocess:
    """Read `preprocessor_config.json` of a folder or a Hub id.

    Raises:
        ModelError: there is none, it is not readable, or it asks for a filter that fervit has not.
    """
    path = Path(name) / "preprocessor_config.json"
    if not Path(name).is_dir():
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(name, "preprocessor_config.json"))
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{name} has no preprocessor_config.json, so its mean and std are unknown") from None
    except ValueError as error:
        raise ModelError(f"{path} is not readable: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not readable: expected a JSON object")
    wanted = values.get("resample", 2)
    if not isinstance(wanted, int) or wanted not in FILTERS:
        known = ", ".join(f"{number} ({filter})" for number, filter in FILTERS.items())
        raise ModelError(f"{path}: resample {wanted!r} is none of Pillow's filters that fervit has: {known}")
    try:
        size = values.get("size", {})
        side = image_size or (size if isinstance(size, int) else size.get("height") or size.get("shortest_edge"))
        mean, std = (tuple(map(float, values[key])) for key in ("image_mean", "image_std"))
        return Preprocess(image_size=int(side), mean=mean, std=std, interpolation=FILTERS[wanted], **(extra or {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: size, image_mean or image_std is missing or no number ({error})") from error


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file; pickles are refused.

    Raises:
        ModelError: it is missing, a pickle, or truncated.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix in {".pt", ".pth", ".bin", ".pkl", ".ckpt"}:
        raise ModelError(f"{path} is a pickle, which can run code when read; convert it to safetensors")
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except FileNotFoundError:
        raise ModelError(f"no weights at {path}") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error})") from error
    return weights


def check_complete(name: str | Path, missing: Iterable[str]) -> None:
    """Raise `ModelError` where weights are missing: transformers fills them with random numbers."""
    if absent := sorted(missing):
        raise ModelError(f"{name} is incomplete: {len(absent)} of its weights are missing, such as {absent[0]}")


def check_shapes(name: str | Path, pairs: Iterable[tuple[str, Sequence[int], Sequence[int]]]) -> None:
    """Raise `ModelError` where a weight has another shape than its place: pairs are `(name, has, needs)`."""
    for key, has, needs in sorted(pairs):
        if tuple(has) != tuple(needs):
            raise ModelError(f"{name} does not fit: {key} has the shape {tuple(has)}, and its place {tuple(needs)}")


def check_loaded(name: str | Path, loaded: dict[str, Any], *, head: bool = False) -> None:
    """Refuse what transformers lets pass: it fills misfits with random numbers and drops layers too many.

    Args:
        name: where the weights come from.
        loaded: its `output_loading_info`.
        head: whether the head must fit, too.

    Raises:
        ModelError: a weight has another shape than `config.json` says, or a layer has no place in it.
    """
    check_shapes(name, (entry for entry in loaded["mismatched_keys"] if head or not entry[0].startswith("classifier.")))
    if extra := sorted(key for key in loaded["unexpected_keys"] if ".layers." in key or ".layer." in key):
        raise ModelError(
            f"{name} does not fit: its config.json has no place for {len(extra)} weights, such as {extra[0]}"
        )
