"""Settings of the random changes to training images; what each does is in `training/augment.py` and below it."""

from dataclasses import dataclass

from fervit.config.checks import check_fractions, check_not_negative, check_ranges
from fervit.errors import ConfigError

DEGRADATIONS = (
    *("turn_prob", "occlude_prob", "shadow_prob", "dark_prob", "gamma_prob", "colour_prob", "grey_prob"),
    *("motion_prob", "low_res_prob", "iso_prob", "noise_prob", "jpeg_prob"),
)
"""The settings that say which fraction of the images goes bad in one way, in the order in which it happens."""
RANGES = {
    "shadow_min": (0.0, 0.9),
    "dark_min": (0.01, 1.0),
    "gamma_max": (1.0, 10.0),
    "low_res_min": (2, 1024),
    "jpeg_min": (1, 95),
}
"""The smallest and the largest value of settings that are not simply fractions."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training images; every default is 'off'.

    The settings down to `cutmix_alpha` are the usual augmentation. Those after it imitate how photos of faces go bad
    (`training/degradation/`): each has a probability per image, and a range from which every image draws its own.

    Attributes:
        flip_prob: probability of a left-right mirror.
        rotate_deg: rotation drawn uniformly from ± this many degrees.
        scale_min: smallest fraction of the image's side that the crop shows (1 = the whole image).
        scale_max: largest such fraction; above 1 shows a border (reflected).
        shift: translation drawn from ± this fraction of the side, on each axis.
        brightness: additive change drawn from ± this fraction of the full range.
        contrast: factor drawn from 1 ± this value, about the image's mean.
        blur_prob: probability of a Gaussian blur.
        blur_sigma: its standard deviation is drawn from 0.1 to this, in px of the source image.
        erase_prob: probability of erasing one random rectangle (Zhong et al. 2017, arXiv 1708.04896).
        erase_max: its largest fraction of the area.
        mix_prob: probability that a batch is mixed.
        mixup_alpha: Beta parameter of mixup (arXiv 1710.09412); 0 = off.
        cutmix_alpha: Beta parameter of CutMix (arXiv 1905.04899); 0 = off. With both, half of the mixed batches each.
        turn_prob: probability of a larger rotation in the plane, in place of the one by `rotate_deg`.
        turn_deg: it is drawn uniformly from ± this many degrees.
        occlude_prob: probability of a mask over the lower face, glasses, or a hand before the face.
        shadow_prob: probability of a shadow with a soft edge over a part of the face.
        shadow_min: fraction of the light that stays in the shadow, drawn from this to 0.9.
        dark_prob: probability of low light.
        dark_min: fraction of the light that stays, drawn log-uniformly from this to 1.
        gamma_prob: probability of another tone curve.
        gamma_max: its exponent is drawn log-uniformly from 1 / this to this.
        colour_prob: probability of another saturation and white balance; grey images have neither.
        saturation: factor on the distance to grey, drawn from 1 ± this value.
        white_balance: logarithm of the gain of red and of blue, drawn from ± this value.
        grey_prob: probability that a colour image loses its colour.
        motion_prob: probability of motion blur, in a random direction.
        motion_max: its length is drawn from 0 to this fraction of the side.
        low_res_prob: probability that the face is stored with fewer pixels.
        low_res_min: its side is drawn log-uniformly from this many px to that of the source.
        noise_prob: probability of Gaussian noise, of its own in each channel.
        noise_max: its standard deviation is drawn from 0 to this fraction of the full range.
        iso_prob: probability of a sensor's noise, which is stronger in the dark and grainy.
        iso_max: its standard deviation in white is drawn from 0 to this fraction of the full range.
        jpeg_prob: probability of JPEG artefacts.
        jpeg_min: the quality is drawn uniformly from this (1 to 95) to 95.
    """

    flip_prob: float = 0.0
    rotate_deg: float = 0.0
    scale_min: float = 1.0
    scale_max: float = 1.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    blur_prob: float = 0.0
    blur_sigma: float = 1.0
    erase_prob: float = 0.0
    erase_max: float = 0.25
    mix_prob: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    turn_prob: float = 0.0
    turn_deg: float = 45.0
    occlude_prob: float = 0.0
    shadow_prob: float = 0.0
    shadow_min: float = 0.3
    dark_prob: float = 0.0
    dark_min: float = 0.15
    gamma_prob: float = 0.0
    gamma_max: float = 2.0
    colour_prob: float = 0.0
    saturation: float = 0.6
    white_balance: float = 0.2
    grey_prob: float = 0.0
    motion_prob: float = 0.0
    motion_max: float = 0.15
    low_res_prob: float = 0.0
    low_res_min: int = 12
    noise_prob: float = 0.0
    noise_max: float = 0.15
    iso_prob: float = 0.0
    iso_max: float = 0.1
    jpeg_prob: float = 0.0
    jpeg_min: int = 15

    def __post_init__(self) -> None:
        sizes = ("rotate_deg", "shift", "brightness", "contrast", "blur_sigma", "mixup_alpha", "cutmix_alpha")
        check_not_negative(self, (*sizes, "turn_deg", "white_balance"), "augment.")
        fractions = ("erase_max", "saturation", "motion_max", "noise_max", "iso_max")
        usual = ("flip_prob", "blur_prob", "erase_prob", "mix_prob")
        check_fractions(self, (*usual, *DEGRADATIONS, *fractions), "augment.")
        if not 0 < self.scale_min <= self.scale_max:
            raise ConfigError(
                f"augment.scale_min must be above 0 and at most scale_max ({self.scale_max}), got {self.scale_min}"
            )
        check_ranges(self, RANGES, "augment.")
