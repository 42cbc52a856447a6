"""What a recipe's augmentation does to faces, drawn: a row for each change that is on, and one for all together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from fervit.config.augmentation import DEGRADATIONS, AugmentConfig
from fervit.data.dataset import Dataset
from fervit.data.sheet import strip_sheet
from fervit.errors import ConfigError
from fervit.training.augment import Augmenter
from fervit.types import Preprocess

OFF = AugmentConfig()
SKIN = np.array([(1.0, 0.83, 0.74), (0.98, 0.78, 0.64), (0.92, 0.71, 0.56), (0.8, 0.6, 0.47)])
USUAL = {
    "flip": ("flip_prob",),
    "rotation, scale, shift": ("rotate_deg", "scale_min", "scale_max", "shift"),
    "brightness, contrast": ("brightness", "contrast"),
    "blur": ("blur_prob", "blur_sigma"),
    "erasing": ("erase_prob", "erase_max"),
    "mixup, CutMix": ("mix_prob", "mixup_alpha", "cutmix_alpha"),
}
"""The settings of each usual augmentation, by its title; the first one switches it, if it is a probability."""
TITLES = {
    "turn_prob": "large rotation",
    "occlude_prob": "mask, glasses, hand",
    "shadow_prob": "shadow",
    "dark_prob": "low light",
    "gamma_prob": "tone curve (gamma)",
    "colour_prob": "colours",
    "grey_prob": "no colour",
    "motion_prob": "motion blur",
    "low_res_prob": "low resolution",
    "iso_prob": "sensor noise (ISO)",
    "noise_prob": "Gaussian noise",
    "jpeg_prob": "JPEG",
}


def augmentation_sheet(config: AugmentConfig, images: np.ndarray, *, size_px: int = 112, seed: int = 0) -> Image.Image:
    """Draw the same faces as they are, under each augmentation of a recipe alone, and under all of them.

    In the rows of single augmentations every image is changed; the last row is drawn as often as the recipe says.

    Args:
        config: a recipe's table `[augment]`.
        images: `(N, H, W, C)` uint8 faces, a column each.
        size_px: side of the model's input, and of each image.
        seed: of all that is random.

    Raises:
        ConfigError: no augmentation is on.
    """
    faces = torch.from_numpy(images.copy()).permute(0, 3, 1, 2)  # a mapped file is not writable
    rows = _rows(config, colour=faces.shape[1] == 3)
    if not rows:
        raise ConfigError("nothing to draw: every setting of the recipe's table [augment] is off")
    rows = [("as they are", "", OFF), *rows, ("all together", "as often as set", config)]
    strips = [(title, often, _augmented(alone, faces, size_px, seed)) for title, often, alone in rows]
    return strip_sheet(strips, columns=len(images))


def tinted(dataset: Dataset) -> np.ndarray:
    """Return `(N, H, W, 3)` colour images of a grey data set, in tones of skin, so that changes of colour show."""
    tones = SKIN[np.arange(len(dataset)) % len(SKIN)][:, None, None]
    coloured: np.ndarray = np.rint(dataset.images * tones).astype(np.uint8)
    return coloured


def _rows(config: AugmentConfig, *, colour: bool) -> list[tuple[str, str, AugmentConfig]]:
    """Return title, how often, and a configuration with nothing else, for each augmentation that is on."""
    switches = {name for names in USUAL.values() for name in names} | set(DEGRADATIONS)
    nothing = _changed(config, {name: getattr(OFF, name) for name in switches})
    rows = []
    for title, names in USUAL.items():
        own = {name: getattr(config, name) for name in names}
        prob = own[names[0]] if names[0].endswith("_prob") else None
        if prob == 0 or all(value == getattr(OFF, name) for name, value in own.items()):
            continue
        of = "batches" if names[0] == "mix_prob" else "images"
        often = "all images" if prob is None else f"{100 * prob:.0f} % of the {of}"
        alone = _changed(nothing, own if prob is None else own | {names[0]: 1.0})
        rows.append((title, often, alone))
    for name in DEGRADATIONS:
        if (prob := getattr(config, name)) and (colour or name not in ("colour_prob", "grey_prob")):
            rows.append((TITLES[name], f"{100 * prob:.0f} % of the images", _changed(nothing, {name: 1.0})))
    return rows


def _changed(config: AugmentConfig, settings: Mapping[str, Any]) -> AugmentConfig:
    return dataclasses.replace(config, **settings)


def _augmented(config: AugmentConfig, faces: torch.Tensor, size_px: int, seed: int) -> np.ndarray:
    """Return `(N, S, S, C)` uint8 images as the model would see them, without normalisation."""
    augmenter = Augmenter(config, Preprocess(size_px, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, _ = augmenter(faces, torch.zeros(len(faces), 1))
    drawn: np.ndarray = (x * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return drawn
