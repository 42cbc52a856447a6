"""What an architecture offers fervit, as types; `fervit.models` says how to add one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from transformers import PreTrainedModel

from fervit.types import Preprocess


class Builder(Protocol):
    """The function `build` of an architecture's module."""

    def __call__(
        self, init: str | Path, labels: Sequence[str], image_size: int, options: Any
    ) -> tuple[PreTrainedModel, Preprocess]:
        """Return a classifier over `labels` at `image_size` px, with the preprocessing that its weights expect.

        Args:
            init: a Hub id, a model folder, a safetensors file, or `scratch`, as far as the architecture takes them.
            labels: names of the K classes.
            image_size: side of the input in px.
            options: the architecture's own dataclass of `fervit.config.architectures`.

        Raises:
            ModelError: the starting weights are missing, unsafe, truncated or do not fit.
        """
        ...


@runtime_checkable
class HasInputConvolutions(Protocol):
    """A model that names the convolutions that read the pixels, where that is not the patch embedding."""

    def input_convolutions(self) -> list[nn.Conv2d]:
        """Return the convolutions that read the pixels."""
        ...


@runtime_checkable
class HasDepths(Protocol):
    """A model that has more depths for layer-wise learning rates than its encoder has layers."""

    def depths(self) -> dict[str, int]:
        """Return the depth of each part, from 0 at the pixels, by the beginning of its parameters' names.

        What is not named is as deep as the head, one above the deepest that is.
        """
        ...


@runtime_checkable
class HasTrainingLoss(Protocol):
    """A model that does not learn by cross-entropy alone."""

    def training_loss(self, pixel_values: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the logits `(B, K)` of `(B, 3, S, S)` input and `(B, K)` target rows that sum to 1."""
        ...
