# mypy: disallow-untyped-calls=False
"""What fervit's own networks of convolutions share: the head, the first weights, and where a run may start."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, initialization
from transformers.modeling_outputs import ImageClassifierOutput

from fervit.config.architectures import SCRATCH
from fervit.errors import ModelError
from fervit.models.checkpoint import read_checkpoint
from fervit.models.inherit import check_fit, inherit, model_type_of

Tensor = torch.Tensor


class ConvolutionalClassifier(PreTrainedModel):
    """A network of convolutions, the mean over its last map, dropout and a linear head.

    Args:
        config: with `num_labels`.
        backbone: maps `(B, 3, S, S)` to `(B, channels, s, s)`; its `embeddings[0].convolution` reads the pixels.
        channels: of the last map.
        dropout: share of features dropped before the head.
    """

    base_model_prefix = "backbone"
    main_input_name = "pixel_values"

    def __init__(self, config: Any, backbone: nn.Module, channels: int, dropout: float):
        super().__init__(config)
        self.backbone: Any = backbone
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
        return [self.backbone.embeddings[0].convolution]


def start(model: Any, init: str | Path, labels: Sequence[str], options: Any, *, shape: Sequence[str]) -> None:
    """Leave a new model as it is for `scratch`, or fill it from a folder of its own kind.

    Of a folder all is kept, but the head only where the labels are the same.

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
