"""One colour for each label, the same in annotated images, in charts and on the service's page."""

import colorsys
import itertools
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from fervit.labels import canonical
from fervit.types import UNCERTAIN

Colour = tuple[int, int, int]  # sRGB, 0..255

# One hue an expression, all light enough for a dark panel.
COLOURS: dict[str, Colour] = {
    "angry": (255, 107, 87),
    "disgust": (105, 211, 110),
    "fear": (190, 150, 255),
    "happy": (255, 209, 82),
    "sad": (98, 174, 255),
    "surprise": (255, 150, 214),
    "neutral": (214, 220, 228),
    "contempt": (64, 224, 208),
    UNCERTAIN: (168, 176, 188),
}
UNKNOWN: Colour = (168, 174, 184)
STRENGTHS = ((0.66, 0.9), (0.78, 0.6), (0.6, 0.55))  # lightness and saturation of the colours of other labels
DARK_GROUND: Colour = (16, 20, 28)  # of the panels in annotated images
TEXT_CONTRAST = 4.5  # at least, of a label's name against it (WCAG 2.1, 1.4.3)
LIGHT_GROUND: Colour = (230, 233, 239)  # of a bar on the page's light theme
CONTRAST = 3.0  # at least, of what is drawn against its ground (WCAG 2.1, 1.4.11)
# Linear sRGB to cone responses and to OKLab (B. Ottosson, "A perceptual color space for image processing", 2020).
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB (WCAG 2.1, relative luminance)


def colour(label: str, labels: Sequence[str]) -> Colour:
    """Return the colour of a label of a set; `uncertain`, and what is not in the set, is grey."""
    return palette(tuple(labels)).get(label, UNKNOWN)


@lru_cache(maxsize=64)
def palette(labels: tuple[str, ...]) -> dict[str, Colour]:
    """Return a colour for each label: an expression's own, whatever its spelling, or the most distinct one left."""
    chosen: dict[str, Colour] = {}
    for label in labels:
        own = COLOURS.get(label) or COLOURS.get(canonical(label))
        if own is not None and own not in chosen.values():
            chosen[label] = own
    for label in labels:
        if label not in chosen:
            taken = [*chosen.values(), UNKNOWN]
            chosen[label] = max(_candidates(), key=lambda candidate: min(distance(candidate, other) for other in taken))
    return chosen


@cache
def distance(a: Colour, b: Colour) -> float:
    """Return how different two colours look, in OKLab, on a dark or on a light ground, whichever is less."""
    return min(
        float(np.linalg.norm(_lab(a) - _lab(b))),
        float(np.linalg.norm(_lab(on_light(a)) - _lab(on_light(b)))),
    )


@cache
def on_light(rgb: Colour) -> Colour:
    """Return the colour, as dark as it must be to stand out on a light ground."""
    linear = _linear(rgb)
    most = (float(LUMINANCE @ _linear(LIGHT_GROUND)) + 0.05) / CONTRAST - 0.055
    scaled = linear * min(1.0, most / max(1e-6, float(LUMINANCE @ linear)))
    red, green, blue = (
        int(255 * value) for value in np.where(scaled <= 0.0031308, 12.92 * scaled, 1.055 * scaled ** (1 / 2.4) - 0.055)
    )
    return red, green, blue


def contrast(a: Colour, b: Colour) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.1)."""
    low, high = sorted(float(LUMINANCE @ _linear(rgb)) + 0.05 for rgb in (a, b))
    return high / low


def hexadecimal(rgb: Colour) -> str:
    """Return a colour as CSS writes it.

    >>> hexadecimal((255, 107, 87))
    '#ff6b57'
    """
    return "#{:02x}{:02x}{:02x}".format(*rgb)


@cache
def _candidates() -> tuple[Colour, ...]:
    """Return colours for labels of one's own: every hue at three strengths, where it can be read on a dark panel."""
    colours = [
        (round(255 * r), round(255 * g), round(255 * b))
        for (light, strong), hue in itertools.product(STRENGTHS, range(0, 360, 12))
        for r, g, b in [colorsys.hls_to_rgb(hue / 360, light, strong)]
    ]
    return tuple(rgb for rgb in colours if contrast(rgb, DARK_GROUND) >= TEXT_CONTRAST)


def _linear(rgb: Colour) -> np.ndarray:
    x = np.asarray(rgb) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _lab(rgb: Colour) -> np.ndarray:
    lab: np.ndarray = TO_LAB @ np.cbrt(TO_CONES @ _linear(rgb))
    return lab
