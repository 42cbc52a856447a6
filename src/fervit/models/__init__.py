"""Architectures, starting weights and checkpoints (needs `fervit[train]`).

To add an architecture:

1. Write `architectures/<arch>.py` with a function `build`, a `contract.Builder`.
2. Add its options, a frozen dataclass, to `ARCHS` in `fervit.config.architectures`, under `<arch>`; where it can start
   from random weights, add `<arch>` to `FROM_SCRATCH` below.
3. Add a small form of it to `SMALL` in `tests/models/architectures/test_contract.py`, whose tests it must pass.

What `build` returns is a Hugging Face `PreTrainedModel` that

- takes `pixel_values (B, 3, S, S)` and returns an output whose `logits` are `(B, K)`;
- has its encoder at `base_model_prefix`, with the first projection under `.embeddings` (or another of
  `backbone.STEMS`) and the blocks in `.layers`, by which layer decay, drop path and the freezing of layers go;
- has its last linear layer at `.classifier`, into which calibration is folded;
- is a `contract.HasInputConvolutions` where something else than a patch embedding reads the pixels;
- is a `contract.HasTrainingLoss` where cross-entropy is not all that it learns by;
- is registered with transformers' Auto classes, at the end of its module, unless transformers has it already.

transformers hands `_init_weights` only those modules that hold parameters themselves (seen with 5.23, for classes that
are not its own): match on the linear layer or the norm, not on the block around it.

Importing this package registers fervit's own architectures with `AutoConfig` and `AutoModelForImageClassification`.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from transformers import PreTrainedModel

from fervit.config.architectures import ARCHS, SCRATCH
from fervit.errors import ModelError, unknown
from fervit.models.checkpoint import save_checkpoint
from fervit.models.classifier import TorchClassifier
from fervit.models.contract import Builder
from fervit.models.heads import carry_head
from fervit.models.loading import load_checkpoint
from fervit.types import Preprocess

__all__ = ["BUILDERS", "TorchClassifier", "build_model", "load_checkpoint", "save_checkpoint"]

BUILDERS: dict[str, Builder] = {arch: import_module(f"fervit.models.architectures.{arch}").build for arch in ARCHS}
FROM_SCRATCH = ("vtff", "cnn", "mobilenet_v1", "inception_resnet_v1")


def build_model(
    init: str | Path, labels: Sequence[str], image_size: int, *, arch: str = "vit", options: object = None
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a classifier over `labels` at `image_size` px, with the preprocessing that its weights expect.

    A head that `init` brings goes on with the rows of the labels that both have, see `heads.carry_head`.

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
    model, preprocess = BUILDERS[arch](init, labels, image_size, ARCHS[arch]() if options is None else options)
    carry_head(model, init, labels)
    return model, preprocess
