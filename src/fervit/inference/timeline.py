"""A video as one figure and a few lines: which expressions each face showed, when, and for how long."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fervit.errors import MissingExtra
from fervit.files import cannot_write
from fervit.formatting import literal, percent
from fervit.inference.results import FrameResult
from fervit.media.style.colours import colour, hexadecimal
from fervit.media.style.fonts import drawable, file_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 2000  # kept of a track; no figure shows more
TRACKS_SHOWN = 6
GAP_S = 0.4  # a longer absence leaves a gap in the figure
DARK = "#10141c"


@dataclass
class Track:
    """The expressions of one face over time.

    Attributes:
        id: the track's id.
        times: s, every `stride`-th of its frames.
        probs: a `(K,)` row for each of `times`.
        seconds: s in which each label was the most probable one.
    """

    id: int
    times: list[float] = field(default_factory=list)
    probs: list[np.ndarray] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    last_s: float = 0.0
    seen: int = 0
    stride: int = 1

    @property
    def total_s(self) -> float:
        """How long the face was in view, s."""
        return sum(self.seconds.values())

    def add(self, time_s: float, probs: np.ndarray) -> None:
        """Add a frame; whenever a track grows too long, every second of its frames is dropped."""
        if self.seen % self.stride == 0:
            self.times.append(time_s)
            self.probs.append(probs.astype(np.float32))
        self.seen += 1
        self.last_s = time_s
        if len(self.times) > POINTS:
            self.times, self.probs, self.stride = self.times[::2], self.probs[::2], self.stride * 2


class Timeline:
    """Collects the results of a video; memory grows with the number of faces, not with time."""

    def __init__(self) -> None:
        self.tracks: dict[int, Track] = {}
        self.frames = 0
        self.last_s = 0.0
        self.labels: tuple[str, ...] = ()
        self._step_s = 0.0
        self._shown: list[tuple[int, str]] = []

    def add(self, result: FrameResult) -> None:
        """Add the next frame's result."""
        time_s = result.frame.time_s
        if self.frames:
            self._step_s = time_s - self.last_s
            self._count()
        self._shown = []
        for prediction in result.predictions:
            assert prediction.track is not None
            self.labels = prediction.labels
            track = self.tracks.setdefault(prediction.track, Track(prediction.track))
            track.add(time_s, prediction.probs)
            self._shown.append((track.id, prediction.label))
        self.frames, self.last_s = self.frames + 1, time_s

    def close(self) -> None:
        """Count the last frame, which is shown as long as the one before it."""
        self._count()
        self._shown = []
        self.last_s += self._step_s

    def summary(self, most: int = 10) -> Iterator[str]:
        """Yield lines for people: the video, and the fraction of time of every expression per track."""
        count = len(self.tracks)
        faces = "no face" if not count else f"{count} face track{'s' if count > 1 else ''}"
        yield f"{self.frames} frames, {self.last_s:.1f} s, {faces}"
        for track in self._longest(most):
            span = f"{track.times[0]:6.1f} - {track.last_s:.1f} s"
            yield f"  track {track.id:<4} {span:<18} {_fractions(track.seconds)}"
        if count > most:
            yield f"  and {count - most} shorter tracks"
        if count > 1:
            seconds: dict[str, float] = defaultdict(float)
            for track in self.tracks.values():
                for label, s in track.seconds.items():
                    seconds[label] += s
            yield f"  {'all faces':<29} {_fractions(seconds)}"

    def save(self, path: Path, *, title: str = "") -> None:
        """Draw the probabilities of the longest tracks over time, stacked, as a PNG, SVG or PDF.

        Raises:
            MissingExtra: matplotlib is not installed.
            ConfigError: the file cannot be written.
        """
        if find_spec("matplotlib") is None:
            raise MissingExtra("the timeline figure", "video")
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.font_manager import FontProperties

        tracks = sorted(self._longest(TRACKS_SHOWN), key=lambda track: track.id)
        rows = max(1, len(tracks))
        figure = Figure(figsize=(11, 1.1 + 1.5 * rows), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        for axes, track in zip(np.ravel(figure.subplots(rows, 1, sharex=True, squeeze=False)), tracks, strict=False):
            _draw(axes, track, self.labels)
        last = figure.axes[-1]
        last.set_xlim(0, max(self.last_s, 0.1))
        last.set_xlabel("time (s)")
        if not tracks:
            last.text(0.5, 0.5, "no face", ha="center", va="center", transform=last.transAxes)
            last.set_yticks([])
        else:
            shown = drawable(tuple(self.labels))
            # Matplotlib's own font is the bundled one, whole: it lacks what that lacks.
            prop = FontProperties(fname=file_for("".join(shown.values())))
            # Names and areas by hand, as matplotlib leaves out names with a leading _.
            names, areas = [literal(shown[label]) for label in self.labels], figure.axes[0].collections
            figure.legend(areas, names, loc="outside upper center", ncols=min(len(names), 8), frameon=False, prop=prop)
        if title:
            figure.supxlabel(literal(title), fontsize=8, color="grey")
        try:
            with rc_context({"pdf.fonttype": 42}):  # letters as a font: publishers refuse matplotlib's own kind
                figure.savefig(path, dpi=130)
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from error

    def _longest(self, most: int) -> list[Track]:
        return sorted(self.tracks.values(), key=lambda track: (-track.total_s, track.id))[:most]

    def _count(self) -> None:
        for id, label in self._shown:
            self.tracks[id].seconds[label] += self._step_s


def _draw(axes: "Axes", track: Track, labels: Sequence[str]) -> None:
    times, probs = _with_gaps(track)
    colours = [hexadecimal(colour(label, labels)) for label in labels]
    axes.stackplot(times, probs.T, colors=colours, linewidth=0.4, edgecolor=DARK)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel(f"track {track.id}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _with_gaps(track: Track) -> tuple[np.ndarray, np.ndarray]:
    """Return `(N,)` times and `(N, K)` probabilities, with zeros where the face was away."""
    times, probs = np.asarray(track.times), np.stack(track.probs)
    steps = np.diff(times)
    holes = np.flatnonzero(steps > max(GAP_S, 3 * float(np.median(steps)))) if len(steps) else np.empty(0, int)
    for hole in holes[::-1]:
        edges = times[hole] + 1e-3, times[hole + 1] - 1e-3
        times = np.insert(times, hole + 1, edges)
        probs = np.insert(probs, [hole + 1, hole + 1], 0, axis=0)
    return times, probs


def _fractions(seconds: dict[str, float]) -> str:
    total = sum(seconds.values()) or 1.0
    order = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {percent(s / total, 0)}" for label, s in order if s / total >= 0.005)
