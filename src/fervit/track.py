"""Faces followed over the frames of a video: who is who, where between detections, probabilities smoothed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fervit.errors import ConfigError
from fervit.types import Box, Face

PATIENCE_S = 1.0  # a face that comes back within it keeps its track
MIN_IOU = 0.2  # of a detection and the place where its track is expected
MAX_JUMP = 1.0  # centre's distance in face sides, for small and fast faces that no longer overlap
MAX_GROWTH = 1.6  # ratio of sides
DAMPING_S = 0.25  # a velocity is trusted for about so long: heads turn back
VELOCITY_SHARE = 0.5  # of the newest measurement in a track's velocity


@dataclass
class _Track:
    """Where a face was last seen, `(4,)` px as xyxy, and how it moved, px/s."""

    id: int
    place: np.ndarray
    seen_s: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def expected(self, time_s: float) -> Box:
        """Return where the face should be by now; the motion fades."""
        travelled_s = DAMPING_S * (1 - math.exp(-max(0.0, time_s - self.seen_s) / DAMPING_S))
        return Box(*(float(v) for v in self.place + self.velocity * travelled_s))

    def move(self, box: Box, time_s: float) -> None:
        place = _place(box)
        passed_s = time_s - self.seen_s
        if passed_s > 0:
            measured = (place - self.place) / passed_s
            self.velocity += VELOCITY_SHARE * (measured - self.velocity)
        self.place, self.seen_s = place, time_s


class Tracker:
    """Gives every face of a frame the id of its track, by overlap with where the track should be by now.

    Args:
        patience_s: a track that is lost for longer is over; its face starts a new one.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S):
        self.patience_s = patience_s
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, faces: Sequence[Face], time_s: float) -> list[int]:
        """Return the track id of each face, from 1; times must not fall."""
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= self.patience_s]
        found = self._match(faces, time_s)
        ids = []
        for index, face in enumerate(faces):
            track = found.get(index)
            if track is None:
                track = _Track(self._next_id, _place(face.box), time_s)
                self._next_id += 1
                self._tracks.append(track)
            else:
                track.move(face.box, time_s)
            ids.append(track.id)
        return ids

    def alive(self) -> set[int]:
        """Return the ids of the tracks that may still go on."""
        return {track.id for track in self._tracks}

    def same(self, faces: Sequence[Face], ids: Sequence[int], time_s: float) -> bool:
        """Say whether `faces` are just those that the tracks `ids` expect at `time_s`; nothing is changed."""
        found = self._match(faces, time_s)
        return len(found) == len(faces) and {track.id for track in found.values()} == set(ids)

    def _match(self, faces: Sequence[Face], time_s: float) -> dict[int, _Track]:
        """Return the track of each face that has one, the best pair first."""
        pairs = []
        for track in self._tracks:
            expected = track.expected(time_s)
            for index, face in enumerate(faces):
                likeness = max(_likeness(face.box, expected), _likeness(face.box, Box(*map(float, track.place))))
                if likeness > 0:
                    pairs.append((likeness, -time_s + track.seen_s, -track.id, index, track))
        found: dict[int, _Track] = {}
        taken: set[int] = set()
        for _, _, _, index, track in sorted(pairs, key=lambda pair: pair[:4], reverse=True):
            if index not in found and track.id not in taken:
                found[index] = track
                taken.add(track.id)
        return found


class Smoother:
    """Exponential mean of each track's probabilities over time.

    Args:
        time_s: its time constant: the answer to a sudden change has gone 63 % of the way after so long; 0 is
            no smoothing.

    Raises:
        ConfigError: the time is negative or not finite.
    """

    def __init__(self, time_s: float):
        if not 0 <= time_s < math.inf:
            raise ConfigError(f"expected a time constant of 0 seconds or more to smooth over, got {time_s}")
        self.time_s = time_s
        self._means: dict[int, tuple[np.ndarray, float]] = {}

    def __call__(self, track: int, probs: np.ndarray, time_s: float) -> np.ndarray:
        """Return the mean, `(K,)`, after this frame's `probs`."""
        if self.time_s <= 0:
            return probs
        if track in self._means:
            mean, last_s = self._means[track]
            share = 1 - math.exp(-max(0.0, time_s - last_s) / self.time_s)
            probs = mean + share * (probs - mean)
        self._means[track] = probs, time_s
        return probs

    def forget(self, alive: set[int]) -> None:
        """Drop what is kept of all other tracks."""
        self._means = {track: kept for track, kept in self._means.items() if track in alive}


def between(first: Face, last: Face, share: float) -> Face:
    """Return the face at `share`, 0..1, of the way from `first` to `last`."""
    box = Box(*(float(v) for v in _mix(_place(first.box), _place(last.box), share)))
    marks = None
    if first.landmarks is not None and last.landmarks is not None:
        marks = _mix(first.landmarks, last.landmarks, share)
    return Face(box, float(first.score + share * (last.score - first.score)), marks)


def _mix(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    mixed: np.ndarray = first + share * (last - first)
    return mixed


def _place(box: Box) -> np.ndarray:
    return np.array([box.x1, box.y1, box.x2, box.y2])


def _likeness(box: Box, expected: Box) -> float:
    """Return 1..2 for boxes that overlap, 0..1 for near ones of like size, 0 for others."""
    overlap = box.iou(expected)
    if overlap >= MIN_IOU:
        return 1 + overlap
    sides = [math.sqrt(max(b.area, 1e-6)) for b in (box, expected)]
    growth = max(sides) / min(sides)
    dx, dy = (box.x1 + box.x2 - expected.x1 - expected.x2) / 2, (box.y1 + box.y2 - expected.y1 - expected.y2) / 2
    jump = math.hypot(dx, dy) / max(sides)
    return 1 - jump / MAX_JUMP if growth <= MAX_GROWTH and jump < MAX_JUMP else 0.0
