"""The contact sheet of a study: every video as one strip, on one scale of time."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fervit.analysis.strips import (
    add_legend,
    all_faces,
    draw_ground,
    draw_strip,
    font_of,
    require_matplotlib,
    strip_of,
)
from fervit.files import name_of
from fervit.formatting import literal, percent
from fervit.inference.rows import printable
from fervit.media.style.colours import colour, hexadecimal
from fervit.media.style.fonts import drawable
from fervit.reports.figures.style import LIGHT, new_figure, style_axes, ticker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fervit.analysis.recording import Recording
    from fervit.analysis.study import Study

VIDEOS_SHOWN = 60
STRIP, COLUMN = 0.72, 6.0  # inches
ONE_COLUMN, TWO_COLUMNS = 8, 30  # videos
NAME = 34  # characters


def draw_contact_sheet(study: "Study", *, most: int = VIDEOS_SHOWN) -> "Figure":
    """Draw all videos of a study, small: the mean over all faces as a strip, and the fractions of time as one bar.

    All strips have one scale of time, so that lengths compare.

    Args:
        study: the study.
        most: how many videos are drawn, in order; how many are not is said.

    Returns:
        a figure for `fervit.reports.figures.files.write_figure`.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib("the contact sheet")
    videos = study.videos[:most]
    columns = 1 if len(videos) <= ONE_COLUMN else 2 if len(videos) <= TWO_COLUMNS else 3
    rows = math.ceil(len(videos) / columns)
    figure = new_figure((max(8.0, columns * COLUMN), 1.2 + STRIP * rows), LIGHT)
    ratios = [6.0, 1.0] * columns
    grid = figure.subplots(rows, 2 * columns, squeeze=False, gridspec_kw={"width_ratios": ratios, "wspace": 0.03})
    longest = max(max(video.end_s for video in videos), 0.1)
    names = short_names([video.source for video in videos])
    for k, video in enumerate(videos):  # down the columns, as one reads a list
        row, column = k % rows, k // rows
        _panel(grid[row][2 * column], video, study, names[k])
        _bar(grid[row][2 * column + 1], video, study)
    for axes in grid.T.reshape(columns, 2, rows).transpose(0, 2, 1).reshape(-1, 2)[len(videos) :].ravel():
        style_axes(axes, LIGHT)
        axes.set_xticks([])
        axes.set_yticks([])
    for k, axes in enumerate(grid.ravel()):
        if k % 2 == 0:
            _time_axis(axes, longest, last=k >= 2 * columns * (rows - 1))
    add_legend(
        figure,
        study.expressions,
        gaps=any(bool(video.gaps.any()) for video in videos),
        cuts=any(bool(video.cuts.any()) for video in videos),
    )
    _footnote(figure, study, len(study.videos) - len(videos))
    return figure


def short_names(sources: Sequence[str], *, most: int | None = NAME) -> list[str]:
    """Return what to call videos: their names without the folder that all share, and at most so many characters.

    >>> short_names(["study/a/p01.mp4", "study/b/p01.mp4"])
    ['a/p01.mp4', 'b/p01.mp4']
    """
    parts = [name_of(source).replace("\\", "/").split("/") for source in sources]
    shared = 0
    while all(len(part) > shared + 1 and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    names = [printable("/".join(part[shared:])) for part in parts]
    if most is None:
        return names
    return [name if len(name) <= most else "\N{HORIZONTAL ELLIPSIS}" + name[1 - most :] for name in names]


def _panel(axes: "Axes", video: "Recording", study: "Study", name: str) -> None:
    style_axes(axes, LIGHT)
    draw_ground(axes, video, low=0, high=1)
    faces = all_faces(video)
    if faces is not None:
        strip = strip_of(video, faces, points=500)
        draw_strip(axes, strip, study.expressions, line=0.15, several=len(video.people) > 1)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    seen = percent(video.face_s / video.video_s if video.video_s > 0 else None, 0)
    faces_text = "no face" if faces is None else f"face in view {seen}"
    if len(video.people) > 1:
        faces_text += f", {len(video.people)} people or tracks"
    axes.set_title(literal(name), loc="left", color=LIGHT.text, pad=2, fontproperties=font_of(name), fontsize=9)
    axes.set_title(faces_text, loc="right", color=LIGHT.muted, fontsize=8, pad=2)


def _time_axis(axes: "Axes", longest: float, *, last: bool) -> None:
    """Give a strip the scale of time that all have; the lowest strip of a column shows it."""
    axes.set_xlim(0, longest)
    if last:
        axes.xaxis.set_major_locator(ticker().AutoLocator())
        axes.set_xlabel("time (s)", color=LIGHT.muted, fontsize=9)
        axes.tick_params(labelsize=8, colors=LIGHT.muted)
    else:
        axes.set_xticks([])


def _bar(axes: "Axes", video: "Recording", study: "Study") -> None:
    """Draw the fractions of all faces' time as one stacked bar."""
    style_axes(axes, LIGHT)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    axes.set_xlim(0, 1)
    seconds = sum((one.seconds for one in study.of(video)), np.zeros(len(study.expressions)))
    total = float(seconds.sum())
    if not total:
        return
    left = 0.0
    for name, part in zip(study.expressions, seconds / total, strict=True):
        axes.barh(0.5, part, left=left, height=1, color=hexadecimal(colour(name, study.expressions)), edgecolor="white")
        left += part
    top = int(np.argmax(seconds))
    shown = drawable(study.expressions)[study.expressions[top]]
    text = f"{shown} {percent(float(seconds[top]) / total, 0)}"
    axes.set_title(literal(text), color=LIGHT.muted, pad=2, fontproperties=font_of(text), fontsize=8)


def _footnote(figure: "Figure", study: "Study", hidden: int) -> None:
    unread = [source for source in study.errors if source not in {video.source for video in study.videos}]
    notes = []
    if hidden:
        notes.append(f"{hidden} more videos are not drawn")
    if unread:
        names = ", ".join(short_names(unread)[:4]) + (" and others" if len(unread) > 4 else "")
        notes.append(f"could not be read: {names}")
    if notes:
        figure.supxlabel(literal("; ".join(notes)), fontsize=8.5, color=LIGHT.muted, x=0.01, ha="left")
