"""Drawings of a data set: contact sheets, and how its labels are distributed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fervit.data.dataset import Dataset
from fervit.formatting import percent
from fervit.media.style.fonts import Font, drawable, font_for

GAP_PX = 2
CAPTION_PX = 12
PAPER, INK = (255, 255, 255), (30, 30, 30)


def contact_sheet(
    images: np.ndarray, *, columns: int = 10, scale: float = 1.0, captions: Sequence[str] | None = None
) -> Image.Image:
    """Draw images in a grid, row by row.

    Args:
        images: `(N, H, W, C)` uint8, C = 1 (grey) or 3 (RGB).
        columns: images per row.
        scale: factor on the images' size.
        captions: one short line per image, drawn under it.

    Returns:
        An RGB image; with no images, a blank one a single pixel high.
    """
    count, height, width = images.shape[:3]
    columns = max(1, min(columns, count))
    cell_width = max(1, round(width * scale)) + GAP_PX
    cell_height = max(1, round(height * scale)) + GAP_PX + (CAPTION_PX if captions is not None else 0)
    rows = -(-count // columns)
    size = (max(1, columns * cell_width - GAP_PX), max(1, rows * cell_height - GAP_PX))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = font_for("".join(captions or ()), CAPTION_PX - 2)
    for position, image in enumerate(images):
        x, y = position % columns * cell_width, position // columns * cell_height
        tile = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("RGB")
        if scale != 1:
            tile = tile.resize((cell_width - GAP_PX, max(1, round(height * scale))), Image.Resampling.BICUBIC)
        sheet.paste(tile, (x, y))
        if captions is not None:
            text = _shorten(captions[position], font, cell_width - GAP_PX)
            draw.text((x, y + tile.height), text, fill=INK, font=font)
    return sheet


def dataset_sheet(dataset: Dataset, *, columns: int = 16, scale: float | None = None, seed: int = 0) -> Image.Image:
    """Draw one row of images per label, chosen at random, with the label's name, count and percentage on the left.

    `scale` is by default what makes an image about 64 px wide.
    """
    scale = 64 / dataset.images.shape[2] if scale is None else scale
    rng = np.random.default_rng(seed)
    shown = drawable(tuple(dataset.labels))
    strips = []
    for target, label in enumerate(dataset.labels):
        rows = np.flatnonzero(dataset.targets == target)
        chosen = np.sort(rng.choice(rows, size=min(columns, len(rows)), replace=False))
        count = f"{len(rows):,} ({percent(len(rows) / max(1, len(dataset)), 1)})"
        strips.append((shown[label], count, dataset.images[chosen]))
    return strip_sheet(strips, columns=columns, scale=scale)


def strip_sheet(strips: Sequence[tuple[str, str, np.ndarray]], *, columns: int, scale: float = 1.0) -> Image.Image:
    """Draw rows of images with two lines of text each on the left.

    Args:
        strips: for each row a title, a line under it, and `(N, H, W, C)` uint8 images, N at most `columns`.
        columns: images that fit in a row.
        scale: factor on the images' size.
    """
    lines = [line for title, detail, _ in strips for line in (title, detail)]
    font = font_for("".join(lines), 15)
    margin = round(max((font.getlength(line) for line in lines), default=0)) + 8 * GAP_PX
    height, width = strips[0][2].shape[1:3] if strips else (1, 1)
    cell_width, cell_height = round(width * scale) + GAP_PX, max(40, round(height * scale)) + GAP_PX
    sheet = Image.new("RGB", (margin + columns * cell_width, max(1, len(strips) * cell_height)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (title, detail, images) in enumerate(strips):
        top = row * cell_height
        draw.text((4 * GAP_PX, top + 2), title, fill=INK, font=font)
        draw.text((4 * GAP_PX, top + 20), detail, fill=INK, font=font)
        if len(images):
            sheet.paste(contact_sheet(images, columns=columns, scale=scale), (margin, top))
    return sheet


def plot_distribution(counts: np.ndarray, labels: Sequence[str], splits: Sequence[str], path: Path) -> None:
    """Write a PNG with one group of bars per label, one bar per split: its percentage of the split, counts above.

    Args:
        counts: `(S, K)` images per split and label.
        labels: K names.
        splits: S names.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure  # without pyplot: no global state, no window

    figure = Figure(figsize=(max(6.0, 1.3 * len(labels)), 4.0), dpi=120, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(splits))
    for k, split in enumerate(splits):
        total = max(1, int(counts[k].sum()))
        x = np.arange(len(labels)) + (k - (len(splits) - 1) / 2) * width
        bars = axes.bar(x, 100 * counts[k] / total, width=0.94 * width, label=f"{split} (n = {counts[k].sum():,})")
        axes.bar_label(bars, [f"{n:,}" for n in counts[k]], fontsize=6, rotation=90, padding=2)
    axes.set_xticks(np.arange(len(labels)), list(labels))
    axes.set_ylabel("percentage of the split")
    axes.set_title("Labels per split")
    axes.margins(y=0.18)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def _shorten(text: str, font: Font, width_px: int) -> str:
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"
