# mypy: disallow-untyped-calls=False, disallow-untyped-decorators=False
"""VTFF: a face and its texture codes through two CNNs, fused by attention, read by a short Transformer encoder.

Ma, Sun, Li 2021, "Facial Expression Recognition with Visual Transformers and Attentional Selective Fusion",
arXiv 2103.16854. Both branches are ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1) without its head: one reads
the RGB crop, one its local binary patterns (Ojala et al. 2002, doi 10.1109/TPAMI.2002.1017623). The model computes
the patterns itself from the pixels that it is given, so that training sees those of the augmented crop, on the
training's device, and an exported file needs no second input.

Left open by the paper and chosen here: the eight neighbours are the pixels of the 3 x 3 square (nothing is
interpolated); the border is repeated; the codes enter as one channel, not three equal ones; convolutions before a
batch norm have no bias; the head reads the CLS token; there is no dropout. Where the paper starts both branches from
ResNet-18s trained on MS-Celeb-1M, fervit has no such weights: a branch may be another CNN of fervit's that has weights
of face identification (`VTFFOptions.branch`, `vtff_branches`), whose codes are repeated to the channels that it reads.
The paper does not say what its encoder starts from; here it may be the first layers of a ViT.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init_weights
from transformers.modeling_outputs import BaseModelOutput, ImageClassifierOutput
from transformers.models.vit.modeling_vit import ViTAttention, ViTLayer
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from fervit.config.architectures import SCRATCH, VTFFOptions
from fervit.errors import ModelError
from fervit.models.architectures.convolutional import channels_last
from fervit.models.architectures.local_binary_patterns import WHITE, local_binary_patterns, to_levels
from fervit.models.architectures.vtff_branches import (
    RESNET,
    Branch,
    InceptionBranch,
    MobileNetBranch,
    PretrainedBranch,
    ResNetBranch,
    SelectiveFusion,
    branch_values,
    default_values,
    fill_branch,
)
from fervit.models.architectures.vtff_encoder import OF_LAYERS, Encoder, read_encoder
from fervit.models.backbone import attention_in_steps
from fervit.models.checkpoint import read_checkpoint
from fervit.models.folders.config import read_config
from fervit.models.folders.processor import read_preprocess
from fervit.models.inherit import check_fit, inherit, model_type_of
from fervit.models.pretrained import HALF, from_hugging_face, label_fields
from fervit.models.timm import TIMM_NORM_EPS
from fervit.types import Preprocess
from fervit.weights.hub import find_folder

Tensor = torch.Tensor
MODEL_TYPE = "vtff"
CNNS = {"mobilenet_v1": MobileNetBranch, "inception_resnet_v1": InceptionBranch}  # by `VTFFOptions.branch`
FIELDS = {  # of an option in the configuration; grid and image_size may change from one run to the next
    "branch": "branch",
    "channels": "channels",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp": "intermediate_size",
}


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: VTFFOptions
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a classifier over `labels` at `image_size` px, with the preprocessing that it expects.

    `init` is `scratch`, a folder of a VTFF, one of the CNN of `options.branch` (both branches start from it, and the
    encoder from `options.encoder`), or a ViT or DINOv2 in any form that a plain ViT may start from, whose first
    `options.depth` layers, CLS token and positions the encoder starts from.

    Raises:
        ModelError: the weights are missing, unsafe or truncated, are those of another CNN, their width, heads or
            hidden part is not that of the options, or `image_size` is smaller than the grid or gives a branch a
            coarser map.
    """
    if image_size < options.grid:
        raise ModelError(f"image_size {image_size} is smaller than the {options.grid} x {options.grid} grid of vtff")
    kind = SCRATCH if str(init) == SCRATCH else _kind_of(init)
    if kind == MODEL_TYPE:
        _check_one_encoder(init, options)
        return _from_vtff(init, labels, image_size, options)
    if kind in CNNS:
        return _from_cnn(init, labels, image_size, options)
    preprocess = Preprocess(image_size=image_size, mean=HALF, std=HALF)
    if kind == SCRATCH:
        encoder = read_encoder(options.encoder, options) if options.encoder else None
    else:
        _check_one_encoder(init, options)
        encoder = read_encoder(init, options)
    return _new(_config(labels, preprocess, options, encoder=encoder), encoder), preprocess


