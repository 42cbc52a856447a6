# mypy: disallow-untyped-calls=False
"""The baseline: a residual network for small grey faces, trained from scratch, to see what a Transformer is worth.

A ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1) of the size of a ViT-Ti, so that the two can be compared: the
widths of its stages are 5/8 of the original's (4.4 M parameters), and 48 px images are halved four times, not five
(0.25 GFLOPs; a ViT-Ti at 96 px has 5.5 M and 0.42). Two 3 x 3 convolutions take the place of the 7 x 7 one and the
pooling (as in ResNet-C, arXiv 1812.01187, section 4.1), because a 48 px face has nothing to spare. The last batch norm
of every block starts at 0 (arXiv 1706.02677, section 5.1), so that the network starts shallow and deepens as it
learns; features are averaged over all places and thinned by dropout before the head.

The first convolution has three channels like every other model's, and learns from grey images repeated to three;
`models.backbone.fold_luma` makes it see the luma of colour ones.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel, initialization
from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetConvLayer

from fervit.config.architectures import CNNOptions
from fervit.errors import ModelError
from fervit.models.architectures.convolutional import ConvolutionalBackbone, ConvolutionalClassifier, start
from fervit.models.pretrained import HALF, label_fields
from fervit.types import Preprocess

Tensor = torch.Tensor
MODEL_TYPE = "cnn"
STAGES = 4
SMALLEST_PX = 24  # halved four times it is 2 x 2: a batch norm's deviation needs more than one value


class CNNConfig(PreTrainedConfig):
    """Configuration of `CNNForImageClassification`: the side of its input, and the fields of `CNNOptions`."""

    model_type = MODEL_TYPE

    def __init__(self, image_size: int = 48, options: dict[str, Any] | None = None, **kwargs: Any):
        self.image_size = image_size
        self.options = asdict(CNNOptions(**(options or {})))
        super().__init__(**kwargs)


class ResidualNetwork(ConvolutionalBackbone):
    """Stem and residual blocks: `(B, 3, S, S)` -> `(B, 8 * channels, S / 16, S / 16)`."""

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        half = max(1, channels // 2)
        self.embeddings = nn.Sequential(ResNetConvLayer(3, half, 3), ResNetConvLayer(half, channels, 3, stride=2))
        widths = [channels * 2**stage for stage in range(STAGES)]
        layers: list[Any] = []
        for before, width in zip([channels, *widths[:-1]], widths, strict=True):
            layers.append(ResNetBasicLayer(before, width, stride=1 if width == channels else 2))
            layers += [ResNetBasicLayer(width, width) for _ in range(blocks - 1)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:  # marked, because transformers passes `_init_weights` no module without own parameters
            layer.layer[-1].normalization.starts_at_zero = True


class CNNForImageClassification(ConvolutionalClassifier):
    """A residual network, the mean over its last map, dropout and a linear head."""

    config_class = CNNConfig

    def __init__(self, config: CNNConfig):
        options = CNNOptions(**config.options)
        network = ResidualNetwork(options.channels, options.blocks)
        super().__init__(config, network, options.channels * 2 ** (STAGES - 1), options.dropout)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.BatchNorm2d) and getattr(module, "starts_at_zero", False):
            initialization.zeros_(module.weight)


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: CNNOptions
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a CNN over `labels` at `image_size` px, with the preprocessing that it expects.

    `init` is `scratch`, or a CNN's own folder, whose weights are kept, those of the head only for the same labels.

    Raises:
        ModelError: `init` is neither, its widths or depth are not those of the options, or `image_size` is too small.
    """
    if image_size < SMALLEST_PX:
        raise ModelError(
            f"image_size {image_size} is too small for a cnn: it halves its input four times; give {SMALLEST_PX}"
        )
    config = CNNConfig(image_size, asdict(options), **label_fields(labels))
    model = CNNForImageClassification(config)
    start(model, init, labels, options, shape=("channels", "blocks"))
    return model, Preprocess(image_size=image_size, mean=HALF, std=HALF)


AutoConfig.register(MODEL_TYPE, CNNConfig, exist_ok=True)
AutoModelForImageClassification.register(CNNConfig, CNNForImageClassification, exist_ok=True)
