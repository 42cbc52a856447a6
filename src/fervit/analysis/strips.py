"""What timelines and contact sheets draw alike: probabilities as stacked areas, episodes, gaps, cuts and names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from fervit.analysis.episodes import Episode
from fervit.analysis.recording import Presence, Recording
from fervit.errors import MissingExtra
from fervit.formatting import literal
from fervit.media.style.colours import colour, hexadecimal
from fervit.media.style.fonts import drawable, file_for
from fervit.reports.figures.style import LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

POINTS = 1500  # of a strip; no figure shows more
UNSURE_BELOW = 0.5  # the top probability: below it, the others together are more probable
EDGE = "#10141c"
NOTHING = "#ffffff"  # where no face is, within a thin frame
MISSING = "#b9c1cc"  # of the stripes of a gap


@dataclass(frozen=True, eq=False)
class Strip:
    """Probabilities over time, ready to be drawn.

    Attributes:
        times: `(n,)` s.
        probs: `(n, K)`; all 0 where no face is.
    """

    times: np.ndarray
    probs: np.ndarray


def require_matplotlib(what: str) -> None:
    """Raise `MissingExtra` where matplotlib is not installed.

    Args:
        what: what it draws.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtra(what, "video")


def strip_of(video: Recording, person: Presence, *, points: int = POINTS) -> Strip:
    """Return a person's strip; a long one is averaged over time, weighted by the frames' durations.

    Args:
        video: the video.
        person: who.
        points: about how many points a strip has.
    """
    places, starts = person.places, video.times[person.places]
    ends = starts + video.durations[places]
    gaps = np.cumsum(video.gaps)[places] - video.gaps[places] + np.cumsum(video.cuts)[places]
    away = np.concatenate([[True], (starts[1:] - ends[:-1] > 1e-6) | (np.diff(gaps) != 0)])
    segments = np.cumsum(away) - 1
    width = max(video.end_s / points, 1e-9)
    bins = segments * (points + 2) + np.floor(starts / width).astype(np.int64)
    heads = np.concatenate([[0], np.flatnonzero(np.diff(bins)) + 1])  # the first row of each bin of each segment
    weights = np.maximum(video.durations[places], 1e-9)
    probs = np.add.reduceat(weights[:, None] * person.probs, heads) / np.add.reduceat(weights, heads)[:, None]
    times, kept = starts[heads], segments[heads]
    # Each segment ends with its last value where its last frame ends, and begins and ends with nothing.
    last = np.append(np.flatnonzero(np.diff(segments)), len(segments) - 1)
    tails = np.append(np.flatnonzero(np.diff(kept)), len(kept) - 1)
    first = np.concatenate([[0], tails[:-1] + 1])
    zero = np.zeros((len(tails), probs.shape[1]))
    where = np.concatenate([tails + 1, tails + 1, first])  # at one place, in this order
    times = np.insert(times, where, np.concatenate([ends[last], ends[last], starts[np.flatnonzero(away)]]))
    return Strip(times, np.insert(probs, where, np.concatenate([probs[tails], zero, zero]), axis=0))


def all_faces(video: Recording) -> Presence | None:
    """Return the mean over all faces of each frame as one person's; None where there is no face."""
    if not video.people:
        return None
    counts = np.zeros(len(video.times))
    sums = np.zeros((len(video.times), video.people[0].probs.shape[1]))
    for person in video.people:
        counts[person.places] += 1
        sums[person.places] += person.probs
    places = np.flatnonzero(counts)
    probs = sums[places] / counts[places, None]
    return Presence("all faces", "", places, probs.argmax(axis=1), probs)


def draw_strip(
    axes: "Axes", strip: Strip, expressions: Sequence[str], *, line: float = 0.3, several: bool = False
) -> None:
    """Draw a strip as stacked areas from 0 to 1, pale where the top probability is below `UNSURE_BELOW`.

    Args:
        axes: where.
        strip: of one face, or a mean.
        expressions: of the study.
        line: width of the lines between areas, pt.
        several: it is the mean of several faces, which is not unsure where they differ.
    """
    labels = expressions[: strip.probs.shape[1]]
    colours = [hexadecimal(colour(label, expressions)) for label in labels]
    axes.stackplot(strip.times, strip.probs.T, colors=colours, linewidth=line, edgecolor=EDGE)
    if several:
        return
    top = strip.probs.max(axis=1)
    unsure = (top > 0) & (top < UNSURE_BELOW)
    axes.fill_between(strip.times, 0, 1, where=list(unsure), color="white", alpha=0.6, linewidth=0)


def draw_episodes(
    axes: "Axes", episodes: Sequence[Episode], expressions: Sequence[str], *, low: float, high: float
) -> None:
    """Draw episodes as bars from `low` to `high`."""
    for k, name in enumerate(expressions):
        spans = [(episode.start_s, episode.seconds) for episode in episodes if episode.label == k]
        if spans:
            axes.broken_barh(spans, (low, high - low), facecolor=hexadecimal(colour(name, expressions)), linewidth=0)


def draw_ground(axes: "Axes", video: Recording, *, low: float, high: float) -> None:
    """Draw what is behind a strip: the video's length, its gaps as stripes, its cuts as lines."""
    whole = [(video.start_s, video.end_s - video.start_s)]
    axes.broken_barh(whole, (0, 1), facecolor=NOTHING, edgecolor=MISSING, linewidth=0.6, zorder=0)
    spans = list(gaps_of(video))
    if spans:
        axes.broken_barh(
            spans, (low, high - low), facecolor="white", edgecolor=MISSING, hatch="////", linewidth=0, zorder=3
        )
    for time in video.times[video.cuts]:
        axes.plot([time, time], [low, high], color=EDGE, linewidth=0.9, linestyle=(0, (3, 2)), zorder=4)


def gaps_of(video: Recording) -> Iterator[tuple[float, float]]:
    """Yield the start and the length of each gap, s."""
    for place in np.flatnonzero(video.gaps):
        start = float(video.times[place] + video.durations[place])
        yield start, float(video.times[place + 1]) - start


def font_of(text: str) -> "FontProperties":
    """Return a font that has the letters of a text, to be drawn by matplotlib."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=file_for(text))


def add_legend(figure: "Figure", expressions: Sequence[str], *, gaps: bool, cuts: bool, theme: Theme = LIGHT) -> None:
    """Add the legend: expressions, what pale means, no face, and gaps and cuts where there are any."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = drawable(tuple(expressions))
    names = [literal(shown[name]) for name in expressions]
    handles: list[Patch | Line2D] = [
        Patch(facecolor=hexadecimal(colour(name, expressions)), edgecolor=EDGE, linewidth=0.3) for name in expressions
    ]
    extra: list[tuple[str, Patch | Line2D]] = [
        ("pale: top probability < 50 %", Patch(facecolor="#f2f2f2", edgecolor=EDGE, linewidth=0.3)),
        ("no face", Patch(facecolor=NOTHING, edgecolor=MISSING, linewidth=0.6)),
    ]
    if gaps:
        extra.append(("gap", Patch(facecolor="white", edgecolor=MISSING, hatch="////", linewidth=0)))
    if cuts:
        extra.append(("cut", Line2D([], [], color=EDGE, linewidth=0.9, linestyle=(0, (3, 2)))))
    names += [name for name, _ in extra]
    handles += [handle for _, handle in extra]
    legend = figure.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=min(len(names), 6),
        frameon=False,
        prop=font_of("".join(names)),
        handlelength=1.4,
        columnspacing=1.4,
    )
    for text in legend.get_texts():
        text.set_color(theme.text)
        text.set_fontsize(9)
