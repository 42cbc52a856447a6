"""Charts of several reports: accuracy over data sets, F1 of every expression, reliability, confusion matrices."""

from collections.abc import Callable, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from fervit.errors import ConfigError
from fervit.evaluation.report import Report
from fervit.formatting import literal
from fervit.labels import canonical
from fervit.reports.figures.files import COLUMN_IN, PAGE_IN
from fervit.reports.figures.style import LIGHT, Theme, name_ticks, new_figure, percent_ticks, style_axes
from fervit.reports.plots import ENOUGH_FACES, confusion_figure, draw_confusion, f1_figure, reliability_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#2f6fb5", "#d9772b", "#2a8f6d", "#8a56ad", "#b3364b", "#6b7280", "#a58a1f", "#3aa0b8")
"""Of lines and bars; they differ in print without colour, too, since each has its own marker."""
MARKERS = "osD^vPX*"
MOST_PANELS = 8
PANEL_ROWS = 2.9  # inches: the height of a confusion matrix
TYPE_PT = 7.5
LINE_IN = 0.14  # inches: the height of a line of a legend
LONGEST_NAME = 42  # letters of a legend that fit beside its mark into a column; longer ones get a second line


def accuracy_figure(reports: Sequence[Report], *, theme: Theme = LIGHT) -> "Figure":
    """Draw a bar for the accuracy of each model on each data set, with its 95 % interval and its value.

    Raises:
        ConfigError: there are too many models to tell apart.
        MissingExtra: matplotlib is not installed.
    """
    models, places = _names(reports)
    height = 0.8 / len(models)
    figure = new_figure((COLUMN_IN, 0.55 + len(places) * (0.16 + 0.17 * len(models))), theme)
    axes, named = figure.add_subplot(), set[int]()
    for report in reports:
        k, row = models.index(report.model), places.index(report.where)
        y, value, (low, high) = row + (k - (len(models) - 1) / 2) * height, report.accuracy.value, report.accuracy.ci95
        label = literal(report.model) if k not in named else None
        named.add(k)
        axes.barh(y, value, height=0.9 * height, color=COLOURS[k], alpha=0.8, label=label)
        axes.plot([low, high], [y, y], color=theme.text, linewidth=1)
        axes.text(min(high, 1) + 0.015, y, f"{100 * value:.1f}", color=theme.text, fontsize=TYPE_PT, va="center")
    name_ticks(axes.yaxis, np.arange(len(places)), [_two_lines(place) for place in places])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    percent_ticks(axes.xaxis)
    _finish(axes, theme, x="accuracy, with 95 % intervals")
    axes.grid(axis="x", color=theme.grid, linewidth=0.6)
    if len(models) > 1:
        _legend(figure, axes, theme)
    return figure


def f1_of_models_figure(reports: Sequence[Report], *, theme: Theme = LIGHT) -> "Figure":
    """Draw the F1 of every expression, a mark with its 95 % interval for each report.

    Raises:
        ConfigError: there are too many reports to tell apart.
        MissingExtra: matplotlib is not installed.
    """
    names = _few(reports)
    labels = list(dict.fromkeys(canonical(label) for report in reports for label in report.labels))
    figure = new_figure((COLUMN_IN, 0.5 + len(labels) * (0.14 + 0.09 * len(reports))), theme)
    axes = figure.add_subplot()
    for k, report in enumerate(reports):
        offset = (k - (len(reports) - 1) / 2) * 0.7 / len(reports)
        shown = [(labels.index(canonical(row.label)) + offset, row) for row in report.per_class if row.f1 is not None]
        for y, row in shown:
            if row.f1_ci95 is not None:
                axes.plot(row.f1_ci95, [y, y], color=COLOURS[k], linewidth=1, alpha=0.7)
        x, places = [row.f1 or 0.0 for _, row in shown], [y for y, _ in shown]
        axes.plot(
            x, places, linestyle="none", marker=MARKERS[k], markersize=4, color=COLOURS[k], label=literal(names[k])
        )
    for place in range(1, len(labels)):
        axes.axhline(place - 0.5, color=theme.grid, linewidth=0.6)
    name_ticks(axes.yaxis, np.arange(len(labels)), labels)
    axes.set(xlim=(0, 1.02), ylim=(len(labels) - 0.5, -0.5))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    _finish(axes, theme, x="F1, with 95 % intervals")
    axes.grid(axis="x", color=theme.grid, linewidth=0.6)
    _legend(figure, axes, theme)
    return figure


