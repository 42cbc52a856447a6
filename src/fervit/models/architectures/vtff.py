# mypy: disallow-untyped-calls=False, disallow-untyped-decorators=False
"""VTFF: a face and its texture codes through two CNNs, fused by attention, read by a short Transformer encoder.

Ma, Sun, Li 2021, "Facial Expression Recognition with Visual Transformers and Attentional Selective Fusion",
arXiv 2103.16854. Both branches are ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1) without its head: one reads
the RGB crop, one its local binary patterns (Ojala et al. 2002, doi 10.1109/TPAMI.2002.1017623). The model computes
the patterns itself from the pixels that it is given, so that training sees those of the augmented crop, on the
training's device, and an exported file needs no second input.

Left open by the paper and chosen here: the eight neighbours are the pixels of the 3 x 3 square (nothing is
interpolated); the border is repeated; the codes enter as one channel, not three equal ones; convolutions before a
batch norm have no bias; the head reads the CLS token; there is no dropout. The paper starts its branches from faces
of MS-Celeb-1M; fervit has no such weights, so they start at random, and only the encoder may start from a ViT's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init_weights
from transformers.modeling_outputs import BaseModelOutput, ImageClassifierOutput
from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetConvLayer
from transformers.models.vit.modeling_vit import ViTAttention, ViTLayer
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from fervit.config.architectures import SCRATCH, VTFFOptions
from fervit.errors import ModelError
from fervit.models.architectures.local_binary_patterns import WHITE, local_binary_patterns, to_levels
from fervit.models.architectures.vit import build_backbone
from fervit.models.backbone import attention_in_steps, layers_in
from fervit.models.checkpoint import read_checkpoint
from fervit.models.folders.config import read_config
from fervit.models.inherit import check_fit, inherit, model_type_of
from fervit.models.pretrained import HALF, label_fields, read_safetensors
from fervit.models.timm import TIMM_NORM_EPS
from fervit.types import Preprocess
from fervit.weights.hub import find_folder

Tensor = torch.Tensor
MODEL_TYPE = "vtff"
MAX_HALVINGS = 5  # of ResNet-18: 224 px become 7
PATCH = 16  # of most ViTs
FIELDS = {  # of an option in the configuration; grid and image_size may change from one run to the next
    "channels": "channels",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp": "intermediate_size",
}
OF_LAYERS = ("hidden_act", "layer_norm_eps", "qkv_bias")  # what the weights of a layer were trained with


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: VTFFOptions
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a classifier over `labels` at `image_size` px, with the preprocessing that it expects.

    `init` is `scratch`, a folder of a VTFF, or a ViT or DINOv2 in any form that a plain ViT may start from, whose first
    `options.depth` layers, CLS token and positions the encoder starts from.

    Raises:
        ModelError: the weights are missing, unsafe or truncated, their width, heads or hidden part is not that of
            the options, or `image_size` is smaller than the grid.
    """
    if image_size < options.grid:
        raise ModelError(f"image_size {image_size} is smaller than the {options.grid} x {options.grid} grid of vtff")
    if str(init) == SCRATCH:
        model = VTFFForImageClassification(_config(labels, image_size, options))
    elif model_type_of(init) == MODEL_TYPE:
        model = _from_vtff(init, labels, image_size, options)
    else:
        model = _from_vit(init, labels, image_size, options)
    return model, Preprocess(image_size=image_size, mean=HALF, std=HALF)


class VTFFConfig(PreTrainedConfig):
    """Sizes of a VTFF, under the names that transformers' ViT gives them; `channels` and `grid` as in `VTFFOptions`."""

    model_type = MODEL_TYPE

    num_channels: int = 3
    image_size: int = 224
    channels: int = 512
    grid: int = 7
    hidden_size: int = 768
    num_hidden_layers: int = 4
    num_attention_heads: int = 8
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = TIMM_NORM_EPS
    qkv_bias: bool = True


