# mypy: disallow-untyped-calls=False
"""Poker Face ViT: Li et al. 2022, arXiv 2207.11081. A face is an emotion laid over one's own expressionless face.

From the paper (its abstract): a ViT encoder; a separator that splits the representation into an emotional component
`v_e` and an orthogonal residue `v_p`; a generator that reconstructs the face from both and synthesises the poker face
without `v_e`; a discriminator, trained adversarially with encoder and generator; a head that reads `v_e`; no paired
images, and no generator at inference. Ours, because the abstract does not state it:

- `v_e` is one vector, from the CLS token; `v_p` is a vector for each patch, so that identity, pose and light keep
  their places. Each comes from a residual MLP that starts near the identity: training starts from the plain ViT.
- The generator is convolutional and paints `v_p`; `v_e` scales and shifts its features (FiLM, arXiv 1709.07871) with
  no bias, so that `v_e = 0` leaves nothing of it behind.
- A neutral face is its own poker face: on neutral faces, the L1 distance anchors what the other terms leave free.
- Both networks learn in one step, by one loss and one optimizer: the generator meets a discriminator whose weights
  are held constant, the discriminator meets fakes that are.

Masked pre-training, from which the paper starts, is another command's: give its folder as the starting weights.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
    initialization,
)
from transformers.modeling_outputs import ImageClassifierOutput

from fervit.config.architectures import PFViTOptions
from fervit.models.architectures.encoder import EncoderSizes, encoder_values, new_encoder
from fervit.models.architectures.vit import build_backbone
from fervit.models.backbone import attention_in_steps
from fervit.models.checkpoint import read_checkpoint
from fervit.models.folders.processor import read_preprocess
from fervit.models.inherit import check_fit, inherit, model_type_of
from fervit.models.losses import soft_cross_entropy
from fervit.models.positions import patch_grid
from fervit.models.pretrained import label_fields
from fervit.types import Preprocess

logger = logging.getLogger(__name__)
Tensor = torch.Tensor
MODEL_TYPE = "pf_vit"
NEUTRAL = "neutral"  # the label that a poker face should get
SLOPE = 0.2  # of the leaky ReLU in the discriminator (DCGAN, arXiv 1511.06434)
GROUPS = 8  # of the generator's group norms


class PFViTConfig(EncoderSizes, PreTrainedConfig):
    """Configuration of `PFViTForImageClassification`: that of its encoder, and the fields of `PFViTOptions`.

    `black` and `white` are those levels of each channel in the encoder's normalised input: what can be painted.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        black: Sequence[float] = (-1.0, -1.0, -1.0),
        white: Sequence[float] = (1.0, 1.0, 1.0),
        **kwargs: Any,
    ):
        self.encoder = encoder or encoder_values(ViTConfig())
        self.options = asdict(PFViTOptions(**(options or {})))
        self.black, self.white = list(black), list(white)
        super().__init__(**kwargs)


