"""Settings of masked-autoencoder pre-training, from `key=value` pairs; unknown keys name the nearest one."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fervit.config.augmentation import AugmentConfig
from fervit.config.checks import check_below_one, check_choices, check_not_negative, check_positive
from fervit.config.overrides import Table, apply_overrides, checked_fields, pop_table
from fervit.config.training import CHOICES
from fervit.errors import ConfigError

# A random resized crop and a flip are all that a masked autoencoder wants (section 4.1, table 1e); half the side is a
# quarter of the area, and the paper's crops show at least a fifth.
CROP_AND_FLIP = AugmentConfig(flip_prob=0.5, scale_min=0.5, shift=0.1)


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides a pre-training run besides the data and the starting weights.

    Sections and tables are those of He et al. 2021, arXiv 2111.06377.

    Attributes:
        image_size: side of the model's input in px; a recipe may fine-tune at another one.
        epochs: passes over the faces; 0 writes the starting weights as a backbone folder.
        batch_size: images per optimizer step.
        lr: peak learning rate; the paper's is 1.5e-4 for every 256 images of a batch (table 8).
        weight_decay: AdamW's, on matrices only (table 8).
        warmup: fraction of all steps with a linearly rising learning rate, before a cosine (table 8: 40 of 800 epochs).
        grad_clip: largest gradient norm; 0 = no clipping, as in the paper.
        mask_ratio: fraction of the patches that the encoder does not see (section 3, figure 5).
        norm_pix: predict each patch normalised by its own mean and deviation (table 1d).
        decoder_depth: transformer layers of the decoder, which is thrown away afterwards (table 1a; the paper has 8).
        decoder_width: width of its tokens, a multiple of 4 (table 1b; the paper has 512). It is most of the work beside
            a small encoder, and the paper's fine-tuned accuracy hardly depends on it.
        decoder_heads: its attention heads.
        precision: `auto`, `fp32` or `bf16`; auto takes bf16 where the hardware multiplies it faster.
        seed: of everything random.
        augment: see `AugmentConfig`; mixing images is not for pre-training.
    """

    image_size: int = 96
    epochs: int = 50
    batch_size: int = 256
    lr: float = 1.5e-4
    weight_decay: float = 0.05
    warmup: float = 0.05
    grad_clip: float = 0.0
    mask_ratio: float = 0.75
    norm_pix: bool = True
    decoder_depth: int = 4
    decoder_width: int = 128
    decoder_heads: int = 4
    precision: str = "auto"
    seed: int = 0
    augment: AugmentConfig = field(default_factory=lambda: CROP_AND_FLIP)

    def __post_init__(self) -> None:
        check_choices(self, {"precision": CHOICES["precision"]})
        check_positive(self, ("image_size", "batch_size", "lr", "decoder_depth", "decoder_width", "decoder_heads"))
        check_not_negative(self, ("epochs", "weight_decay", "grad_clip"))
        check_below_one(self, ("warmup",))
        if not 0 < self.mask_ratio < 1:
            raise ConfigError(f"mask_ratio must lie between 0 and 1 without either, got {self.mask_ratio}")
        if self.decoder_width % 4 or self.decoder_width % self.decoder_heads:
            raise ConfigError(
                f"decoder_width must be a multiple of 4 and of decoder_heads ({self.decoder_heads}), "
                f"got {self.decoder_width}"
            )
        if self.augment.mix_prob:
            raise ConfigError(
                "augment.mix_prob mixes images with their targets, and pre-training has no targets: leave it 0"
            )


def load_pretrain_config(overrides: Iterable[str] = ()) -> PretrainConfig:
    """Apply `key=value` overrides to the defaults; nested keys have a dot, as in `augment.flip_prob=0`.

    Raises:
        ConfigError: unknown key or value; the message names the nearest known one.
    """
    values: Table = {}
    apply_overrides(values, overrides)
    augment = replace(CROP_AND_FLIP, **checked_fields(AugmentConfig, pop_table(values, "augment"), "augment."))
    return PretrainConfig(**checked_fields(PretrainConfig, values), augment=augment)
