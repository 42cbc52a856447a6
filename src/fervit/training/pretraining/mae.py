"""A ViT as a masked autoencoder and back, without loss; and an image of what it reconstructs.

transformers' ViT and the encoder of its ViTMAE have the same tensors under the same names, so weights move as they
are. One thing differs in meaning: a ViT's positions are learned, a masked autoencoder's are fixed sines. Here the
encoder keeps the positions of the starting weights, already interpolated to the input size, and pre-training does not
change them (ViTMAE holds them fixed), so that the encoder computes the same features before and after the conversion;
only the new decoder has the sines.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from transformers import ViTConfig, ViTMAEConfig, ViTMAEForPreTraining, ViTModel

from fervit.config.pretraining import PretrainConfig
from fervit.data.sheet import GAP_PX, INK, PAPER, contact_sheet
from fervit.errors import ConfigError, ModelError
from fervit.models.architectures.vit import build_backbone
from fervit.models.inputs import denormalise
from fervit.types import Preprocess

Tensor = torch.Tensor
NORM_PIX_EPS = 1e-6  # the literal in ViTMAEForPreTraining.forward
MASK_GREY = 0.5  # the grey that covers masked patches in the image of reconstructions, in 0..1
SHOWN_PX = 96  # side of a face in that image, at least
# The settings of the encoder that the configurations of a ViT and of a ViTMAE have in common.
ENCODER_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "initializer_range",
    "layer_norm_eps",
    "image_size",
    "patch_size",
    "num_channels",
    "qkv_bias",
)


def count_patches(config: ViTConfig | ViTMAEConfig, image_size: int) -> int:
    """Return how many patches an image of `image_size` px a side has."""
    assert isinstance(config.patch_size, int), config.patch_size
    return (image_size // config.patch_size) ** 2


def build_autoencoder(init: str | Path, config: PretrainConfig) -> tuple[ViTMAEForPreTraining, Preprocess]:
    """Return a `ViTMAEForPreTraining` around the encoder of `init`, with the preprocessing that `init` expects.

    `init` is whatever a recipe with `arch = "vit"` starts from: a Hub id, a model folder or a timm-format safetensors
    file of a plain ViT. The decoder is new and random.

    Raises:
        ModelError: the weights are missing, unsafe or truncated, or they are a DINOv2's.
        ConfigError: at this size `mask_ratio` masks every patch.
    """
    backbone, preprocess = build_backbone(init, config.image_size)
    if not isinstance(backbone, ViTModel):
        raise ModelError(
            f"{init} is a {backbone.config.model_type}, whose layer scales a masked autoencoder of transformers lacks: "
            "start pre-training from a plain ViT"
        )
    return to_autoencoder(backbone, config), preprocess


def to_autoencoder(backbone: ViTModel, config: PretrainConfig) -> ViTMAEForPreTraining:
    """Put a new decoder on a `ViTModel`'s weights; see `build_autoencoder`."""
    patches = count_patches(backbone.config, config.image_size)
    if int(patches * (1 - config.mask_ratio)) < 1:  # as ViTMAE counts
        raise ConfigError(
            f"mask_ratio {config.mask_ratio} leaves none of the {patches} patches to see "
            f"(image_size {config.image_size}): lower it or take larger images"
        )
    values = ViTMAEConfig(
        **{key: getattr(backbone.config, key) for key in ENCODER_KEYS},
        decoder_num_hidden_layers=config.decoder_depth,
        decoder_hidden_size=config.decoder_width,
        decoder_num_attention_heads=config.decoder_heads,
        decoder_intermediate_size=4 * config.decoder_width,
        mask_ratio=config.mask_ratio,
        norm_pix_loss=config.norm_pix,
    )
    values._attn_implementation = "eager"
    model = ViTMAEForPreTraining(values)
    # transformers 5.23 zeroes the decoder's positions and mask token after it has set them, and a decoder without
    # positions predicts the same for every masked patch.
    model.decoder.initialize_weights(patches)
    model.vit.load_state_dict(backbone.state_dict())
    return model


