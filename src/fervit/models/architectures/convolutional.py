# mypy: disallow-untyped-calls=False
"""The common parts of fervit's own convolutional networks: their head, first weights, and starts from a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel, initialization
from transformers.modeling_outputs import ImageClassifierOutput

from fervit.config.architectures import SCRATCH
from fervit.errors import ModelError
from fervit.models.checkpoint import read_checkpoint
from fervit.models.inherit import check_fit, inherit, model_type_of

Tensor = torch.Tensor
Model = TypeVar("Model", bound=nn.Module)


class ConvolutionalBackbone(nn.Module):
    """A stem and the layers behind it: `(B, 3, S, S)` -> `(B, C, s, s)`.

    Attributes:
        embeddings: the stem, whose first part has the `convolution` that reads the pixels.
        layers: first to last.
    """

    embeddings: nn.Sequential
    layers: nn.ModuleList

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the last map of features."""
        x: Tensor = self.embeddings(pixel_values)
        for layer in self.layers:
            x = layer(x)
        return x


class ConvolutionalClassifier(PreTrainedModel):
    """A convolutional network, the mean over its last map, dropout and a linear head.

    Args:
        config: with `num_labels`.
        backbone: gives the last map.
        channels: of the last map.
        dropout: probability with which a feature is dropped before the head.
    """

    base_model_prefix = "backbone"
    main_input_name = "pixel_values"

    def __init__(self, config: PreTrainedConfig, backbone: ConvolutionalBackbone, channels: int, dropout: float):
        super().__init__(config)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, int(config.num_labels or 0))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):  # transformers' deviation of 0.02 is meant for Transformers
            initialization.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **_: Any) -> ImageClassifierOutput:
        """Return `logits (B, K)` of `pixel_values (B, 3, S, S)`; `labels (B,)` add the loss."""
        features = self.backbone(pixel_values).mean(dim=(2, 3))  # (B, C, h, w) -> (B, C)
        logits = self.classifier(self.dropout(features))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)

    def input_convolutions(self) -> list[nn.Conv2d]:
        """Return the convolution that reads the pixels."""
        first = self.backbone.get_submodule("embeddings.0.convolution")
        assert isinstance(first, nn.Conv2d), first
        return [first]


def channels_last(model: Model) -> Model:
    """Put the channels of a place side by side in memory, which makes steps on a CPU faster where it is used."""
    untyped: Any = model  # torch's types have no `memory_format` for a module
    moved: Model = untyped.to(memory_format=torch.channels_last)
    return moved


def start(
    model: PreTrainedModel, init: str | Path, labels: Sequence[str], options: object, *, shape: Sequence[str]
) -> None:
    """Leave a new model as it is for `scratch`, or fill it from a folder of its own kind.

    All of a folder's weights are kept, but the head only where the labels are the same.

    Args:
        model: with a configuration whose `options` are those it was made with.
        init: `scratch` or the folder.
        labels: of the new model.
        options: of the new model.
        shape: names of the options that weights depend on.

    Raises:
        ModelError: `init` is neither, or was made with another shape.
    """
    if str(init) == SCRATCH:
        return
    kind = model.config.model_type
    if (other := model_type_of(init)) != kind:
        found = f"a {other}" if other else "no model folder"
        article = "an" if kind[0] in "aeiou" else "a"
        raise ModelError(
            f"{init} is {found}, and {article} {kind} starts from {SCRATCH} or from a folder of its own kind"
        )
    parent, spec = read_checkpoint(init)
    check_fit(init, {name: parent.config.options[name] for name in shape}, options)
    inherit(model, parent, head=spec.labels == tuple(labels))
