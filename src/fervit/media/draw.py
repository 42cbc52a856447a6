"""Annotated images: boxes, labels and the most probable expressions as small bars."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from fervit.errors import ConfigError, ImageError, quoted
from fervit.formatting import percent
from fervit.media.sources import EXPECTED_ARRAY, is_rgb, layout_remedy
from fervit.media.style.colours import colour
from fervit.media.style.fonts import Font, drawable, font_for
from fervit.types import Box, Image, Prediction

PANEL = (16, 20, 28, 218)
TRACK = (84, 92, 106, 235)
TEXT = (255, 255, 255, 255)
DIM = (222, 228, 236, 255)
BARS = 3
SUPERSAMPLING = 2  # Pillow draws lines without antialiasing


@dataclass(frozen=True)
class _Style:
    """Lengths in px of the drawing layer."""

    line: int
    font: int
    small: int
    pad: int

    @classmethod
    def of(cls, image: Image, predictions: Sequence[Prediction]) -> "_Style":
        """Scale to the image, less where faces are small, so that panels do not cover their neighbours."""
        shorter = min(image.shape[:2])
        unit = shorter / 30
        if predictions:
            widths = [prediction.face.box.width for prediction in predictions]
            unit = min(unit, max(float(np.median(widths)) / 6, shorter / 55))
        font = max(11, round(unit)) * SUPERSAMPLING
        return cls(line=max(3, font // 7), font=font, small=max(18, round(font * 0.72)), pad=max(4, font // 3))


def annotate(image: Image, predictions: Sequence[Prediction]) -> Image:
    """Return a copy of `image`, `(H, W, 3)` uint8 RGB, with every face's box, label and probability bars.

    The number of a track, as in the rows, stands before the label.

    Raises:
        ImageError: `image` is no such array.
        ConfigError: `predictions` are none.
    """
    if not is_rgb(image):
        raise ImageError(f"{EXPECTED_ARRAY}, got {quoted(image)}{layout_remedy(image)}")
    if not isinstance(predictions, list | tuple) or not all(isinstance(item, Prediction) for item in predictions):
        raise ConfigError(f"expected a list of predictions, got {quoted(predictions)}")
    if not predictions:
        return image.copy()
    height, width = image.shape[:2]
    style = _Style.of(image, predictions)
    layer = Pillow.new("RGBA", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    pen = ImageDraw.Draw(layer)
    boxes = [_scaled(prediction.face.box) for prediction in predictions]
    for prediction, box in zip(predictions, boxes, strict=True):
        _outline(pen, box, colour(prediction.label, prediction.labels), style)
    panels: list[Box] = []
    for prediction, box in zip(predictions, boxes, strict=True):
        panel = _place(box, _panel_size(prediction, style), layer.size, [*boxes, *panels], style)
        _panel(pen, panel, prediction, style)
        panels.append(panel)
    return _laid_on(image, layer)


def _laid_on(image: Image, layer: Pillow.Image) -> Image:
    """Return a copy of `image` under the layer; only what is drawn on is touched, for the sake of videos."""
    drawn = layer.getbbox()
    copy = image.copy()
    if drawn is None:
        return copy
    s = SUPERSAMPLING
    x1, y1, x2, y2 = drawn[0] // s, drawn[1] // s, -(-drawn[2] // s), -(-drawn[3] // s)
    patch = layer.crop((x1 * s, y1 * s, x2 * s, y2 * s)).resize((x2 - x1, y2 - y1), Pillow.Resampling.BOX)
    under = Pillow.fromarray(image[y1:y2, x1:x2]).convert("RGBA")
    copy[y1:y2, x1:x2] = np.asarray(Pillow.alpha_composite(under, patch).convert("RGB"))
    return copy


def _scaled(box: Box) -> Box:
    s = SUPERSAMPLING
    return Box(box.x1 * s, box.y1 * s, box.x2 * s, box.y2 * s)


def _outline(pen: ImageDraw.ImageDraw, box: Box, rgb: tuple[int, int, int], style: _Style) -> None:
    """Draw a rounded frame with a dark rim inside and outside, which reads on bright and on dark."""
    radius = max(2.0, min(box.width, box.height) * 0.08)
    rim = max(1, style.line // 3)
    for grow, width, fill in ((rim, style.line + 2 * rim, (0, 0, 0, 150)), (0, style.line, (*rgb, 255))):
        corners = (box.x1 - grow, box.y1 - grow, max(box.x1, box.x2) + grow, max(box.y1, box.y2) + grow)
        pen.rounded_rectangle(corners, radius + grow, outline=fill, width=width)


def _panel_size(prediction: Prediction, style: _Style) -> tuple[float, float]:
    """Return `(width, height)` of a face's panel: a heading, and a line for each bar."""
    small, shown = _font(prediction, style.small), drawable(prediction.labels)
    heading = _font(prediction, style.font).getlength(_heading(prediction))
    names = max(small.getlength(name) for name in shown.values())
    figures = small.getlength("100 %")
    bars = names + figures + 2 * style.pad + 2.6 * style.font
    rows = min(BARS, len(prediction.labels))
    return max(heading, bars) + 2 * style.pad, style.font * 1.25 + rows * style.small * 1.28 + 2 * style.pad