def to_backbone(model: ViTMAEForPreTraining) -> ViTModel:
    """Return the encoder of a masked autoencoder as a `ViTModel` without a pooler."""
    config = ViTConfig(**{key: getattr(model.config, key) for key in ENCODER_KEYS})
    config._attn_implementation = "eager"
    backbone = ViTModel(config, add_pooling_layer=False)
    backbone.load_state_dict(model.vit.state_dict())
    return backbone


@torch.no_grad()
def reconstruct(model: ViTMAEForPreTraining, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Mask images and fill the masked patches in.

    With `norm_pix` the model predicts patches without their brightness and contrast; the original's are put back, so
    the image looks better than the prediction is.

    Args:
        model: a `ViTMAEForPreTraining`.
        x: `(B, 3, S, S)` model input.
        noise: `(B, N)` in 0..1; the patches with the largest values are masked.

    Returns:
        The `(B, 3, S, S)` input with predictions in place of the masked patches, and the `(B, 1, S, S)` mask
        (1 = masked).
    """
    training = model.training
    model.train(False)
    output = model(pixel_values=x, noise=noise)
    model.train(training)
    patches, predicted = model.patchify(x), output.logits.float()  # (B, N, P * P * 3)
    if model.config.norm_pix_loss:
        deviation = (patches.var(dim=-1, keepdim=True) + NORM_PIX_EPS).sqrt()
        predicted = predicted * deviation + patches.mean(dim=-1, keepdim=True)
    masked = output.mask[..., None]  # (B, N, 1)
    mask = model.unpatchify(masked.expand_as(patches).contiguous())[:, :1]
    return model.unpatchify(torch.where(masked > 0, predicted, patches)), mask


def reconstruction_image(
    model: ViTMAEForPreTraining, x: Tensor, preprocess: Preprocess, *, seed: int = 0
) -> Image.Image:
    """Draw three rows: the images as the encoder sees them, their reconstructions, and the originals.

    Args:
        model: a `ViTMAEForPreTraining`.
        x: `(B, 3, S, S)` model input, on the model's device.
        preprocess: how `x` was normalised.
        seed: of the masks.
    """
    count = count_patches(model.config, x.shape[-1])
    noise = torch.rand((len(x), count), generator=torch.Generator().manual_seed(seed)).to(x.device)
    filled, mask = reconstruct(model, x, noise)
    pixels, filled = to_pixels(x, preprocess), to_pixels(filled, preprocess)
    covered = torch.where(mask > 0, torch.full_like(pixels, MASK_GREY), pixels)
    title = f"{100 * mask.mean().item():.0f} % masked"
    rows = [(title, covered), ("reconstruction", filled), ("original", pixels)]
    font = ImageFont.load_default(15)
    margin = round(max(font.getlength(text) for text, _ in rows)) + 8 * GAP_PX
    scale = max(1.0, SHOWN_PX / x.shape[-1])
    strips = [(text, contact_sheet(_to_bytes(images), columns=len(x), scale=scale)) for text, images in rows]
    height = strips[0][1].height + GAP_PX
    sheet = Image.new("RGB", (margin + strips[0][1].width, len(strips) * height - GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, (text, strip) in enumerate(strips):
        draw.text((4 * GAP_PX, k * height + strip.height // 2), text, fill=INK, font=font, anchor="lm")
        sheet.paste(strip, (margin, k * height))
    return sheet


def to_pixels(x: Tensor, preprocess: Preprocess) -> Tensor:
    """Undo the normalisation: `(B, 3, S, S)` model input to 0..1, clipped."""
    return denormalise(x, preprocess).clamp(0, 1)


def _to_bytes(pixels: Tensor) -> np.ndarray:
    result: np.ndarray = (pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()  # -> (B, S, S, 3)
    return result
