# mypy: disallow-untyped-calls=False
"""The two convolutional branches of a VTFF, and their fusion.

A branch is a CNN without its head, cut where its map is still as fine as the grid: ResNet-18, as in the paper, or one
of fervit's CNNs that start from weights of face identification, as the paper's branches start from MS-Celeb-1M's.
Every CNN halves its map stage by stage, and the visual words are the cells of a map, so the grid decides how much of
a CNN is used. ResNet-18 starts at random and leaves out early halvings. The others keep the sampling that their
weights were trained with, and stop behind the last stage whose map has at least grid x grid places; a map that has
more is averaged. For a MobileNet at 112 px a grid of 4 takes the whole network (1024 channels), a grid of 7 all but
the last two blocks (512).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import MobileNetV1Config, MobileNetV1Model, PreTrainedConfig, PreTrainedModel
from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetConvLayer

from fervit.errors import ModelError
from fervit.models.architectures.inception_resnet_v1 import InceptionResNetV1, InceptionResNetV1Config, Reduction
from fervit.models.architectures.mobilenet_v1 import NORM_MOMENTUM
from fervit.models.backbone import backbone_of, layers_in

Tensor = torch.Tensor
RESNET, MOBILENET = "resnet18", "mobilenet_v1"
MAX_HALVINGS = 5  # of ResNet-18: 224 px become 7
OF_MOBILENET = ("depth_multiplier", "min_depth", "tf_padding", "hidden_act", "layer_norm_eps")  # what its layers read


class Branch(nn.Module):
    """A stem and the layers behind it: `(B, in_channels, S, S)` -> `(B, channels, grid, grid)`.

    Attributes:
        in_channels: what it reads; a single channel is repeated to it.
        channels: of its map.
        grid: side of its map.
    """

    in_channels: int
    channels: int
    grid: int

    def first_convolution(self) -> nn.Conv2d:
        """Return the convolution that reads the pixels."""
        raise NotImplementedError

    def depths(self) -> dict[str, int]:
        """Return the depth, from 0 at the stem, of each part by the beginning of its parameters' names."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Return the last map, whose sides are at least `grid`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the last map, averaged to the grid."""
        features = self.features(x)
        if features.shape[-2:] != (self.grid, self.grid):
            features = F.adaptive_avg_pool2d(features, self.grid)
        return features


class ResNetBranch(Branch):
    """ResNet-18 without its head, for weights that start at random.

    It halves the image as often as leaves at least a `grid` x `grid` map (5 times from 224 px to 7, 3 from 56).
    """

    def __init__(self, image_size: int, grid: int, channels: int, in_channels: int):
        super().__init__()
        halvings = 0
        while halvings < MAX_HALVINGS and _halved(image_size, halvings + 1) >= grid:
            halvings += 1
        stem, pooling, *strides = _strides(halvings)
        widths = [channels // divisor for divisor in (8, 4, 2, 1)]
        self.in_channels, self.channels, self.grid = in_channels, channels, grid
        self.stem = ResNetConvLayer(in_channels, widths[0], kernel_size=7, stride=stem)
        self.pooling = nn.MaxPool2d(3, stride=2, padding=1) if pooling == 2 else nn.Identity()
        before = [widths[0], *widths[:-1]]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(ResNetBasicLayer(old, new, stride), ResNetBasicLayer(new, new))
                for old, new, stride in zip(before, widths, strides, strict=True)
            )
        )

    def first_convolution(self) -> nn.Conv2d:
        """Return the convolution that reads the pixels."""
        convolution = self.stem.convolution
        assert isinstance(convolution, nn.Conv2d), convolution
        return convolution

    def depths(self) -> dict[str, int]:
        """Return the depth, from 0 at the stem, of each part by the beginning of its parameters' names."""
        return {"stem.": 0} | {f"stages.{k}.": k + 1 for k in range(len(self.stages))}

    def features(self, x: Tensor) -> Tensor:
        """Return the last map, whose sides are at least `grid`."""
        features: Tensor = self.stages(self.pooling(self.stem(x)))
        return features


class PretrainedBranch(Branch):
    """A stem and layers of a CNN that brings weights, whose sampling stays as it is.

    Args:
        stem: of the CNN.
        layers: of it, as many as are used.
        channels: of the last one's map.
        grid: side of the map that is returned.
    """

    def __init__(self, stem: nn.Module, layers: Iterable[nn.Module], channels: int, grid: int):
        super().__init__()
        self.stem = stem
        self.layers = nn.ModuleList(layers)
        self.channels, self.grid = channels, grid
        self.in_channels = self.first_convolution().in_channels
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = NORM_MOMENTUM

    def first_convolution(self) -> nn.Conv2d:
        """Return the convolution that reads the pixels."""
        return next(module for module in self.stem.modules() if isinstance(module, nn.Conv2d))

    def depths(self) -> dict[str, int]:
        """Return the depth, from 0 at the stem, of each part by the beginning of its parameters' names."""
        return {"stem.": 0} | {f"layers.{k}.": k + 1 for k in range(len(self.layers))}

    def features(self, x: Tensor) -> Tensor:
        """Return the last map, whose sides are at least `grid`."""
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return x