class _BatchNorm(nn.BatchNorm2d):
    """Batch norm that takes its running statistics where a batch has one value per channel, and so no deviation.

    That is the global attention's in the last batch of an epoch, when a single image is left for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def _strides(halvings: int) -> tuple[int, ...]:
    """Return the strides of stem, max pooling and the four stages; fewer halvings leave the early ones out."""
    spent = [2] * halvings + [1] * (MAX_HALVINGS - halvings)
    second, third, fourth, stem, pooling = spent
    return stem, pooling, 1, second, third, fourth


class ResNetBranch(nn.Module):
    """ResNet-18 without its head: `(B, in_channels, S, S)` -> `(B, channels, g, g)`.

    It halves the image as often as leaves at least a `grid` x `grid` map (5 times from 224 px to 7, 3 from 56),
    and averages what is not exactly that.
    """

    def __init__(self, config: VTFFConfig, in_channels: int):
        super().__init__()
        halvings = 0
        while halvings < MAX_HALVINGS and _halved(config.image_size, halvings + 1) >= config.grid:
            halvings += 1
        stem, pooling, *strides = _strides(halvings)
        widths = [config.channels // divisor for divisor in (8, 4, 2, 1)]
        self.grid = config.grid
        self.stem = ResNetConvLayer(in_channels, widths[0], kernel_size=7, stride=stem)
        self.pooling = nn.MaxPool2d(3, stride=2, padding=1) if pooling == 2 else nn.Identity()
        before = [widths[0], *widths[:-1]]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(ResNetBasicLayer(old, new, stride), ResNetBasicLayer(new, new))
                for old, new, stride in zip(before, widths, strides, strict=True)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch's last map."""
        features: Tensor = self.stages(self.pooling(self.stem(x)))
        if features.shape[-2:] != (self.grid, self.grid):
            features = F.adaptive_avg_pool2d(features, self.grid)
        return features


def _halved(side: int, times: int) -> int:
    for _ in range(times):
        side = (side + 1) // 2  # a convolution of stride 2 keeps the odd pixel
    return side


class SelectiveFusion(nn.Module):
    """Attentional selective fusion: two `(B, C, g, g)` maps -> one, cell by cell and channel by channel.

    `U = W1 X_lbp + W2 X_rgb`, a weight per channel from U's mean and one per cell from U itself, added; its sigmoid
    is the weight of the RGB branch.
    """

    def __init__(self, channels: int):
        super().__init__()
        squeezed = channels // 8
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