class VTFFConfig(PreTrainedConfig):
    """Sizes of a VTFF, under the names that transformers' ViT gives them; the others as in `VTFFOptions`.

    `branch_values` are what the layers of a CNN other than ResNet-18 are built by; `image_mean` and `image_std` those
    that the pixels were normalised by, from which the codes are computed and by which they are normalised, too.
    """

    model_type = MODEL_TYPE

    num_channels: int = 3
    image_size: int = 224
    branch: str = RESNET
    branch_values: dict[str, Any] | None = None
    image_mean: tuple[float, ...] | list[float] = HALF
    image_std: tuple[float, ...] | list[float] = HALF
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


class VTFFEmbeddings(nn.Module):
    """Pixels to visual words: `(B, 3, S, S)` -> `(B, 1 + grid * grid, D)`, CLS token first."""

    def __init__(self, config: VTFFConfig):
        super().__init__()
        width = config.hidden_size
        self.rgb_branch = _new_branch(config, config.num_channels)
        self.code_branch = _new_branch(config, 1)
        channels = self.rgb_branch.channels
        self.fusion = SelectiveFusion(channels)
        self.projection = nn.Conv2d(channels, width, kernel_size=1)
        self.mean, self.std = tuple(config.image_mean), tuple(config.image_std)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + config.grid**2, width))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the tokens of normalised crops."""
        codes = local_binary_patterns(to_levels(pixel_values, self.mean, self.std))  # 0..255
        codes = self._normalised(codes).to(pixel_values.dtype)
        fused = self.fusion(self.code_branch(codes), self.rgb_branch(pixel_values))
        words = self.projection(fused).flatten(2).transpose(1, 2)  # (B, C, g, g) -> (B, g * g, D)
        return torch.cat([self.cls_token.expand(words.shape[0], -1, -1), words], dim=1) + self.position_embeddings

    def _normalised(self, codes: Tensor) -> Tensor:
        """Normalise `(B, 1, S, S)` codes like grey pixels, as many channels as the branch reads."""
        pairs = list(zip(self.mean, self.std, strict=True))[: self.code_branch.in_channels]
        return torch.cat([codes * (1 / (WHITE * std)) - mean / std for mean, std in pairs], dim=1)


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
        return [self.vtff.embeddings.rgb_branch.first_convolution()]

    def depths(self) -> dict[str, int]:
        """Return the depth of each part: the branches' stem is 0, their last layer stands below CLS and positions.

        The layers of the encoder come next. Fusion and projection, which no weights are started from, are as deep as
        the head.
        """
        embeddings = f"{MODEL_TYPE}.embeddings."
        of_branch = self.vtff.embeddings.rgb_branch.depths()
        tokens = max(of_branch.values()) + 1
        depths = {
            f"{embeddings}{branch}.{part}": depth
            for branch in ("rgb_branch", "code_branch")
            for part, depth in of_branch.items()
        }
        depths |= {f"{embeddings}{name}": tokens for name in ("cls_token", "position_embeddings")}
        return depths | {f"{MODEL_TYPE}.layers.{k}.": tokens + 1 + k for k in range(len(self.vtff.layers))}


AutoConfig.register(MODEL_TYPE, VTFFConfig, exist_ok=True)
AutoModelForImageClassification.register(VTFFConfig, VTFFForImageClassification, exist_ok=True)


def _new_branch(config: VTFFConfig, in_channels: int) -> Branch:
    """Return a branch of a configuration with random weights; only a ResNet-18 has `in_channels` as they are given."""
    if config.branch == RESNET:
        return ResNetBranch(config.image_size, config.grid, config.channels, in_channels)
    return CNNS[config.branch](config.image_size, config.grid, config.branch_values or {})


def _config(
    labels: Sequence[str],
    preprocess: Preprocess,
    options: VTFFOptions,
    *,
    encoder: Encoder | None = None,
    branch_values: dict[str, Any] | None = None,
) -> VTFFConfig:
    """Return the configuration; branches that start at random have the CNN's own sizes."""
    if branch_values is None and options.branch != RESNET:
        branch_values = default_values(options.branch)
    config = VTFFConfig(
        image_size=preprocess.image_size,
        branch=options.branch,
        branch_values=branch_values,
        image_mean=preprocess.mean,
        image_std=preprocess.std,
        channels=options.channels,
        grid=options.grid,
        hidden_size=options.width,
        num_hidden_layers=options.depth,
        num_attention_heads=options.heads,
        intermediate_size=options.mlp,
        **label_fields(labels),
        **({} if encoder is None else encoder.fields),
    )
    return attention_in_steps(config)


