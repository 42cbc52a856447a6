"""Architectures, starting weights and checkpoints (needs `fervit[train]`).

An architecture is a module with a function `build(init, labels, image_size, options)`, listed in `BUILDERS`; its
options are a dataclass in `fervit.config.architectures`. What it builds is a Hugging Face `PreTrainedModel` that

- takes `pixel_values (B, 3, S, S)` and answers with `logits (B, K)`;
- has its encoder at `base_model_prefix`, with the first projection under `.embeddings` (or another of
  `backbone.STEMS`) and the blocks in `.layers` (what layer decay, drop path and the freezing of layers go by), and
  its last linear layer at `.classifier` (into which calibration is folded);
- names the convolutions that read the pixels in `input_convolutions()`, where that is not the patch embedding;
- may have `training_loss(pixel_values, targets) -> (loss, logits)`, where cross-entropy is not all that it learns by.

transformers hands `_init_weights` only those modules that hold parameters themselves (seen with 5.23, for classes that
are not its own): match on the linear layer or the norm, not on the block around it.

Importing this package registers fervit's own architectures with `AutoConfig` and `AutoModelForImageClassification`.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fervit.config.architectures import ARCHS, SCRATCH
from fervit.errors import ModelError, unknown
from fervit.models.checkpoint import save_checkpoint
from fervit.models.classifier import TorchClassifier
from fervit.models.loading import load_checkpoint
from fervit.types import Preprocess

__all__ = ["BUILDERS", "TorchClassifier", "build_model", "load_checkpoint", "save_checkpoint"]

BUILDERS: dict[str, Callable[..., tuple[Any, Preprocess]]] = {
    arch: import_module(f"fervit.models.architectures.{arch}").build for arch in ARCHS
}
FROM_SCRATCH = ("vtff", "cnn", "mobilenet_v1", "inception_resnet_v1")


def build_model(
    init: str | Path, labels: Sequence[str], image_size: int, *, arch: str = "vit", options: Any = None
) -> tuple[Any, Preprocess]:
    """Return a classifier over `labels` at `image_size` px, with the preprocessing that its weights expect.

    `init` is a Hub id, a model folder, a safetensors file, or `scratch`; `options` the architecture's dataclass of
    `fervit.config.architectures`, by default its own defaults.

    Raises:
        ModelError: there is no such architecture, or the starting weights are missing, unsafe, truncated or do
            not fit it.
    """
    if arch not in BUILDERS:
        raise ModelError(unknown("arch", arch, ARCHS))
    if str(init) == SCRATCH and arch not in FROM_SCRATCH:
        raise ModelError(f"{arch} needs starting weights (--init); only {', '.join(FROM_SCRATCH)} start from scratch")
    return BUILDERS[arch](init, labels, image_size, ARCHS[arch]() if options is None else options)
