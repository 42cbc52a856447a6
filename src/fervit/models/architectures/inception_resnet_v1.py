# mypy: disallow-untyped-calls=False
"""Inception-ResNet v1 (Szegedy et al. 2016, arXiv 1602.07261), in the form that D. Sandberg's FaceNet made known.

Its worth here is where its weights come from: `scripts/make_facenet.py` makes a folder of those of a FaceNet (Schroff
et al. 2015, arXiv 1503.03832), which was trained to tell people apart. It has seven times a MobileNet's weights and
three to four times its work for a picture, most of it in dense convolutions, which a CPU does well.

Convolutions of the stem and of the two reductions have no padding, as in the original: 96 px become 9 x 9, 4 x 4 and,
at the end, one place; 112 px 11 x 11, 5 x 5 and 2 x 2; 160 px, FaceNet's own, 17 x 17, 8 x 8 and 3 x 3.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig

from fervit.config.architectures import InceptionResNetV1Options
from fervit.errors import ModelError
from fervit.models.architectures.convolutional import ConvolutionalClassifier, start
from fervit.models.pretrained import HALF, label_fields
from fervit.types import Preprocess

Tensor = torch.Tensor
MODEL_TYPE = "inception_resnet_v1"
SMALLEST_PX = 75  # of which the last reduction leaves one place
EPS = 1e-3  # of the batch norms


class InceptionResNetV1Config(PreTrainedConfig):
    """Configuration: the side of the input in px, and the fields of `InceptionResNetV1Options`."""

    model_type = MODEL_TYPE

    def __init__(self, image_size: int = 96, options: dict[str, Any] | None = None, **kwargs: Any):
        self.image_size = image_size
        self.options = asdict(InceptionResNetV1Options(**(options or {})))
        super().__init__(**kwargs)


class ConvNorm(nn.Module):
    """Convolution, batch norm and ReLU."""

    def __init__(self, before: int, after: int, side: int | tuple[int, int] = 1, stride: int = 1, *, pad: bool = True):
        super().__init__()
        height, width = (side, side) if isinstance(side, int) else side
        padding = (height // 2, width // 2) if pad else 0
        self.convolution = nn.Conv2d(before, after, (height, width), stride, padding, bias=False)
        self.normalization = nn.BatchNorm2d(after, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, before, h, w)` to `(B, after, h', w')`."""
        x, norm = self.convolution(x), self.normalization
        if self.training and x.numel() == x.shape[1]:  # one picture, one place: no deviation to be had of it
            return F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=EPS))
        return F.relu(norm(x))


class Residual(nn.Module):
    """Branches side by side, brought back to the input's width, scaled and added to it: `(B, C, h, w)` as it came."""

    def __init__(self, branches: Sequence[nn.Module], joined: int, channels: int, scale: float, *, relu: bool = True):
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.projection = nn.Conv2d(joined, channels, 1)
        self.scale = scale
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Add what the branches make of `x`."""
        change = self.projection(torch.cat([branch(x) for branch in self.branches], 1))
        x = x + self.scale * change
        return F.relu(x) if self.relu else x


class Reduction(nn.Module):
    """Branches that halve the map, beside its maximum over 3 x 3: `(B, C, h, w)` -> `(B, C', h / 2, w / 2)`."""

    def __init__(self, branches: Sequence[nn.Module]):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Halve `x`."""
        return torch.cat([*(branch(x) for branch in self.branches), F.max_pool2d(x, 3, 2)], 1)