def _new(config: VTFFConfig, encoder: Encoder | None) -> VTFFForImageClassification:
    """Return a model with random weights but for the encoder's."""
    model = VTFFForImageClassification(config)
    if encoder is not None:
        _, unexpected = model.vtff.load_state_dict(encoder.state, strict=False)
        assert not unexpected, unexpected
    return model


def _kind_of(init: str | Path) -> str | None:
    """Return the `model_type` of a folder or a Hub id, or None where neither can be read as one."""
    if Path(init).exists():
        return model_type_of(init)
    try:
        return str(read_config(find_folder(str(init))).model_type)
    except (OSError, ValueError, ModelError):  # the plain ViT's builder says what is wrong
        return None


def _check_one_encoder(init: str | Path, options: VTFFOptions) -> None:
    """Raise `ModelError` where both `init` and the options have weights of an encoder."""
    if options.encoder:
        raise ModelError(
            f"{init} has an encoder, and model.encoder names another, {options.encoder}: leave one out "
            "(--set model.encoder= starts from the former)"
        )


def _from_vtff(
    init: str | Path, labels: Sequence[str], image_size: int, options: VTFFOptions
) -> tuple[VTFFForImageClassification, Preprocess]:
    """Go on from another VTFF: positions interpolated to the grid, a new head for other labels."""
    parent, spec = read_checkpoint(init)
    fields = dict(FIELDS)
    if parent.config.branch != RESNET:
        del fields["channels"]  # of ResNet-18 alone
    theirs = {name: getattr(parent.config, field) for name, field in fields.items()}
    check_fit(init, theirs, options)
    encoder = Encoder({name: getattr(parent.config, name) for name in OF_LAYERS}, {})
    preprocess = read_preprocess(Path(init), parent.config, image_size=image_size)
    values = parent.config.branch_values
    model = VTFFForImageClassification(_config(labels, preprocess, options, encoder=encoder, branch_values=values))
    assert isinstance(parent, VTFFForImageClassification), parent
    ours, parents = (part.vtff.embeddings.rgb_branch.depths() for part in (model, parent))
    if ours != parents:
        raise ModelError(
            f"{init} does not fit: at {image_size} px a grid of {options.grid} takes {len(ours) - 1} layers of a "
            f"{options.branch}, and its branches have {len(parents) - 1}; take its image_size "
            f"{parent.config.image_size} and --set model.grid={parent.config.grid}"
        )
    inherit(model, parent, head=spec.labels == tuple(labels))
    return model, preprocess


def _from_cnn(
    init: str | Path, labels: Sequence[str], image_size: int, options: VTFFOptions
) -> tuple[VTFFForImageClassification, Preprocess]:
    """Start both branches from the first layers of a CNN, and the encoder from `options.encoder`."""
    kind = _kind_of(init)
    if kind != options.branch:
        raise ModelError(
            f"{init} is a {kind}, and model.branch is {options.branch}: take others, or --set model.branch={kind}"
        )
    cnn, preprocess = from_hugging_face(init, ("none",), image_size, kinds=(options.branch,))
    values = branch_values(cnn.config)
    if values.get("num_channels", 3) != 3:
        raise ModelError(f"{init} reads {values['num_channels']} channels, and the branches of vtff read 3 (RGB)")
    encoder = read_encoder(options.encoder, options) if options.encoder else None
    model = _new(_config(labels, preprocess, options, encoder=encoder, branch_values=values), encoder)
    for branch in (model.vtff.embeddings.rgb_branch, model.vtff.embeddings.code_branch):
        assert isinstance(branch, PretrainedBranch), branch
        fill_branch(branch, cnn)
        channels_last(branch)
    return model, preprocess
