# mypy: disallow-untyped-calls=False
"""Starting weights and model folders, read through transformers: safetensors only; nothing is filled in silently."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch
from torch import nn
from transformers import AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers import utils as transformers_utils

from fervit.config.architectures import ARCHS
from fervit.errors import ModelError, reason
from fervit.files import is_pickle, open_regular
from fervit.models.backbone import head_of
from fervit.models.folders.building import check_buildable
from fervit.models.folders.config import read_config
from fervit.models.folders.files import find_weights
from fervit.models.folders.processor import read_preprocess
from fervit.types import Preprocess
from fervit.weights.hub import find_folder, parse_hub_id

FIRST_DEVIATION = 0.02  # of a head's weights, as transformers has it
HALF = (0.5, 0.5, 0.5)  # mean and deviation where the weights bring no preprocessing
# A DINOv2's attention as transformers names it in memory, and what earlier versions (seen with 5.17) call it.
EARLIER = {f"attention.{p[0]}_proj.": f"attention.attention.{p}." for p in ("query", "key", "value")}
EARLIER |= {"attention.o_proj.": "attention.output.dense."}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' and the Hub's progress bars, load reports and retry notes while weights move."""
    transformers = transformers_utils.logging
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


class LabelFields(TypedDict):
    """The two fields of a configuration that name the labels."""

    id2label: dict[int, str]
    label2id: dict[str, int]


class LoadingInfo(TypedDict):
    """What transformers reports of a model's loading: `mismatched_keys` are `(name, shape in the file, shape)`."""

    missing_keys: Iterable[str]
    unexpected_keys: Iterable[str]
    mismatched_keys: Iterable[tuple[str, Sequence[int], Sequence[int]]]


def label_fields(labels: Sequence[str]) -> LabelFields:
    """Return the two fields of a configuration that name the labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {name: k for k, name in enumerate(labels)}}


def load_pretrained(folder: Path, config: PreTrainedConfig) -> tuple[PreTrainedModel, LoadingInfo]:
    """Load an image classifier in float32 through transformers, from a folder, without network and without its code.

    Weights that are missing or have other shapes than the configuration says are filled with random numbers: see
    `check_complete` and `check_loaded`.

    Raises:
        ModelError: the weights are unsafe or truncated, or the configuration describes no model, or a far larger one.
    """
    files = find_weights(folder)
    check_buildable(config, folder, sum(file.stat().st_size for file in files))
    with quiet_transformers():
        try:
            model, loaded = AutoModelForImageClassification.from_pretrained(
                str(folder),
                config=config,
                trust_remote_code=False,  # nothing is asked on a terminal, and nothing in the folder ever runs
                use_safetensors=True,
                local_files_only=True,
                attn_implementation="eager",  # as `backbone.attention_in_steps`
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # so that `check_loaded` can name both shapes
                output_loading_info=True,
            )
        except Exception as error:  # transformers' and safetensors' exceptions are of many kinds
            raise ModelError(f"{folder} cannot be read: {reason(error)}") from error
    return model, loaded


def from_hugging_face(
    init: str | Path,
    labels: Sequence[str],
    image_size: int,
    *,
    kinds: Sequence[str],
    changes: Mapping[str, object] | None = None,
    files: bool = False,
) -> tuple[PreTrainedModel, Preprocess]:
    """Build from a model folder or a Hub id through transformers' Auto classes; safetensors only.

    The model is for the image size that its weights were trained at; the preprocessing for the one that is wanted.

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
    name = str(init)
    if not (Path(init).is_dir() or parse_hub_id(name)):
        forms = f"{'a safetensors file, ' if files else ''}a model folder or a Hub id owner/name"
        raise ModelError(f"no weights at {init} (expected {forms})")
    folder = find_folder(name)
    try:
        config = _read_config(name, folder, kinds)
        same_labels = config.id2label == label_fields(labels)["id2label"]
        config.update({**label_fields(labels), **(changes or {})})
        model, loaded = load_pretrained(folder, config)
        preprocess = read_preprocess(folder, config, image_size=image_size)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load {name}: {reason(error)}") from error
    renewed = ("classifier.", "pooler.", "mask_token")  # a head is made anew, and of the others nothing is used
    check_complete(name, [key for key in loaded["missing_keys"] if not any(part in key for part in renewed)])
    check_loaded(name, loaded)
    if not same_labels:  # transformers keeps a head of the same width, whatever its labels
        _renew(head_of(model), getattr(config, "initializer_range", FIRST_DEVIATION))  # fervit's CNNs have none
    return model, preprocess


def _renew(head: nn.Linear, std: float) -> None:
    """Give a head first weights, as transformers does."""
    nn.init.trunc_normal_(head.weight, std=std)
    nn.init.zeros_(head.bias)


def _read_config(name: str, folder: Path, kinds: Sequence[str]) -> PreTrainedConfig:
    """Return the configuration in a folder, or in what was fetched for a Hub id, without fervit's own part.

    Raises:
        ModelError: it is not readable, or that of a model of another kind.
    """
    config = read_config(folder)
    if config.model_type not in kinds:
        raise ModelError(_another(name, config.model_type, kinds))
    if "fervit" in config.to_dict():
        del config.fervit  # what was measured on the parent does not hold for the child
    return config


def _another(name: str, model_type: str, kinds: Sequence[str]) -> str:
    """Return the message for weights of another architecture than is wanted, with the setting that takes them."""
    arch = {"dinov2": "vit"}.get(model_type, model_type)
    fix = f"; for these weights set arch={arch}" if arch in ARCHS else ""
    return f"{name} is a {model_type!r}; this architecture fine-tunes: {', '.join(kinds)}{fix}"


def as_named_in(model: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors under the names that this version of transformers has for them in memory."""
    known, named = model.state_dict().keys(), {}
    for name, tensor in state.items():
        old = next((name.replace(new, was) for new, was in EARLIER.items() if new in name), name)
        named[old if name not in known and old in known else name] = tensor
    return named


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file; pickles are refused.

    Raises:
        ModelError: it is missing, a pickle, or truncated.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with open_regular(path) as file:
            magic = file.read(4)
    except FileNotFoundError:
        magic = b""
    except OSError as error:
        raise ModelError(f"cannot read {path}: {reason(error)}") from error
    if is_pickle(path, magic):
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


def check_loaded(name: str | Path, loaded: LoadingInfo, *, head: bool = False) -> None:
    """Refuse what transformers accepts: it fills misfits with random numbers and drops layers too many.

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


def load_state(model: nn.Module, state: Mapping[str, torch.Tensor], *, renewed: Sequence[str], misfit: str) -> None:
    """Load weights into a model, whose parameters with a part of `renewed` in their names may be missing.

    Raises:
        ModelError: others are missing, or some have no place; the message begins with `misfit`.
    """
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if not any(part in name for part in renewed)]
    if missing or unexpected:
        raise ModelError(f"{misfit}: missing {missing[:3]}, unexpected {unexpected[:3]}")