class InceptionResNetV1(nn.Module):
    """Stem, 20 * depth residual blocks with two reductions between them, and a last one without ReLU.

    `(B, 3, S, S)` -> `(B, 1792 * width, s, s)`; s is 1 for 96 px.
    """

    def __init__(self, width: float, depth: float):
        super().__init__()
        few, many = max(1, round(5 * depth)), max(1, round(10 * depth))

        def w(channels: int) -> int:
            return max(1, round(channels * width))

        def c(before: int, after: int, *args: Any, **kwargs: Any) -> ConvNorm:
            return ConvNorm(w(before), w(after), *args, **kwargs)

        def chain(*parts: nn.Module) -> nn.Sequential:
            return nn.Sequential(*parts)

        def block35() -> Residual:
            branches = [c(256, 32), chain(c(256, 32), c(32, 32, 3)), chain(c(256, 32), c(32, 32, 3), c(32, 32, 3))]
            return Residual(branches, 3 * w(32), w(256), 0.17)

        def block17() -> Residual:
            branches = [c(896, 128), chain(c(896, 128), c(128, 128, (1, 7)), c(128, 128, (7, 1)))]
            return Residual(branches, 2 * w(128), w(896), 0.1)

        def block8(scale: float, *, relu: bool) -> Residual:
            branches = [c(1792, 192), chain(c(1792, 192), c(192, 192, (1, 3)), c(192, 192, (3, 1)))]
            return Residual(branches, 2 * w(192), w(1792), scale, relu=relu)

        self.embeddings = chain(
            ConvNorm(3, w(32), 3, 2, pad=False),
            c(32, 32, 3, pad=False),
            c(32, 64, 3),
            nn.MaxPool2d(3, 2),
            c(64, 80),
            c(80, 192, 3, pad=False),
            c(192, 256, 3, 2, pad=False),
        )
        to_896 = [c(256, 384, 3, 2, pad=False), chain(c(256, 192), c(192, 192, 3), c(192, 256, 3, 2, pad=False))]
        to_1792 = [
            chain(c(896, 256), c(256, 384, 3, 2, pad=False)),
            chain(c(896, 256), c(256, 256, 3, 2, pad=False)),
            chain(c(896, 256), c(256, 256, 3), c(256, 256, 3, 2, pad=False)),
        ]
        blocks: list[nn.Module] = [block35() for _ in range(few)]
        blocks += [Reduction(to_896), *(block17() for _ in range(many))]
        blocks += [Reduction(to_1792), *(block8(0.2, relu=True) for _ in range(few)), block8(1.0, relu=False)]
        self.layers = nn.ModuleList(blocks)
        self.channels = w(1792)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the last map of features."""
        x: Tensor = self.embeddings(pixel_values)
        for layer in self.layers:
            x = layer(x)
        return x


class InceptionResNetV1ForImageClassification(ConvolutionalClassifier):
    """An Inception-ResNet v1, the mean over its last map, dropout and a linear head."""

    config_class = InceptionResNetV1Config

    def __init__(self, config: InceptionResNetV1Config):
        options = InceptionResNetV1Options(**config.options)
        network = InceptionResNetV1(options.width, options.depth)
        super().__init__(config, network, network.channels, options.dropout)


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: InceptionResNetV1Options
) -> tuple[Any, Preprocess]:
    """Return an Inception-ResNet v1 over `labels` at `image_size` px, with the preprocessing that it expects.

    `init` is `scratch`, or a folder of its own kind, of which all is kept, but the head only where the labels are the
    same.

    Raises:
        ModelError: `init` is neither, its width is not that of the options, or `image_size` is too small.
    """
    if image_size < SMALLEST_PX:
        raise ModelError(
            f"image_size {image_size} is too small for an inception_resnet_v1, which adds no border; give {SMALLEST_PX}"
        )
    config = InceptionResNetV1Config(image_size, asdict(options), **label_fields(labels))
    model: Any = InceptionResNetV1ForImageClassification(config)
    start(model, init, labels, options, shape=("width", "depth"))
    # Channels together in memory: a step on a CPU takes 0.85 of the time.
    return model.to(memory_format=torch.channels_last), Preprocess(image_size=image_size, mean=HALF, std=HALF)


AutoConfig.register(MODEL_TYPE, InceptionResNetV1Config, exist_ok=True)
AutoModelForImageClassification.register(
    InceptionResNetV1Config, InceptionResNetV1ForImageClassification, exist_ok=True
)
