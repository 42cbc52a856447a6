"""Charts of a report: confusion matrix, reliability, F1, risk-coverage, robustness.

Each is a figure (`f1_figure`, ...), or as PNG bytes (`f1_png`, ...), light or dark.

Figures are made without pyplot, so neither matplotlib's settings nor its list of open figures are touched.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

import numpy as np

from fervit.evaluation.intervals import Proportion, wilson_interval
from fervit.evaluation.robustness.results import Condition, Robustness
from fervit.evaluation.selective import OperatingPoint, RiskCoverage
from fervit.formatting import NONE, literal
from fervit.reports.figures.style import (
    DARK,
    LIGHT,
    Theme,
    charts_extra,
    name_ticks,
    new_figure,
    percent_ticks,
    style_axes,
    ticker,
)
from fervit.reports.findings import by_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "confusion_figure",
    "confusion_png",
    "draw_confusion",
    "f1_figure",
    "f1_png",
    "reliability_figure",
    "reliability_png",
    "risk_coverage_figure",
    "risk_coverage_png",
    "severity_figure",
    "severity_png",
]

Options = ParamSpec("Options")
MOST_COUNTED_CLASSES = 16  # beyond that, counts in the cells would not be legible
ENOUGH_FACES = 20  # a bin with fewer is drawn hollow and off the line, as its accuracy says little


def confusion_figure(confusion: np.ndarray, labels: Sequence[str], *, theme: Theme = LIGHT) -> "Figure":
    """Draw counts `(K, K)` (rows = truth) coloured by the fraction of each row.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    side = min(12.0, max(3.6, 1.6 + 0.52 * len(labels)))
    figure = new_figure((side, side * 0.92), theme)
    axes = figure.add_subplot()
    draw_confusion(axes, confusion, labels, theme=theme, size_pt=11 if np.max(confusion) < 10_000 else 9)
    style_axes(axes, theme, x="predicted", y="true expression")
    return figure


def draw_confusion(axes: "Axes", confusion: np.ndarray, labels: Sequence[str], *, theme: Theme, size_pt: float) -> None:
    """Draw counts `(K, K)` (rows = truth) into axes, each in type of a size in points on the colour of its fraction."""
    with charts_extra():
        from matplotlib.colors import LinearSegmentedColormap
    confusion = np.asarray(confusion)
    classes = len(labels)
    rates = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(
        rates,
        cmap=LinearSegmentedColormap.from_list("rates", [theme.low, theme.high]),
        vmin=0,
        vmax=1,
        edgecolors=theme.surface,
        linewidth=1.5,
    )
    axes.invert_yaxis()
    axes.set_aspect("equal")
    if classes <= MOST_COUNTED_CLASSES:
        for (row, column), count in np.ndenumerate(confusion):
            colour = theme.surface if rates[row, column] > 0.6 else theme.text
            bold = "bold" if row == column else "normal"
            where = (column + 0.5, row + 0.5)
            axes.text(*where, f"{count:d}", color=colour, ha="center", va="center", fontsize=size_pt, fontweight=bold)
    ticks = np.arange(classes) + 0.5
    name_ticks(axes.xaxis, ticks, labels, rotation=40, ha="right", rotation_mode="anchor")
    name_ticks(axes.yaxis, ticks, labels)