class Separator(nn.Module):
    """Splits an encoder's tokens into an emotion vector and a disturbance vector for each patch."""

    def __init__(self, width: int):
        super().__init__()
        self.emotion, self.disturbance = ResidualMLP(width), ResidualMLP(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return `v_e (B, D)` and `v_p (B, N, D)` of the tokens `(B, 1 + N, D)`, CLS first."""
        return self.emotion(tokens[:, 0]), self.disturbance(tokens[:, 1:])


class ResidualMLP(nn.Module):
    """`x + MLP(x)` over the last dimension."""

    def __init__(self, width: int):
        super().__init__()
        self.rise, self.fall = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of `x`'s shape."""
        y: Tensor = x + self.fall(F.gelu(self.rise(x)))
        return y


class Generator(nn.Module):
    """Paints a face from its disturbance (`v_p`: what is where) and its emotion (`v_e`)."""

    def __init__(self, width: int, channels: int, face_px: int):
        super().__init__()
        self.start = face_px // 4  # side of the map before it is doubled twice
        self.enter = nn.Conv2d(width, channels, 1)
        self.canvas = nn.Parameter(torch.zeros(1, channels, self.start, self.start))  # the same for every face
        self.stages = nn.ModuleList(
            [
                ExpressiveStage(channels, channels, width, scale=1),
                ExpressiveStage(channels, channels, width, scale=2),
                ExpressiveStage(channels, channels // 2, width, scale=2),
            ]
        )
        self.leave = nn.Conv2d(channels // 2, 3, 3, padding=1)

    def forward(self, v_e: Tensor, v_p: Tensor) -> Tensor:
        """Return faces `(B, 3, face_px, face_px)`, 0 (black) to 1 (white)."""
        side = int(v_p.shape[1] ** 0.5)
        x = v_p.transpose(1, 2).reshape(len(v_p), -1, side, side)  # (B, N, D) -> (B, D, h, w)
        x = F.interpolate(self.enter(x), (self.start, self.start), mode="bilinear", align_corners=False)
        x = x + self.canvas
        for stage in self.stages:
            x = stage(x, v_e)
        return torch.sigmoid(self.leave(x))


class ExpressiveStage(nn.Module):
    """Resizes to `scale` times the side, then convolves (pixel shuffle left a grid), modulated by the emotion."""

    def __init__(self, inside: int, outside: int, width: int, *, scale: int):
        super().__init__()
        self.paint = nn.Conv2d(inside, outside, 3, padding=1)
        self.scale = scale
        self.norm = nn.GroupNorm(GROUPS, outside)
        self.express = nn.Linear(width, 2 * outside, bias=False)  # no emotion: neither scale nor shift

    def forward(self, x: Tensor, v_e: Tensor) -> Tensor:
        """Return `(B, outside, scale * h, scale * w)`."""
        if self.scale > 1:
            x = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        x = self.norm(self.paint(x))
        scale, shift = self.express(v_e)[:, :, None, None].chunk(2, dim=1)
        return F.gelu(x * (1 + scale) + shift)


class Discriminator(nn.Module):
    """Scores how real each part of a face looks, above 0 for real: a PatchGAN (arXiv 1611.07004, section 3.2.2)."""

    def __init__(self, channels: int):
        super().__init__()
        widths = (3, channels // 2, channels, 2 * channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.score = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores `(B, 1, s / 8, s / 8)` of faces `(B, 3, s, s)`."""
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), SLOPE)
        y: Tensor = self.score(x)
        return y


class PFViTForImageClassification(PreTrainedModel):
    """Encoder, separator and classifier; generator and discriminator only where faces are painted."""

    config_class = PFViTConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    _supports_sdpa = True
    _no_split_modules = ["ViTLayer", "Dinov2Layer"]  # noqa: RUF012

    def __init__(self, config: PFViTConfig):
        super().__init__(config)
        options = PFViTOptions(**config.options)
        self.backbone = new_encoder(config.encoder, config._attn_implementation)
        width = int(self.backbone.config.hidden_size)
        self.separator = Separator(width)
        self.classifier = nn.Linear(width, int(config.num_labels or 0))
        self.generator = Generator(width, options.channels, options.face_px)
        self.discriminator = Discriminator(options.channels)
        self.weights = options
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):  # with transformers' 0.02 the signal would vanish behind a few layers
            initialization.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
        elif isinstance(module, Generator):
            initialization.zeros_(module.canvas)
            weight = module.leave.weight  # starts grey; colour is learnt where faces have it
            initialization.copy_(weight, weight[:1].expand_as(weight).clone())

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> ImageClassifierOutput:
        """Return `logits (B, K)` of `pixel_values (B, 3, S, S)`; `labels (B,)` add cross-entropy. Nothing is painted.

        Keywords such as `output_attentions` go to the encoder.
        """
        outputs = self._encode(pixel_values, **kwargs)
        logits = self.classifier(self.separator.emotion(outputs.last_hidden_state[:, 0]))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def separate(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the emotion `v_e (B, D)` and the disturbance `v_p (B, N, D)` of `pixel_values (B, 3, S, S)`."""
        parts: tuple[Tensor, Tensor] = self.separator(self._encode(pixel_values).last_hidden_state)
        return parts

    def paint(self, v_e: Tensor, v_p: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction and the poker face, `(B, 3, face_px, face_px)` each, normalised as the input."""
        both = self.generator(torch.cat([v_e, torch.zeros_like(v_e)]), torch.cat([v_p, v_p]))
        black, white = (both.new_tensor(level)[:, None, None] for level in (self.config.black, self.config.white))
        reconstruction, poker = (black + (white - black) * both).chunk(2)
        return reconstruction, poker

    def training_loss(self, pixel_values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of `loss_terms`, and the logits `(B, K)`."""
        terms, logits = self.loss_terms(pixel_values, targets)
        weights = asdict(self.weights)
        weights |= {"classification": 1.0, "discriminator": self.weights.adversarial}
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum(), logits

    def loss_terms(self, pixel_values: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the unweighted terms of the loss, float32 scalars, and the logits `(B, K)`.

        `discriminator` teaches the discriminator alone, the others teach all but it. A term whose weight is 0 is
        neither computed nor returned, and neither are `poker` and `anchor` where no label is called `neutral`.

        Args:
            pixel_values: `(B, 3, S, S)`.
            targets: `(B, K)` rows that sum to 1.
        """
        weights = self.weights
        v_e, v_p = self.separate(pixel_values)
        logits = self.classifier(v_e)
        terms = {"classification": soft_cross_entropy(logits, targets)}
        if weights.orthogonality:
            terms["orthogonality"] = squared_cosine(v_e, v_p)
        if not (weights.reconstruction or weights.adversarial or weights.poker or weights.anchor):
            return terms, logits
        reconstruction, poker = self.paint(v_e, v_p)
        real = self.to_face(pixel_values)
        if weights.reconstruction:
            terms["reconstruction"] = F.l1_loss(reconstruction.float(), real)
        if weights.adversarial:
            fake = torch.cat([reconstruction, poker])
            terms["adversarial"] = -_with_constant_weights(self.discriminator)(fake).float().mean()
            # Hinge loss (arXiv 1705.02894, section 3.1)
            terms["discriminator"] = F.relu(1 - self.discriminator(real).float()).mean()
            terms["discriminator"] += F.relu(1 + self.discriminator(fake.detach()).float()).mean()
        neutral = neutral_index(self.config)
        if weights.poker and neutral is not None:
            terms["poker"] = self._not_neutral(poker, neutral, side=pixel_values.shape[-1])
        if weights.anchor and neutral is not None:
            terms["anchor"] = (targets[:, neutral] * (poker.float() - real).abs().mean(dim=(1, 2, 3))).mean()
        return terms, logits

    def to_face(self, pixel_values: Tensor) -> Tensor:
        """Resize input `(B, 3, S, S)` to what the generator should paint, `(B, 3, face_px, face_px)`."""
        size = (self.weights.face_px, self.weights.face_px)
        if pixel_values.shape[-2:] == size:
            return pixel_values
        return F.interpolate(pixel_values, size, mode="bilinear", antialias=True, align_corners=False)

    def _not_neutral(self, poker: Tensor, neutral: int, *, side: int) -> Tensor:
        """Return the cross-entropy of poker faces, classified by this model with its present weights, and `neutral`.

        Its weights are constants here: the term may change how a face is painted, not what counts as neutral.
        """
        resized = F.interpolate(poker, (side, side), mode="bilinear", align_corners=False)
        logits = _with_constant_weights(self)(pixel_values=resized).logits.float()
        loss: Tensor = -logits.log_softmax(dim=1)[:, neutral].mean()
        return loss

    def _encode(self, pixel_values: Tensor, **kwargs: Any) -> Any:
        if pixel_values.shape[-1] != self.config.image_size and isinstance(self.backbone, ViTModel):
            kwargs["interpolate_pos_encoding"] = True  # a DINOv2 does so by itself
        return self.backbone(pixel_values=pixel_values, **kwargs)


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: PFViTOptions
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a Poker Face ViT over `labels` at `image_size` px, with the preprocessing that its weights expect.

    `init` holds starting weights for the encoder, in any form that a plain ViT's may have, or is a Poker Face
    ViT's own folder, whose weights are kept, those of the head only for the same labels.

    Raises:
        ModelError: the weights are missing, unsafe (a pickle), truncated, of an unknown form, do not fit
            `image_size`, or are a Poker Face ViT's with another generator.
    """
    if (options.poker or options.anchor) and NEUTRAL not in labels:
        logger.warning(
            "no label is called %s, so poker faces are not trained to look it: %s", NEUTRAL, ", ".join(labels)
        )
    if model_type_of(init) == MODEL_TYPE:
        parent, spec = read_checkpoint(init)
        check_fit(init, {name: parent.config.options[name] for name in ("face_px", "channels")}, options)
        patch_grid(image_size, parent.config.patch_size)  # raises where they do not fit
        preprocess = read_preprocess(Path(init), parent.config, image_size=image_size)
        model = _new(parent.config.encoder | {"image_size": image_size}, labels, options, preprocess)
        inherit(model, parent, head=spec.labels == tuple(labels))
        return model, preprocess
    encoder, preprocess = build_backbone(init, image_size)
    model = _new(encoder_values(encoder.config), labels, options, preprocess)
    model.backbone.load_state_dict(encoder.state_dict())
    return model, preprocess


def neutral_index(config: PreTrainedConfig) -> int | None:
    """Return the place of the label `neutral` in a configuration's `id2label`, or None."""
    return next((int(k) for k, name in (config.id2label or {}).items() if name == NEUTRAL), None)


def squared_cosine(v_e: Tensor, v_p: Tensor) -> Tensor:
    """Return the mean squared cosine between `v_e (B, D)` and each vector of `v_p (B, N, D)`: 0 where orthogonal."""
    cosine = F.cosine_similarity(v_e[:, None].float(), v_p.float(), dim=2)
    return cosine.square().mean()


def _with_constant_weights(module: nn.Module) -> Callable[..., Any]:
    """Return the module with its weights as constants: gradients pass through to its input and end there."""
    constants = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return lambda *args, **kwargs: functional_call(module, constants, args, kwargs)


def _new(
    encoder: dict[str, Any], labels: Sequence[str], options: PFViTOptions, preprocess: Preprocess
) -> PFViTForImageClassification:
    levels = list(zip(preprocess.mean, preprocess.std, strict=True))
    black, white = ([(level - mean) / std for mean, std in levels] for level in (0, 1))
    config = PFViTConfig(encoder, asdict(options), black, white, **label_fields(labels))
    return PFViTForImageClassification(attention_in_steps(config))


AutoConfig.register(MODEL_TYPE, PFViTConfig, exist_ok=True)
AutoModelForImageClassification.register(PFViTConfig, PFViTForImageClassification, exist_ok=True)
