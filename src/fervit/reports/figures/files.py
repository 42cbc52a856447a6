"""Figures as files: PNG, SVG or PDF by the ending of the name, at the width of a paper's column."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fervit.errors import ConfigError, quoted
from fervit.files import FIGURE_SUFFIXES, cannot_write, replacing
from fervit.reports.figures.style import charts_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_IN, PAGE_IN = 3.25, 6.75
"""Widths, in inches, of a column and of both columns of a paper (ACM, IEEE and CVPR within 0.25 in)."""
SMALLEST_PT = 7.0  # of type in print; publishers ask for 6 to 8 points
PAPER_DPI = 300
DATES = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def check_figure(path: str | Path) -> Path:
    """Return the path of a figure to write.

    Raises:
        ConfigError: its name ends in none of `FIGURE_SUFFIXES`.
    """
    path = Path(path)
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise ConfigError(f"expected a figure to end in {', '.join(FIGURE_SUFFIXES)}, got {quoted(str(path))}")
    return path


def write_figure(figure: "Figure", path: str | Path, *, width_in: float | None = None) -> None:
    """Write a figure as PNG, SVG or PDF; equal figures are equal files.

    Args:
        figure: what to write.
        path: the file; its ending decides.
        width_in: the width in inches that the figure is scaled to, with its lines and letters, see `scale_to`; by
            default it stays as it is.

    Raises:
        ConfigError: the file has another ending, or cannot be written.
    """
    path = check_figure(path)
    if width_in is not None:
        scale_to(figure, width_in)
    data = figure_bytes(figure, path.suffix, dpi=None if width_in is None else PAPER_DPI)
    try:
        with replacing(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        raise cannot_write(path, error) from error


def figure_bytes(figure: "Figure", suffix: str, *, dpi: float | None = None) -> bytes:
    """Return a figure as the content of a file.

    Args:
        figure: what to draw.
        suffix: one of `FIGURE_SUFFIXES`.
        dpi: pixels per inch of a PNG; by default the figure's own.
    """
    with charts_extra():
        from matplotlib import rc_context
    suffix, buffer = suffix.lower(), io.BytesIO()
    # Letters as TrueType, since many publishers' checks refuse matplotlib's own Type 3; without a salt, the names of
    # parts are drawn at random, and equal figures differ.
    with rc_context({"pdf.fonttype": 42, "svg.hashsalt": "fervit"}):
        figure.savefig(buffer, format=suffix[1:], dpi=dpi or "figure", metadata=DATES[suffix])
    return buffer.getvalue()


def scale_to(figure: "Figure", width_in: float) -> None:
    """Scale a figure to a width, with its lines and letters; no letter becomes smaller than `SMALLEST_PT` points.

    Args:
        figure: it is changed in place.
        width_in: inches.

    Raises:
        ConfigError: the width is not positive.
    """
    if not 0 < width_in < float("inf"):
        raise ConfigError(f"expected the width of a figure in inches, above 0, got {quoted(width_in)}")
    with charts_extra():
        from matplotlib.collections import Collection
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch
        from matplotlib.text import Text
    factor = width_in / figure.get_figwidth()
    figure.set_size_inches(width_in, factor * figure.get_figheight())
    for artist in figure.findobj():
        if isinstance(artist, Text):
            size = float(artist.get_fontsize())
            artist.set_fontsize(max(min(SMALLEST_PT, size), factor * size))
        elif isinstance(artist, Line2D):
            artist.set_linewidth(factor * artist.get_linewidth())
            artist.set_markersize(factor * artist.get_markersize())
            artist.set_markeredgewidth(factor * artist.get_markeredgewidth())
        elif isinstance(artist, Patch):
            artist.set_linewidth(factor * artist.get_linewidth())
        elif isinstance(artist, Collection):
            artist.set_linewidth([factor * float(width) for width in np.ravel(artist.get_linewidth())])
