# mypy: disallow-untyped-calls=False
"""ViT+SE: a ViT whose output vector passes a squeeze-and-excitation block before the head.

Aouayeb et al. 2021, "Learning Vision Transformer with Squeeze and Excitation for Facial Expression Recognition",
arXiv 2107.03107; the block is that of Hu et al. 2018 (arXiv 1709.01507, eq. 3): `s = sigmoid(W2 relu(W1 z))`,
`z' = s * z`. Ours, not stated there or made an option:

- `z` is what the plain classifier's head reads: a ViT's CLS token, a DINOv2's CLS token beside the patches' mean.
  With `se_on = "tokens"` the squeeze is the mean over all tokens, as Hu et al. average over all places, and every
  token is gated.
- The gates start near 1, so that training starts from the plain ViT: the last linear layer has weights of deviation
  0.02 and a bias of 3, so every gate is close to 0.95 and the features are the plain ones times a constant. A larger
  bias starts nearer to 1, but in the sigmoid's flat part, where gates learn slowly (slope 0.045 at 3, 0.018 at 4).
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
    ViTConfig,
    initialization,
)
from transformers.modeling_outputs import ImageClassifierOutput

from fervit.config.architectures import ViTSEOptions
from fervit.errors import ModelError
from fervit.models.architectures.encoder import EncoderSizes, encoder_values, new_encoder
from fervit.models.architectures.vit import build_backbone
from fervit.models.backbone import attention_in_steps
from fervit.models.checkpoint import read_checkpoint
from fervit.models.folders.processor import read_preprocess
from fervit.models.inherit import check_fit, inherit, model_type_of
from fervit.models.positions import patch_grid
from fervit.models.pretrained import label_fields
from fervit.types import Preprocess

Tensor = torch.Tensor
MODEL_TYPE = "vit_se"
FIRST_BIAS = 3.0  # of the gates: sigmoid(3) = 0.953


class ViTSEConfig(EncoderSizes, PreTrainedConfig):
    """Configuration of `ViTSEForImageClassification`: that of its encoder, and the fields of `ViTSEOptions`."""

    model_type = MODEL_TYPE

    def __init__(self, encoder: dict[str, Any] | None = None, options: dict[str, Any] | None = None, **kwargs: Any):
        self.encoder = encoder or encoder_values(ViTConfig())
        self.options = asdict(ViTSEOptions(**(options or {})))
        super().__init__(**kwargs)


class Excite(nn.Linear):
    """The block's last layer; a class of its own, so that `_init_weights` recognises it."""


class SqueezeExcitation(nn.Module):
    """Gates a vector's features, each by a function of all of them."""

    def __init__(self, width: int, reduction: int):
        super().__init__()
        if reduction > width:
            raise ModelError(
                f"model.se_reduction {reduction} leaves nothing of a vector of width {width}; set at most that"
            )
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = Excite(width // reduction, width)

    def forward(self, z: Tensor) -> Tensor:
        """Return the gates of `z (B, D)`, `(B, D)` in 0..1."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(z))))


class ViTSEForImageClassification(PreTrainedModel):
    """A ViT or DINOv2 encoder, squeeze-and-excitation, and a linear head."""

    config_class = ViTSEConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def __init__(self, config: ViTSEConfig):
        super().__init__(config)
        options = ViTSEOptions(**config.options)
        self.backbone = new_encoder(config.encoder, config._attn_implementation)
        token = int(self.backbone.config.hidden_size)
        self.reads_mean = self.backbone.config.model_type == "dinov2"
        self.gates_tokens = options.se_on == "tokens"
        features = 2 * token if self.reads_mean else token
        self.se = SqueezeExcitation(token if self.gates_tokens else features, options.se_reduction)
        self.classifier = nn.Linear(features, int(config.num_labels or 0))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Excite):
            initialization.constant_(module.bias, FIRST_BIAS)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any) -> ImageClassifierOutput:
        """Return `logits (B, K)` of `pixel_values (B, 3, S, S)`; `labels (B,)` add the loss.

        Keywords such as `output_attentions` go to the encoder.
        """
        outputs = self.backbone(pixel_values=pixel_values, **kwargs)
        tokens = outputs.last_hidden_state  # (B, 1 + N, D), CLS first
        if self.gates_tokens:
            z = self._read(tokens * self.se(tokens.mean(dim=1))[:, None])
        else:
            z = self._read(tokens)
            z = z * self.se(z)
        logits = self.classifier(z)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _read(self, tokens: Tensor) -> Tensor:
        """Return what the plain classifier's head reads of the tokens: `(B, D)`, or `(B, 2 D)` for a DINOv2."""
        if self.reads_mean:
            return torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
        return tokens[:, 0]


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: ViTSEOptions
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a ViT+SE over `labels` at `image_size` px, with the preprocessing that its weights expect.

    `init` holds starting weights for the encoder, in any form that a plain ViT's may have, or is a ViT+SE's own
    folder, whose weights are kept, those of the head only for the same labels.

    Raises:
        ModelError: the weights are missing, unsafe (a pickle), truncated, of an unknown form, do not fit
            `image_size`, or are a ViT+SE's with another block.
    """
    if model_type_of(init) == MODEL_TYPE:
        parent, spec = read_checkpoint(init)
        check_fit(init, parent.config.options, options)
        patch_grid(image_size, parent.config.patch_size)  # raises where they do not fit
        model = _new(parent.config.encoder | {"image_size": image_size}, labels, options)
        inherit(model, parent, head=spec.labels == tuple(labels))
        return model, read_preprocess(Path(init), parent.config, image_size=image_size)
    encoder, preprocess = build_backbone(init, image_size)
    model = _new(encoder_values(encoder.config), labels, options)
    model.backbone.load_state_dict(encoder.state_dict())
    return model, preprocess


def _new(encoder: dict[str, Any], labels: Sequence[str], options: ViTSEOptions) -> ViTSEForImageClassification:
    config = ViTSEConfig(encoder, asdict(options), **label_fields(labels))
    return ViTSEForImageClassification(attention_in_steps(config))


AutoConfig.register(MODEL_TYPE, ViTSEConfig, exist_ok=True)
AutoModelForImageClassification.register(ViTSEConfig, ViTSEForImageClassification, exist_ok=True)