def _place(box: Box, size: tuple[float, float], canvas: tuple[int, int], taken: Sequence[Box], style: _Style) -> Box:
    """Return the spot near `box` that covers least of what is drawn already and lies within the image."""
    width, height = size
    gap = style.line + style.pad / 2
    middle = (box.x1 + box.x2 - width) / 2
    spots = [
        (x, y)
        for y in (box.y2 + gap, box.y1 - gap - height)
        for x in (middle, box.x1, box.x2 - width, box.x1 - width / 2, box.x2 - width / 2)
    ]
    spots += [(x, y) for x in (box.x2 + gap, box.x1 - gap - width) for y in (box.y1, box.y2 - height)]
    spots += [(middle, box.y2 - height - gap), (middle, box.y1 + gap)]
    best, least = Box(0, 0, width, height), float("inf")
    for rank, (x, y) in enumerate(spots):
        x1 = min(max(style.pad, x), max(0.0, canvas[0] - width - style.pad))
        y1 = min(max(style.pad, y), max(0.0, canvas[1] - height - style.pad))
        spot = Box(x1, y1, x1 + width, y1 + height)
        covered = sum(_overlap(spot, other) for other in taken) / (width * height)
        cost = covered + 0.004 * rank  # the earlier spot wins a near tie
        if cost < least:
            best, least = spot, cost
    return best


def _overlap(a: Box, b: Box) -> float:
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    return max(0.0, width) * max(0.0, height)


def _panel(pen: ImageDraw.ImageDraw, panel: Box, prediction: Prediction, style: _Style) -> None:
    pen.rounded_rectangle((panel.x1, panel.y1, panel.x2, panel.y2), style.pad, fill=PANEL)
    left, right = panel.x1 + style.pad, panel.x2 - style.pad
    y = panel.y1 + style.pad
    rgb = colour(prediction.label, prediction.labels)
    pen.text(
        (left, y + style.font * 0.5), _heading(prediction), (*rgb, 255), _font(prediction, style.font), anchor="lm"
    )
    y += style.font * 1.25
    small, shown = _font(prediction, style.small), drawable(prediction.labels)
    names = max(small.getlength(name) for name in shown.values())
    start, end = left + names + style.pad, right - small.getlength("100 %") - style.pad
    thick = max(2.0, style.small * 0.34)
    for name, p in prediction.top(BARS):
        middle = y + style.small * 0.64
        pen.text((left, middle), shown[name], DIM, small, anchor="lm")
        pen.text((right, middle), percent(p, 0), TEXT, small, anchor="rm")
        pen.rounded_rectangle((start, middle - thick / 2, end, middle + thick / 2), thick / 2, fill=TRACK)
        filled = start + max(thick, (end - start) * p)
        pen.rounded_rectangle(
            (start, middle - thick / 2, filled, middle + thick / 2),
            thick / 2,
            fill=(*colour(name, prediction.labels), 255),
        )
        y += style.small * 1.28


def _heading(prediction: Prediction) -> str:
    label = drawable(prediction.labels).get(prediction.label, prediction.label)  # `uncertain` is none of them
    track = "" if prediction.track is None else f"#{prediction.track} "  # by which `--people` names it
    return f"{track}{label} {percent(prediction.score, 0)}"


def _font(prediction: Prediction, size: int) -> Font:
    return font_for("".join(drawable(prediction.labels).values()), size)
