"""Charts of a search over settings: how the objective went over the trials, and which settings decided it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fervit.formatting import literal
from fervit.reports.figures.files import figure_bytes
from fervit.reports.figures.style import LIGHT, Theme, new_figure, style_axes, ticker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 5.6  # inches
BAR_HEIGHT = 0.34  # inches of each setting


class Trial(Protocol):
    """What the history shows of a trial."""

    @property
    def number(self) -> int:
        """Its number, from 0."""

    @property
    def state(self) -> str:
        """One of `complete`, `pruned` and `failed`."""

    @property
    def value(self) -> float | None:
        """The objective, or None."""


def history_png(trials: Sequence[Trial], *, what: str, maximize: bool = True, theme: Theme = LIGHT) -> bytes:
    """Draw the objective of every trial, and the best so far as a line.

    Complete trials are dots, pruned ones hollow at the figure of their last epoch, and failed ones crosses below.

    Args:
        trials: in order; at least one is complete.
        what: the objective's name.
        maximize: whether a larger objective is better.
        theme: colours.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = new_figure((WIDTH, 3.4), theme)
    axes = figure.add_subplot()
    complete = _points(trials, "complete")
    best = (np.maximum if maximize else np.minimum).accumulate(complete[1])
    last = max(trial.number for trial in trials)
    axes.step([*complete[0], last], [*best, best[-1]], where="post", color=theme.accent, linewidth=1.8, label="best")
    axes.plot(*complete, "o", color=theme.accent, markersize=6, label="complete")
    pruned = _points(trials, "pruned")
    if len(pruned[0]):
        axes.plot(*pruned, "o", color=theme.muted, markerfacecolor=theme.surface, markersize=6, label="pruned")
    style_axes(axes, theme, x="trial", y=what, grid=True)
    _mark_failures(axes, [trial.number for trial in trials if trial.state == "failed"], theme)
    axes.set_xlim(-0.5, last + 0.5)
    axes.xaxis.set_major_locator(ticker().MaxNLocator(integer=True))
    legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=4, frameon=False, fontsize=10)
    for text in legend.get_texts():
        text.set_color(theme.text)
    return figure_bytes(figure, ".png")


def _points(trials: Sequence[Trial], state: str) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers and objectives of the trials in a state that have one."""
    found = [(trial.number, trial.value) for trial in trials if trial.state == state and trial.value is not None]
    return np.array([number for number, _ in found]), np.array([value for _, value in found])


def _mark_failures(axes: "Axes", numbers: Sequence[int], theme: Theme) -> None:
    if not numbers:
        return
    low, high = axes.get_ylim()
    floor = low - 0.04 * (high - low)
    axes.plot(numbers, [floor] * len(numbers), "x", color=theme.other, markersize=7, label="failed")


def importance_png(importance: Mapping[str, float], *, theme: Theme = LIGHT) -> bytes:
    """Draw which part of the objective's variance each setting explains, the largest at the top.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    names, values = list(importance), np.array(list(importance.values()))
    figure = new_figure((WIDTH, 0.9 + BAR_HEIGHT * len(names)), theme)
    axes = figure.add_subplot()
    places = np.arange(len(names))
    axes.barh(places, values, height=0.62, color=theme.accent)
    for place, value in enumerate(values):
        axes.text(value + 0.012, place, f"{100 * value:.0f} %", color=theme.text, va="center", fontsize=10)
    axes.set_yticks(places, labels=[literal(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, min(1.12, float(values.max()) * 1.15 + 0.05))
    style_axes(axes, theme, x="part of the objective's variance")
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(ticker().PercentFormatter(1, decimals=0, symbol=" %"))
    return figure_bytes(figure, ".png")
