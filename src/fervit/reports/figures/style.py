"""What all charts have in common: colours, type size, ticks; light or dark.

Figures are made without pyplot, so neither matplotlib's settings nor its list of open figures are touched.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fervit.errors import MissingExtra
from fervit.formatting import literal
from fervit.media.style.fonts import drawable, file_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

DPI = 160  # a 4.6 inch chart is 736 px wide: sharp on paper and twice what a phone shows


@dataclass(frozen=True)
class Theme:
    """Colours of a chart, as hex strings; `low` to `high` is the scale of rates."""

    surface: str
    text: str
    muted: str
    grid: str
    accent: str
    other: str
    low: str
    high: str


LIGHT = Theme(
    surface="#ffffff",
    text="#1a2230",
    muted="#5d6878",
    grid="#dfe3ea",
    accent="#2f6fb5",
    other="#d9772b",
    low="#f1f4f9",
    high="#12406f",
)
DARK = Theme(
    surface="#171c24",
    text="#e8ecf2",
    muted="#9aa6b6",
    grid="#313a47",
    accent="#5b9be0",
    other="#f0a04b",
    low="#202733",
    high="#8cc0f7",
)


@contextmanager
def charts_extra() -> Iterator[None]:
    """Turn a missing matplotlib into `MissingExtra`."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra("drawing charts", "train") from error


def ticker() -> ModuleType:
    """Return `matplotlib.ticker`."""
    with charts_extra():
        from matplotlib import ticker as found
    return found


def new_figure(size: tuple[float, float], theme: Theme) -> "Figure":
    """Return an empty figure of a size in inches, laid out so that nothing is cut off."""
    with charts_extra():
        from matplotlib.figure import Figure
    return Figure(figsize=size, facecolor=theme.surface, layout="constrained", dpi=DPI)


def style_axes(axes: "Axes", theme: Theme, *, x: str = "", y: str = "", grid: bool = False) -> None:
    """Style axes: names of both, no frame, and a grid behind the data where it is wanted."""
    axes.set_facecolor(theme.surface)
    axes.set_xlabel(x, color=theme.muted, fontsize=11)
    axes.set_ylabel(y, color=theme.muted, fontsize=11)
    axes.tick_params(colors=theme.text, labelsize=11, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if grid:
        axes.grid(color=theme.grid, linewidth=0.8)
        axes.set_axisbelow(True)


def name_ticks(axis: "Axis", places: np.ndarray, labels: Sequence[str], **options: Any) -> None:
    """Write labels at an axis as images show them: in a font that has their letters, or as their place in the set."""
    with charts_extra():
        from matplotlib.font_manager import FontProperties
    shown = drawable(tuple(labels))
    font = FontProperties(fname=file_for("".join(shown.values())))
    axis.set_ticks(places, labels=[literal(shown[label]) for label in labels], fontproperties=font, **options)


def percent_ticks(axis: "Axis") -> None:
    """Write fractions as per cents, in steps of 25."""
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0 %", "25 %", "50 %", "75 %", "100 %"])
