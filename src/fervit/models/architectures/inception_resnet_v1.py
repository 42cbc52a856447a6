# mypy: disallow-untyped-calls=False
"""Inception-ResNet v1 (Szegedy et al. 2016, arXiv 1602.07261), in the form that D. Sandberg's FaceNet made known.

Its worth here is where its weights come from: `scripts/make_facenet.py` makes a folder of those of a FaceNet (Schroff
et al. 2015, arXiv 1503.03832), which was trained on face identification. It has seven times a MobileNet's weights and
three to four times its work for an image, most of it in dense convolutions, which a CPU does well.

Convolutions of the stem and of the two reductions have no padding, as in the original: 96 px become 9 x 9, 4 x 4 and,
at the end, one place; 112 px 11 x 11, 5 x 5 and 2 x 2; 160 px, FaceNet's own, 17 x 17, 8 x 8 and 3 x 3.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel

from fervit.config.architectures import InceptionResNetV1Options
from fervit.errors import ModelError
from fervit.models.architectures.convolutional import (
    ConvolutionalBackbone,
    ConvolutionalClassifier,
    channels_last,
    start,
)
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
        if self.training and x.numel() == x.shape[1]:  # one image, one place: a single value has no deviation
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
        """Add the projection of the branches to `x`."""
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


@dataclass(frozen=True)
class _Parts:
    """Makes the network's parts, whose channels are given as in the paper, times the width."""

    width: float

    def channels(self, count: int) -> int:
        """Return how many channels there are of `count` in the paper."""
        return max(1, round(count * self.width))

    def conv(
        self, before: int, after: int, side: int | tuple[int, int] = 1, stride: int = 1, *, pad: bool = True
    ) -> ConvNorm:
        """Return a `ConvNorm` from and to so many channels in the paper."""
        return ConvNorm(self.channels(before), self.channels(after), side, stride, pad=pad)

    def stem(self) -> nn.Sequential:
        """Return what comes before the blocks: 256 channels."""
        conv = self.conv
        return nn.Sequential(
            ConvNorm(3, self.channels(32), 3, 2, pad=False),
            conv(32, 32, 3, pad=False),
            conv(32, 64, 3),
            nn.MaxPool2d(3, 2),
            conv(64, 80),
            conv(80, 192, 3, pad=False),
            conv(192, 256, 3, 2, pad=False),
        )

    def to_896(self) -> Reduction:
        """Return the reduction behind the blocks of 256 channels."""
        conv = self.conv
        return Reduction(
            [
                conv(256, 384, 3, 2, pad=False),
                nn.Sequential(conv(256, 192), conv(192, 192, 3), conv(192, 256, 3, 2, pad=False)),
            ]
        )

    def to_1792(self) -> Reduction:
        """Return the reduction behind the blocks of 896 channels."""
        conv = self.conv
        return Reduction(
            [
                nn.Sequential(conv(896, 256), conv(256, 384, 3, 2, pad=False)),
                nn.Sequential(conv(896, 256), conv(256, 256, 3, 2, pad=False)),
                nn.Sequential(conv(896, 256), conv(256, 256, 3), conv(256, 256, 3, 2, pad=False)),
            ]
        )

    def block35(self) -> Residual:
        """Return a block of 256 channels, for maps of 35 x 35 in the paper."""
        conv = self.conv
        branches = [
            conv(256, 32),
            nn.Sequential(conv(256, 32), conv(32, 32, 3)),
            nn.Sequential(conv(256, 32), conv(32, 32, 3), conv(32, 32, 3)),
        ]
        return Residual(branches, 3 * self.channels(32), self.channels(256), 0.17)

    def block17(self) -> Residual:
        """Return a block of 896 channels, for maps of 17 x 17 in the paper."""
        conv = self.conv
        branches = [conv(896, 128), nn.Sequential(conv(896, 128), conv(128, 128, (1, 7)), conv(128, 128, (7, 1)))]
        return Residual(branches, 2 * self.channels(128), self.channels(896), 0.1)

    def block8(self, scale: float, *, relu: bool) -> Residual:
        """Return a block of 1792 channels, for maps of 8 x 8 in the paper."""
        conv = self.conv
        branches = [conv(1792, 192), nn.Sequential(conv(1792, 192), conv(192, 192, (1, 3)), conv(192, 192, (3, 1)))]
        return Residual(branches, 2 * self.channels(192), self.channels(1792), scale, relu=relu)


class InceptionResNetV1(ConvolutionalBackbone):
    """Stem, 20 * depth residual blocks with two reductions between them, and a last one without ReLU.

    `(B, 3, S, S)` -> `(B, 1792 * width, s, s)`; s is 1 for 96 px.
    """

    def __init__(self, width: float, depth: float):
        super().__init__()
        few, many, parts = max(1, round(5 * depth)), max(1, round(10 * depth)), _Parts(width)
        self.embeddings = parts.stem()
        to_896, to_1792 = parts.to_896(), parts.to_1792()  # drawn before the blocks
        blocks: list[nn.Module] = [parts.block35() for _ in range(few)]
        blocks += [to_896, *(parts.block17() for _ in range(many))]
        blocks += [to_1792, *(parts.block8(0.2, relu=True) for _ in range(few)), parts.block8(1.0, relu=False)]
        self.layers = nn.ModuleList(blocks)
        self.channels = parts.channels(1792)


class InceptionResNetV1ForImageClassification(ConvolutionalClassifier):
    """An Inception-ResNet v1, the mean over its last map, dropout and a linear head."""

    config_class = InceptionResNetV1Config

    def __init__(self, config: InceptionResNetV1Config):
        options = InceptionResNetV1Options(**config.options)
        network = InceptionResNetV1(options.width, options.depth)
        super().__init__(config, network, network.channels, options.dropout)


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: InceptionResNetV1Options
) -> tuple[PreTrainedModel, Preprocess]:
    """Return an Inception-ResNet v1 over `labels` at `image_size` px, with the preprocessing that it expects.

    `init` is `scratch`, or a folder of its own kind, whose weights are kept, those of the head only for the same
    labels.

    Raises:
        ModelError: `init` is neither, its width is not that of the options, or `image_size` is too small.
    """
    if image_size < SMALLEST_PX:
        raise ModelError(
            f"image_size {image_size} is too small for an inception_resnet_v1, which adds no border; give {SMALLEST_PX}"
        )
    config = InceptionResNetV1Config(image_size, asdict(options), **label_fields(labels))
    model = InceptionResNetV1ForImageClassification(config)
    start(model, init, labels, options, shape=("width", "depth"))
    # A step on a CPU takes 0.85 of the time.
    return channels_last(model), Preprocess(image_size=image_size, mean=HALF, std=HALF)


AutoConfig.register(MODEL_TYPE, InceptionResNetV1Config, exist_ok=True)
AutoModelForImageClassification.register(
    InceptionResNetV1Config, InceptionResNetV1ForImageClassification, exist_ok=True
)
