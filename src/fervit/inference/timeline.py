"""A video as a few lines: which expressions each face showed, and for how long; the figure is `fervit.analysis`'s."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from fervit.formatting import counted, percent
from fervit.inference.results import FrameResult


@dataclass
class Track:
    """For how long one face showed which expression.

    Attributes:
        id: the track's id.
        first_s: when its first frame begins, s.
        last_s: when its last frame begins, s.
        seconds: s in which each label was the most probable one.
    """

    id: int
    first_s: float
    last_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def total_s(self) -> float:
        """How long the face was in view, s."""
        return sum(self.seconds.values())


class Timeline:
    """Collects the results of a video; memory grows with the number of faces, not with time."""

    def __init__(self) -> None:
        self.tracks: dict[int, Track] = {}
        self.frames = 0
        self.last_s = 0.0
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
            track = self.tracks.setdefault(prediction.track, Track(prediction.track, time_s))
            track.last_s = time_s
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
        faces = counted(count, "face track") if count else "no face"
        yield f"{counted(self.frames, 'frame')}, {self.last_s:.1f} s, {faces}"
        for track in self._longest(most):
            span = f"{track.first_s:6.1f} - {track.last_s:.1f} s"
            yield f"  track {track.id:<4} {span:<18} {_fractions(track.seconds)}"
        if count > most:
            yield f"  and {counted(count - most, 'shorter track')}"
        if count > 1:
            seconds: dict[str, float] = defaultdict(float)
            for track in self.tracks.values():
                for label, s in track.seconds.items():
                    seconds[label] += s
            yield f"  {'all faces':<29} {_fractions(seconds)}"

    def _longest(self, most: int) -> list[Track]:
        return sorted(self.tracks.values(), key=lambda track: (-track.total_s, track.id))[:most]

    def _count(self) -> None:
        for id, label in self._shown:
            self.tracks[id].seconds[label] += self._step_s


def _fractions(seconds: dict[str, float]) -> str:
    total = sum(seconds.values()) or 1.0
    order = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {percent(s / total, 0)}" for label, s in order if s / total >= 0.005)