class VTFFEmbeddings(nn.Module):
    """Pixels to visual words: `(B, 3, S, S)` -> `(B, 1 + grid * grid, D)`, CLS token first."""

    def __init__(self, config: VTFFConfig):
        super().__init__()
        width = config.hidden_size
        self.rgb_branch = ResNetBranch(config, config.num_channels)
        self.code_branch = ResNetBranch(config, 1)
        self.fusion = SelectiveFusion(config.channels)
        self.projection = nn.Conv2d(config.channels, width, kernel_size=1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + config.grid**2, width))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the tokens of normalised crops."""
        codes = local_binary_patterns(to_levels(pixel_values)) * (2 / WHITE) - 1  # 0..255 -> -1..1
        fused = self.fusion(self.code_branch(codes.to(pixel_values.dtype)), self.rgb_branch(pixel_values))
        words = self.projection(fused).flatten(2).transpose(1, 2)  # (B, C, g, g) -> (B, g * g, D)
        return torch.cat([self.cls_token.expand(words.shape[0], -1, -1), words], dim=1) + self.position_embeddings


class VTFFPreTrainedModel(PreTrainedModel):
    """The base of the two models of this module: their configuration and their first weights."""

    config_class = VTFFConfig
    base_model_prefix = MODEL_TYPE
    main_input_name = "pixel_values"
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": ViTLayer, "attentions": ViTAttention}  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):  # by itself: transformers skips modules that own no parameters
            init_weights.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, VTFFEmbeddings):
            for token in (module.cls_token, module.position_embeddings):
                init_weights.trunc_normal_(token, std=self.config.initializer_range)


class VTFFModel(VTFFPreTrainedModel):
    """Branches, fusion and encoder, without a head: `last_hidden_state (B, 1 + grid * grid, D)`, CLS token first."""

    def __init__(self, config: VTFFConfig):
        super().__init__(config)
        self.embeddings = VTFFEmbeddings(config)
        like_vit: Any = config  # it has every field that a layer reads
        self.layers = nn.ModuleList([ViTLayer(like_vit) for _ in range(config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        """Encode normalised `(B, 3, S, S)` crops."""
        tokens = self.embeddings(pixel_values)
        for layer in self.layers:
            tokens = layer(tokens, **kwargs)
        return BaseModelOutput(last_hidden_state=self.layernorm(tokens))


class VTFFForImageClassification(VTFFPreTrainedModel):
    """VTFF with a linear head on the CLS token: `logits (B, K)`."""

    def __init__(self, config: VTFFConfig):
        super().__init__(config)
        self.num_labels = len(config.id2label or ())
        self.vtff = VTFFModel(config)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> ImageClassifierOutput:
        """Classify normalised `(B, 3, S, S)` crops; `labels (B,)` add the loss."""
        outputs = self.vtff(pixel_values, **kwargs)
        logits = self.classifier(outputs.last_hidden_state[:, 0])
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return ImageClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def input_convolutions(self) -> list[nn.Conv2d]:
        """Return the convolution that reads the RGB pixels; the other branch sees luma by construction."""
        return [self.vtff.embeddings.rgb_branch.stem.convolution]


AutoConfig.register(MODEL_TYPE, VTFFConfig, exist_ok=True)
AutoModelForImageClassification.register(VTFFConfig, VTFFForImageClassification, exist_ok=True)


def _config(labels: Sequence[str], image_size: int, options: VTFFOptions, **encoder: Any) -> VTFFConfig:
    config = VTFFConfig(
        image_size=image_size,
        channels=options.channels,
        grid=options.grid,
        hidden_size=options.width,
        num_hidden_layers=options.depth,
        num_attention_heads=options.heads,
        intermediate_size=options.mlp,
        **label_fields(labels),
        **encoder,
    )
    return attention_in_steps(config)


def _from_vtff(
    init: str | Path, labels: Sequence[str], image_size: int, options: VTFFOptions
) -> VTFFForImageClassification:
    """Go on from another VTFF: positions interpolated to the grid, a new head for other labels."""
    parent, spec = read_checkpoint(init)
    check_fit(init, {name: getattr(parent.config, field) for name, field in FIELDS.items()}, options)
    encoder = {name: getattr(parent.config, name) for name in OF_LAYERS}
    model = VTFFForImageClassification(_config(labels, image_size, options, **encoder))
    inherit(model, parent, head=spec.labels == tuple(labels))
    return model


def _from_vit(
    init: str | Path, labels: Sequence[str], image_size: int, options: VTFFOptions
) -> VTFFForImageClassification:
    """Start the encoder from the first layers, the CLS token and the positions of a ViT or a DINOv2."""
    backbone, _ = build_backbone(init, options.grid * _patch_size(init))
    config = backbone.config
    if getattr(config, "use_swiglu_ffn", False):
        raise ModelError(f"{init} has gated layers (SwiGLU), which vtff has not; take a ViT or a smaller DINOv2")
    dinov2 = config.model_type == "dinov2"
    theirs = {
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "mlp": config.hidden_size * config.mlp_ratio if dinov2 else config.intermediate_size,
    }
    check_fit(init, theirs, options)
    layers = layers_in(backbone)
    if len(layers) < options.depth:
        raise ModelError(f"{init} has {len(layers)} layers, model.depth is {options.depth}: set it to at most that")
    encoder = {name: getattr(config, name) for name in OF_LAYERS}
    model = VTFFForImageClassification(_config(labels, image_size, options, **encoder))
    for ours, layer in zip(model.vtff.layers, layers, strict=False):
        ours.load_state_dict(_as_vit_layer(layer) if dinov2 else layer.state_dict())
    with torch.no_grad():
        for name in ("cls_token", "position_embeddings"):
            getattr(model.vtff.embeddings, name).copy_(getattr(backbone.embeddings, name))
    return model


def _patch_size(init: str | Path) -> int:
    """Return the patch size of a ViT's weights; where they cannot be read, `build_backbone` says why."""
    if Path(init).is_file():
        kernel = read_safetensors(Path(init)).get("patch_embed.proj.weight")
        return PATCH if kernel is None else int(kernel.shape[-1])
    try:
        config = read_config(find_folder(str(init)))
    except (OSError, ValueError, ModelError):
        return PATCH
    return int(getattr(config, "patch_size", PATCH))


def _as_vit_layer(layer: nn.Module) -> dict[str, Tensor]:
    """Return a DINOv2 layer's weights as those of the ViT layer that computes the same: its scales folded in."""
    state = layer.state_dict()
    for scale, linear in (("layer_scale1", "attention.o_proj"), ("layer_scale2", "mlp.fc2")):
        factor = state.pop(f"{scale}.lambda1")
        state[f"{linear}.weight"] = state[f"{linear}.weight"] * factor[:, None]
        state[f"{linear}.bias"] = state[f"{linear}.bias"] * factor
    for dinov2, vit in (("norm1", "layernorm_before"), ("norm2", "layernorm_after")):
        for part in ("weight", "bias"):
            state[f"{vit}.{part}"] = state.pop(f"{dinov2}.{part}")
    return state