class MobileNetBranch(PretrainedBranch):
    """MobileNet v1: a block is a convolution by channel and one by place, and each halving begins a stage."""

    def __init__(self, image_size: int, grid: int, values: Mapping[str, Any]):
        network = MobileNetV1Model(MobileNetV1Config(**values), add_pooling_layer=False)
        layers, sides = list(network.layer), [_halved(image_size, 1)]
        for layer in layers:
            stride = layer.get_submodule("convolution").stride
            sides.append(_halved(sides[-1], 1) if stride == (2, 2) else sides[-1])
        used = _used(sides, grid, f"mobilenet_v1 at {image_size} px")
        last = [network.conv_stem, *layers][used]
        super().__init__(network.conv_stem, layers[:used], _out_channels(last), grid)


class InceptionBranch(PretrainedBranch):
    """Inception-ResNet v1: the blocks up to a reduction make a stage of 256, 896 or 1792 channels times its width."""

    def __init__(self, image_size: int, grid: int, values: Mapping[str, Any]):
        network = InceptionResNetV1(float(values["width"]), float(values["depth"]))
        side = image_size
        for kernel, stride in ((3, 2), (3, 1), (3, 2), (3, 1), (3, 2)):  # of the stem, which adds no border
            side = (side - kernel) // stride + 1
        sides, channels = [side], [_out_channels(network.embeddings)]
        for layer in network.layers:
            sides.append((sides[-1] - 3) // 2 + 1 if isinstance(layer, Reduction) else sides[-1])
            channels.append(channels[-1] if isinstance(layer, Reduction) else _out_channels(layer))
        used = _used(sides, grid, f"inception_resnet_v1 at {image_size} px")
        super().__init__(network.embeddings, network.layers[:used], channels[used], grid)


def branch_values(config: PreTrainedConfig) -> dict[str, Any]:
    """Return what the layers of a CNN are built by, from the configuration of its model folder."""
    if config.model_type == MOBILENET:
        return {name: getattr(config, name) for name in (*OF_MOBILENET, "num_channels")}
    return {name: config.options[name] for name in ("width", "depth")}


def default_values(branch: str) -> dict[str, Any]:
    """Return what the layers of a CNN that starts at random are built by: its full size."""
    if branch == MOBILENET:
        return branch_values(MobileNetV1Config())
    return branch_values(InceptionResNetV1Config())


def fill_branch(branch: PretrainedBranch, cnn: PreTrainedModel) -> None:
    """Copy the weights and the statistics of a CNN's stem and first layers into a branch that was built like it."""
    network = backbone_of(cnn)
    stem = network.get_submodule("conv_stem" if cnn.config.model_type == MOBILENET else "embeddings")
    branch.stem.load_state_dict(stem.state_dict())
    for ours, theirs in zip(branch.layers, layers_in(network), strict=False):
        ours.load_state_dict(theirs.state_dict())


def _used(sides: Sequence[int], grid: int, name: str) -> int:
    """Return how many layers leave a map of at least the grid; `sides` are those behind the stem and each layer.

    Raises:
        ModelError: not even the stem does.
    """
    fine = [k for k, side in enumerate(sides) if side >= grid]
    if not fine:
        raise ModelError(f"{name} has maps of {sides[0]} x {sides[0]} at most, and model.grid is {grid}: set less")
    return fine[-1]


def _strides(halvings: int) -> tuple[int, ...]:
    """Return the strides of stem, max pooling and the four stages; fewer halvings leave the early ones out."""
    spent = [2] * halvings + [1] * (MAX_HALVINGS - halvings)
    second, third, fourth, stem, pooling = spent
    return stem, pooling, 1, second, third, fourth


def _halved(side: int, times: int) -> int:
    for _ in range(times):
        side = (side + 1) // 2  # a convolution of stride 2 keeps the odd pixel
    return side


def _out_channels(module: nn.Module) -> int:
    """Return the channels of what the last convolution of a stem or a residual block makes."""
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)][-1].out_channels


class _BatchNorm(nn.BatchNorm2d):
    """Batch norm that takes its running statistics where a batch has one value per channel, and so no deviation.

    That is the global attention's in the last batch of an epoch, when a single image is left for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class SelectiveFusion(nn.Module):
    """Attentional selective fusion: two `(B, C, g, g)` maps -> one, cell by cell and channel by channel.

    `U = W1 X_lbp + W2 X_rgb`, a weight per channel from U's mean and one per cell from U itself, added; its sigmoid
    is the weight of the RGB branch.
    """

    def __init__(self, channels: int):
        super().__init__()
        squeezed = max(1, channels // 8)
        self.from_codes = _pointwise(channels, channels)
        self.from_rgb = _pointwise(channels, channels)
        self.global_attention = nn.Sequential(
            _pointwise(channels, squeezed),
            _BatchNorm(squeezed),
            nn.ReLU(),
            _pointwise(squeezed, channels),
            _BatchNorm(channels),
        )
        self.local_attention = nn.Sequential(
            _pointwise(channels, squeezed),
            _BatchNorm(squeezed),
            nn.ReLU(),
            _pointwise(squeezed, 1),
            _BatchNorm(1),
        )

    def forward(self, codes: Tensor, rgb: Tensor) -> Tensor:
        """Return the fused map of the LBP branch's and the RGB branch's."""
        both = self.from_codes(codes) + self.from_rgb(rgb)
        of_channels = self.global_attention(both.mean(dim=(2, 3), keepdim=True))  # (B, C, 1, 1)
        of_cells = self.local_attention(both)  # (B, 1, g, g)
        weight = torch.sigmoid(of_channels + of_cells)
        return rgb * weight + codes * (1 - weight)


def _pointwise(old: int, new: int) -> nn.Conv2d:
    return nn.Conv2d(old, new, kernel_size=1, bias=False)  # a batch norm follows and would take a bias away