def reliability_figure(bins: np.ndarray, *, ece: float, theme: Theme = LIGHT) -> "Figure":
    """Draw accuracy against confidence, above how many images there are.

    Vertical lines are 95 % intervals; hollow points are bins with few images.

    Args:
        bins: `(B, 3)`: number of images, mean confidence and accuracy of each equal-width bin.
        ece: expected calibration error, 0..1.
        theme: colours.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    bins = np.asarray(bins, np.float64)
    count, confidence, accuracy = bins[bins[:, 0] > 0].T
    figure = new_figure((4.6, 4.6), theme)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=theme.muted, linewidth=1.2, linestyle=(0, (4, 3)))
    upper.text(0.97, 0.03, f"ECE {100 * ece:.1f} %", color=theme.text, fontsize=12, ha="right")
    for x, y, n in zip(confidence, accuracy, count, strict=True):
        low, high = wilson_interval(round(y * n), round(n))
        upper.plot([x, x], [low, high], color=theme.accent, linewidth=2, alpha=0.45, solid_capstyle="round")
    many = count >= ENOUGH_FACES
    upper.plot(confidence[many], accuracy[many], color=theme.accent, linewidth=1.6, marker="o", markersize=6)
    upper.plot(
        confidence[~many],
        accuracy[~many],
        linestyle="none",
        marker="o",
        markersize=6,
        markeredgecolor=theme.accent,
        markerfacecolor=theme.surface,
    )
    upper.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    percent_ticks(upper.yaxis)
    style_axes(upper, theme, y="accuracy", grid=True)
    width = 1 / len(bins)
    left = np.arange(len(bins)) * width
    lower.bar(left, bins[:, 0], width=width * 0.86, align="edge", color=theme.accent, alpha=0.55)
    percent_ticks(lower.xaxis)
    lower.set_yticks([])
    style_axes(lower, theme, x="confidence", y="faces")
    figure.align_ylabels()
    return figure


def f1_figure(
    f1: Mapping[str, float | None],
    *,
    other: Mapping[str, float] | None = None,
    other_name: str = "paper",
    theme: Theme = LIGHT,
) -> "Figure":
    """Draw a bar for every class's F1, best first, with a mark at another model's.

    Args:
        f1: label to F1, 0..1, or to None where it is not defined: a dash in place of a bar, below the others.
        other: label to published F1, for some or all labels.
        other_name: what the legend calls `other`.
        theme: colours.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    lengths = {name: value or 0.0 for name, value in f1.items()}
    names = sorted(f1, key=lambda name: (f1[name] is None, -lengths[name]))
    marks = {row: other[name] for row, name in enumerate(names) if other and name in other}
    figure = new_figure((4.6, 1.1 + 0.42 * len(names)), theme)
    axes = figure.add_subplot()
    bars = axes.barh(range(len(names)), [lengths[name] for name in names], height=0.62, color=theme.accent)
    if marks:
        (published,) = axes.plot(
            list(marks.values()),
            list(marks),
            linestyle="none",
            color=theme.other,
            clip_on=False,
            marker="D",
            markersize=8,
            markeredgecolor=theme.surface,
            markeredgewidth=1.5,
        )
        legend = axes.legend(
            [bars, published], ["this model", other_name], loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2,
            frameon=False, labelcolor=theme.text, fontsize=11, handletextpad=0.5,
        )  # fmt: skip
        legend.set_in_layout(True)
    for row, name in enumerate(names):
        inside = lengths[name] > 0.15  # at the bar's foot, where no mark can be mistaken for what it names
        x, colour = (0.02, theme.surface) if inside else (lengths[name] + 0.02, theme.text)
        value = NONE if f1[name] is None else f"{lengths[name]:.2f}"
        axes.text(x, row, value, color=colour, fontsize=11, fontweight="bold", va="center")
    name_ticks(axes.yaxis, np.arange(len(names)), names)
    axes.set_xlim(0, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    axes.invert_yaxis()
    style_axes(axes, theme, x="F1")
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure


def severity_figure(found: Robustness, *, theme: Theme = LIGHT) -> "Figure":
    """Draw accuracy against severity, one small chart for each corruption, with 95 % intervals.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    kinds = by_kind((*found.conditions, *found.jitters))
    columns = min(4, max(1, len(kinds)))
    rows = max(1, -(-len(kinds) // columns))
    figure = new_figure((0.8 + 2.1 * columns, 0.5 + 1.75 * rows), theme)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(kinds) :]:
        axes.set_visible(False)
    for axes, (kind, conditions) in zip(grid.flat, kinds.items(), strict=False):
        _severity_curve(axes, found.clean, conditions, theme)
        axes.set_title(literal(kind), color=theme.text, fontsize=11, loc="left")
    figure.supxlabel("severity (0 is clean)", color=theme.muted, fontsize=11)
    figure.supylabel("accuracy", color=theme.muted, fontsize=11)
    return figure


def _severity_curve(axes: "Axes", clean: Proportion, conditions: Sequence[Condition], theme: Theme) -> None:
    x = [0, *(condition.severity for condition in conditions)]
    y = [clean.value, *(condition.accuracy for condition in conditions)]
    ends = np.array([clean.ci95, *(condition.accuracy_ci95 for condition in conditions)])
    axes.axhline(clean.value, color=theme.muted, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(x, ends[:, 0], ends[:, 1], color=theme.accent, alpha=0.2, linewidth=0)
    axes.plot(x, y, color=theme.accent, linewidth=1.8, marker="o", markersize=4)
    axes.set(ylim=(0, 1), xlim=(-0.2, 5.2))
    style_axes(axes, theme, grid=True)
    axes.set_xticks(range(6), [*"012345"])
    axes.xaxis.set_tick_params(labelsize=9, labelbottom=True)
    percent_ticks(axes.yaxis)


def risk_coverage_figure(
    curve: RiskCoverage, *, points: Sequence[OperatingPoint] = (), theme: Theme = LIGHT
) -> "Figure":
    """Draw the accuracy of the accepted predictions against the fraction of faces that they are.

    Args:
        curve: what is accepted at every threshold; it is drawn as thinned as report.json has it.
        points: thresholds to mark.
        theme: colours.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    curve = curve.thinned()
    coverage, accuracy = curve.coverage, 1 - curve.risk
    figure = new_figure((4.6, 3.6), theme)
    axes = figure.add_subplot()
    axes.axhline(accuracy[-1], color=theme.muted, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.plot(coverage, accuracy, color=theme.accent, linewidth=2)
    _mark(axes, points, theme)
    shown = accuracy[coverage >= min(0.1, coverage[-1])]
    lowest = max(0.0, float(np.floor(10 * shown.min() - 0.5) / 10))
    axes.set(xlim=(0, 1.01), ylim=(lowest, 1.02))
    axes.set_yticks([tick for tick in axes.get_yticks() if lowest <= tick <= 1])  # no accuracy is above 100 %
    style_axes(axes, theme, x="faces accepted, most confident first", y="accuracy", grid=True)
    axes.tick_params(axis="x", pad=8)  # at the origin the two axes' first figures meet
    percent = ticker().PercentFormatter
    axes.xaxis.set_major_formatter(percent(1, decimals=0, symbol=" %"))
    axes.yaxis.set_major_formatter(percent(1, decimals=0, symbol=" %"))
    return figure


def _mark(axes: "Axes", points: Sequence[OperatingPoint], theme: Theme) -> None:
    """Mark thresholds on a risk-coverage curve; one that serves several wanted precisions is written once."""
    for point in {point.threshold: point for point in points}.values():
        x, y = point.coverage, point.precision or 0.0
        axes.plot([x], [y], color=theme.other, marker="D", markersize=7, markeredgecolor=theme.surface, clip_on=False)
        beside_edge = x > 0.75  # there is no room for words to the right of such a point
        axes.annotate(
            f"from {point.threshold:.2f}",
            (x, y),
            color=theme.text,
            textcoords="offset points",
            fontsize=10,
            xytext=(-8, -5) if beside_edge else (6, 6),
            ha="right" if beside_edge else "left",
            va="top" if beside_edge else "baseline",
        )


def _as_png(draw: Callable[Options, "Figure"]) -> Callable[Options, bytes]:
    """Return a function that draws a figure and returns it as PNG bytes."""

    @wraps(draw)
    def png(*args: Options.args, **kwargs: Options.kwargs) -> bytes:
        buffer = io.BytesIO()
        draw(*args, **kwargs).savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    return png


confusion_png = _as_png(confusion_figure)
reliability_png = _as_png(reliability_figure)
f1_png = _as_png(f1_figure)
severity_png = _as_png(severity_figure)
risk_coverage_png = _as_png(risk_coverage_figure)
