"""The timeline of a video: who showed which expression when, how sure that is, and for what fraction of the time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fervit.analysis.statistics import PersonStatistics
from fervit.analysis.strips import (
    add_legend,
    all_faces,
    draw_episodes,
    draw_ground,
    draw_strip,
    font_of,
    require_matplotlib,
    strip_of,
)
from fervit.formatting import literal, percent
from fervit.inference.rows import printable
from fervit.media.style.colours import colour, hexadecimal
from fervit.reports.figures.style import LIGHT, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fervit.analysis.recording import Recording
    from fervit.analysis.study import Study

PEOPLE_SHOWN = 8
NAMED = 12  # of those who are not drawn
WIDTH, ROW = 11.0, 1.05  # inches
LOW, HIGH = -0.3, 1.0  # of a row: episodes lie below the probabilities
RIBBON = (-0.27, -0.07)
NAME = 24  # characters of a name at an axis


def draw_timeline(study: "Study", source: str, *, most: int = PEOPLE_SHOWN) -> "Figure":
    """Draw a video of a study.

    A row for all faces, where there are several, and one for each of the people longest in view: probabilities as
    stacked areas, pale where the top one is below 0.5; episodes as bars below them; at the right, the fraction of time
    of each expression with its 95 % interval, where the face was in view long enough for one. Gaps are striped and
    cuts dashed. Who is not drawn is named.

    Args:
        study: the study.
        source: the video.
        most: how many people are drawn.

    Returns:
        a figure for `fervit.reports.figures.files.write_figure`.

    Raises:
        ConfigError: the study has no such video.
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib("the timeline figure")
    video = study.video(source)
    people = study.of(video)
    longest = sorted(people, key=lambda one: -one.visible_s)
    drawn = [one for one in people if one in longest[:most]]
    rest = longest[most:]
    total = len(people) > 1
    rows = max(1, len(drawn) + total)
    figure = new_figure((WIDTH, 1.55 + ROW * rows + (0.25 if rest else 0)), LIGHT)
    grid = figure.subplots(rows, 2, sharex="col", squeeze=False, gridspec_kw={"width_ratios": [6.2, 1]})
    if total:
        _row(grid[0], video, study, None)
    for axes, one in zip(grid[int(total) :], drawn, strict=False):
        _row(axes, video, study, one)
    if not people:
        draw_ground(grid[0][0], video, low=LOW, high=HIGH)
        grid[0][0].text(0.5, 0.5, "no face", transform=grid[0][0].transAxes, ha="center", va="center")
        grid[0][0].set_yticks([])
        grid[0][1].set_visible(False)
    _finish(grid, video, people)
    add_legend(figure, study.expressions, gaps=bool(video.gaps.any()), cuts=bool(video.cuts.any()))
    if rest:
        figure.supxlabel(_named(rest), fontsize=8.5, color=LIGHT.muted, x=0.01, ha="left")
    return figure


def _row(axes: "np.ndarray", video: "Recording", study: "Study", one: PersonStatistics | None) -> None:
    """Draw the row of a person, or of all faces."""
    left, right = axes
    person = one.person if one is not None else all_faces(video)
    assert person is not None
    style_axes(left, LIGHT)
    draw_ground(left, video, low=LOW, high=HIGH)
    draw_strip(left, strip_of(video, person), study.expressions, several=one is None)
    if one is not None:
        draw_episodes(left, one.episodes, study.expressions, low=RIBBON[0], high=RIBBON[1])
        _bars(right, study.expressions, one.fractions, one.intervals)
    else:
        seconds = sum((other.seconds for other in study.of(video)), np.zeros(len(study.expressions)))
        _bars(right, study.expressions, seconds / max(float(np.sum(seconds)), 1e-9), None)
    left.set_ylim(LOW, HIGH)
    left.set_yticks([0, 0.5, 1], labels=["0", "", "1"], fontsize=8, color=LIGHT.muted)
    name = printable(person.name)
    left.set_ylabel(
        literal(name if len(name) <= NAME else name[: NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"),
        rotation=0,
        ha="right",
        va="center",
        color=LIGHT.text,
        fontproperties=font_of(name),
        fontsize=10,
    )


def _bars(axes: "Axes", expressions: Sequence[str], fractions: np.ndarray, intervals: np.ndarray | None) -> None:
    """Draw the fraction of time of each expression, with the interval as a whisker."""
    count = len(expressions)
    places = np.arange(count)
    colours = [hexadecimal(colour(name, expressions)) for name in expressions]
    axes.barh(places, fractions, height=0.8, color=colours, edgecolor="#10141c", linewidth=0.3)
    if intervals is not None:
        axes.hlines(places, intervals[0, :count], intervals[1, :count], color=LIGHT.text, linewidth=1.2)
    style_axes(axes, LIGHT)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlim(0, 1)
    axes.axvline(0, color=LIGHT.muted, linewidth=0.8)
    axes.grid(axis="x", color=LIGHT.grid, linewidth=0.8)
    axes.set_axisbelow(True)


def _finish(grid: "np.ndarray", video: "Recording", people: Sequence[PersonStatistics]) -> None:
    """Name the axes and the video."""
    left, right = grid[-1]
    left.set_xlim(0, max(video.end_s, 0.1))
    left.set_xlabel("time (s)", color=LIGHT.muted, fontsize=10)
    right.set_xticks([0, 0.5, 1], labels=["0", "50 %", "100 %"], fontsize=8, color=LIGHT.muted)
    right.set_xlabel("fraction of time", color=LIGHT.muted, fontsize=10)
    for axes in grid.ravel():
        axes.tick_params(labelsize=8, colors=LIGHT.muted)
    seen = percent(video.face_s / video.video_s if video.video_s > 0 else None, 0)
    count = f"{len(people)} people or tracks" if len(people) != 1 else "1 person or track"
    title = printable(video.source)
    text = f"{title if len(title) <= 90 else '…' + title[-89:]}    {video.video_s:.1f} s, face in view {seen}, {count}"
    grid[0][0].set_title(literal(text), loc="left", color=LIGHT.text, fontproperties=font_of(text), fontsize=10)


def _named(rest: Sequence[PersonStatistics]) -> str:
    """Return in words who is not drawn."""
    names = [f"{printable(one.person.name)[:NAME]} ({one.visible_s:.1f} s)" for one in rest[:NAMED]]
    more = f" and {len(rest) - NAMED} more" if len(rest) > NAMED else ""
    half = (len(names) + 1) // 2
    lines = [names] if len(names) <= 6 else [names[:half], names[half:]]
    return literal("not drawn: " + ",\n".join(", ".join(line) for line in lines) + more)