def reliability_of_models_figure(reports: Sequence[Report], *, theme: Theme = LIGHT) -> "Figure":
    """Draw accuracy against confidence, a line for each report; bins of fewer than 20 faces are left out.

    Raises:
        ConfigError: there are too many reports to tell apart.
        MissingExtra: matplotlib is not installed.
    """
    figure = new_figure((COLUMN_IN, 2.9), theme)
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=0.8, linestyle=(0, (4, 3)))
    for k, (report, name) in enumerate(zip(reports, _few(reports), strict=True)):
        bins = report.calibration.bins[report.calibration.bins[:, 0] >= ENOUGH_FACES]
        axes.plot(
            *(bins[:, 1], bins[:, 2]), color=COLOURS[k], linewidth=1.2, marker=MARKERS[k], markersize=3.5,
            label=literal(f"{name}, ECE\N{NO-BREAK SPACE}{100 * report.calibration.ece:.1f}\N{NO-BREAK SPACE}%"),
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))
    percent_ticks(axes.xaxis)
    percent_ticks(axes.yaxis)
    _finish(axes, theme, x="confidence", y="accuracy")
    axes.grid(color=theme.grid, linewidth=0.6)
    _legend(figure, axes, theme)
    return figure


def confusions_figure(reports: Sequence[Report], *, theme: Theme = LIGHT) -> "Figure":
    """Draw a confusion matrix for each report, two beside each other.

    Raises:
        ConfigError: there are too many reports.
        MissingExtra: matplotlib is not installed.
    """
    names = _few(reports)
    rows = -(-len(reports) // 2)
    figure = new_figure((PAGE_IN, 0.2 + PANEL_ROWS * rows), theme)
    grid = figure.subplots(rows, 2, squeeze=False)
    for axes in grid.flat[len(reports) :]:
        axes.set_visible(False)
    for axes, report, name in zip(grid.flat, reports, names, strict=False):
        draw_confusion(axes, report.confusion, report.labels, theme=theme, size_pt=TYPE_PT)
        _finish(axes, theme, x="predicted", y="true expression")
        axes.set_title(literal(fill(name, LONGEST_NAME)), color=theme.text, fontsize=TYPE_PT + 1, loc="left")
    return figure


def _one(report: Report, kind: str) -> "Figure":
    """Draw a chart of a single report as its page has it."""
    if kind == "f1":
        return f1_figure({row.label: row.f1 for row in report.per_class})
    if kind == "reliability":
        return reliability_figure(report.calibration.bins, ece=report.calibration.ece)
    return confusion_figure(report.confusion, report.labels)


FIGURES: dict[str, Callable[[Sequence[Report]], "Figure"]] = {
    "accuracy": accuracy_figure,
    "f1": f1_of_models_figure,
    "reliability": reliability_of_models_figure,
    "confusion": confusions_figure,
}
"""Charts by name."""


def draw_reports(kind: str, reports: Sequence[Report]) -> "Figure":
    """Draw a chart of one or several reports.

    Args:
        kind: a key of `FIGURES`.
        reports: what to show.

    Raises:
        ConfigError: there are too many reports to tell apart.
        MissingExtra: matplotlib is not installed.
    """
    return _one(reports[0], kind) if len(reports) == 1 and kind != "accuracy" else FIGURES[kind](reports)


def _names(reports: Sequence[Report]) -> tuple[list[str], list[str]]:
    """Return the models and the places of their measurements, each once."""
    models = list(dict.fromkeys(report.model for report in reports))
    if len(models) > len(COLOURS):
        raise ConfigError(f"a figure shows up to {len(COLOURS)} models, got {len(models)}")
    return models, list(dict.fromkeys(report.where for report in reports))


def _few(reports: Sequence[Report]) -> list[str]:
    """Return what to call each report in a legend: what differs of model and data set."""
    if len(reports) > MOST_PANELS:
        raise ConfigError(
            f"this figure shows up to {MOST_PANELS} models and data sets, got {len(reports)}; "
            "--figure accuracy=FILE shows more"
        )
    models, places = _names(reports)
    if len(places) == 1:
        return [report.model for report in reports]
    if len(models) == 1:
        return [report.where for report in reports]
    return [f"{report.model}, {report.where}" for report in reports]


def _two_lines(place: str) -> str:
    """Return a data set above its split, so that the names take less of a column's width."""
    data, _, split = place.rpartition(", ")
    return f"{data}\n{split}"


def _finish(axes: "Axes", theme: Theme, *, x: str, y: str = "") -> None:
    style_axes(axes, theme, x=x, y=y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(TYPE_PT)
        axis.set_tick_params(labelsize=TYPE_PT)
        for label in axis.get_ticklabels():
            label.set_fontsize(TYPE_PT)
    axes.set_axisbelow(True)


def _legend(figure: "Figure", axes: "Axes", theme: Theme) -> None:
    handles, texts = axes.get_legend_handles_labels()
    names = [fill(text, LONGEST_NAME) for text in texts]
    longest = max(map(len, texts))
    columns = max(1, min(len(names), 52 // (longest + 8)))
    lines = sum(name.count("\n") + 1 for name in names) / columns
    figure.set_figheight(figure.get_figheight() + LINE_IN * lines)  # the legend takes nothing from the chart
    figure.legend(
        handles, names, loc="outside upper left", ncols=columns,
        frameon=False, labelcolor=theme.text, fontsize=TYPE_PT, handletextpad=0.5, columnspacing=1.0,
    )  # fmt: skip
