"""Faces followed over the frames of a video: who is who, where between detections, probabilities smoothed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fervit.errors import ConfigError, is_number, quoted
from fervit.types import Box, Face

PATIENCE_S = 5.0  # a face that comes back within it keeps its track
MIN_IOU = 0.2  # of a detection and the place where its track is expected
MAX_JUMP = 1.0  # centre's distance in face sides, for small and fast faces that no longer overlap
MAX_GROWTH = 1.6  # ratio of sides
DAMPING_S = 0.25  # a velocity is trusted for about so long: heads turn back
VELOCITY_WEIGHT = 0.5  # of the newest measurement in a track's velocity


@dataclass
class TrackedFace:
    """Where a face was last seen, `(4,)` px as xyxy, and how it moved, px/s."""

    id: int
    place: np.ndarray
    seen_s: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def expected(self, time_s: float) -> np.ndarray:
        """Return where the face should be by now, `(4,)` px; the motion fades."""
        travelled_s = DAMPING_S * (1 - math.exp(-max(0.0, time_s - self.seen_s) / DAMPING_S))
        place: np.ndarray = self.place + self.velocity * travelled_s
        return place

    def move(self, box: Box, time_s: float) -> None:
        """Take where it is seen now."""
        place = _place(box)
        passed_s = time_s - self.seen_s
        if passed_s > 0:
            measured = (place - self.place) / passed_s
            self.velocity += VELOCITY_WEIGHT * (measured - self.velocity)
        self.place, self.seen_s = place, time_s


@dataclass(frozen=True, eq=False)
class TrackerState:
    """All that a `Tracker` knows at one moment.

    Attributes:
        tracks: those that may go on.
        next_id: the id of the next new track.
        looked_s: the time of the last frame; -inf before the first.
    """

    tracks: tuple[TrackedFace, ...]
    next_id: int
    looked_s: float


class Tracker:
    """Gives every face of a frame the id of its track, by overlap with where the track should be by now.

    Args:
        patience_s: a track that is lost for longer is over; its face starts a new one. One that the last frame showed
            is not lost, however long ago that was: nobody has looked since.

    Raises:
        ConfigError: the patience is negative or not finite.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S):
        if not is_number(patience_s, 0):
            raise ConfigError(f"expected a patience of 0 seconds or more, got {quoted(patience_s)}")
        self.patience_s = patience_s
        self._tracks: list[TrackedFace] = []
        self._next_id = 1
        self._looked_s = -math.inf

    def update(self, faces: Sequence[Face], time_s: float) -> list[int]:
        """Return the track id of each face, from 1; times must not fall."""
        self._tracks = self._alive(time_s)
        found = self._match(self._tracks, faces, time_s)
        self._looked_s = time_s
        ids = []
        for index, face in enumerate(faces):
            track = found.get(index)
            if track is None:
                track = TrackedFace(self._next_id, _place(face.box), time_s)
                self._next_id += 1
                self._tracks.append(track)
            else:
                track.move(face.box, time_s)
            ids.append(track.id)
        return ids

    def end(self) -> None:
        """End all tracks, as at a cut: whoever is seen next starts a new one."""
        self._tracks = []

    def state(self) -> TrackerState:
        """Return what is known by now; it stays as it is when the tracker goes on."""
        return TrackerState(tuple(map(_copy, self._tracks)), self._next_id, self._looked_s)

    def restore(self, state: TrackerState) -> None:
        """Go on from an earlier moment."""
        self._tracks = [_copy(track) for track in state.tracks]
        self._next_id, self._looked_s = state.next_id, state.looked_s

    def alive(self) -> set[int]:
        """Return the ids of the tracks that may still go on."""
        return {track.id for track in self._tracks}

    def same(self, faces: Sequence[Face], ids: Sequence[int], time_s: float) -> bool:
        """Return whether `faces` are just those that the tracks `ids` expect at `time_s`; nothing is changed."""
        found = self._match(self._alive(time_s), faces, time_s)
        return len(found) == len(faces) and {track.id for track in found.values()} == set(ids)

    def _match(self, tracks: Sequence[TrackedFace], faces: Sequence[Face], time_s: float) -> dict[int, TrackedFace]:
        """Return the track of each face that has one; whoever was there in the last frame is asked before the lost.

        So nobody who walks in front of another takes that one's track (the cascade of DeepSORT, arXiv 1703.07402, 2.4).
        """
        found = _match([t for t in tracks if t.seen_s == self._looked_s], faces, time_s)
        left = [index for index in range(len(faces)) if index not in found]
        lost = [t for t in tracks if t.seen_s != self._looked_s]
        again = _match(lost, [faces[index] for index in left], time_s)
        return found | {left[k]: track for k, track in again.items()}

    def _alive(self, time_s: float) -> list[TrackedFace]:
        return [t for t in self._tracks if t.seen_s == self._looked_s or time_s - t.seen_s <= self.patience_s]


class Smoother:
    """Exponential mean of each track's probabilities over time.

    Args:
        time_s: its time constant: after so long, the mean has followed 63 % of a sudden change; 0 is no
            smoothing.

    Raises:
        ConfigError: the time is negative or not finite.
    """

    def __init__(self, time_s: float):
        if not is_number(time_s, 0):
            raise ConfigError(f"expected a time constant of 0 seconds or more to smooth over, got {quoted(time_s)}")
        self.time_s = time_s
        self._means: dict[int, tuple[np.ndarray, float]] = {}

    def __call__(self, track: int, probs: np.ndarray, time_s: float) -> np.ndarray:
        """Return the mean, `(K,)`, after this frame's `probs`."""
        if self.time_s <= 0:
            return probs
        if track in self._means:
            mean, last_s = self._means[track]
            weight = 1 - math.exp(-max(0.0, time_s - last_s) / self.time_s)
            probs = mean + weight * (probs - mean)
        self._means[track] = probs, time_s
        return probs

    def forget(self, alive: set[int]) -> None:
        """Drop what is kept of all other tracks."""
        self._means = {track: kept for track, kept in self._means.items() if track in alive}

    def state(self) -> dict[int, tuple[np.ndarray, float]]:
        """Return each track's mean, `(K,)`, and its time, s."""
        return dict(self._means)

    def restore(self, state: Mapping[int, tuple[np.ndarray, float]]) -> None:
        """Go on from an earlier moment."""
        self._means = dict(state)


def _copy(track: TrackedFace) -> TrackedFace:
    return replace(track, place=track.place.copy(), velocity=track.velocity.copy())


def between(first: Face, last: Face, position: float) -> Face:
    """Return the face at `position`, 0..1, between `first` and `last`."""
    box = Box(*(float(v) for v in _mix(_place(first.box), _place(last.box), position)))
    marks = None
    if first.landmarks is not None and last.landmarks is not None:
        marks = _mix(first.landmarks, last.landmarks, position)
    return Face(box, float(first.score + position * (last.score - first.score)), marks)


def _match(tracks: Sequence[TrackedFace], faces: Sequence[Face], time_s: float) -> dict[int, TrackedFace]:
    """Return the track of each face that has one, the best pair first."""
    if not faces or not tracks:
        return {}
    boxes = np.array([_place(face.box) for face in faces])[:, None]  # (F, 1, 4)
    expected, last = np.array([t.expected(time_s) for t in tracks]), np.array([t.place for t in tracks])  # (T, 4)
    likeness = np.maximum(_likeness(boxes, expected), _likeness(boxes, last))  # (F, T)
    pairs = [
        (likeness[index, k], tracks[k].seen_s, -tracks[k].id, index, tracks[k])
        for index, k in zip(*map(np.ndarray.tolist, np.nonzero(likeness > 0)), strict=True)
    ]
    found: dict[int, TrackedFace] = {}
    taken: set[int] = set()
    for _, _, _, index, track in sorted(pairs, key=lambda pair: pair[:4], reverse=True):
        if index not in found and track.id not in taken:
            found[index] = track
            taken.add(track.id)
    return found


def _mix(first: np.ndarray, last: np.ndarray, position: float) -> np.ndarray:
    mixed: np.ndarray = first + position * (last - first)
    return mixed


def _place(box: Box) -> np.ndarray:
    return np.array([box.x1, box.y1, box.x2, box.y2])


def _likeness(boxes: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return 1..2 for boxes that overlap, 0..1 for near ones of like size, 0 for others.

    Both hold boxes as xyxy px in their last axis, `(..., 4)`, and are broadcast over the others.
    """
    size, wanted = (np.maximum(b[..., 2:] - b[..., :2], 0.0) for b in (boxes, expected))
    shared = np.minimum(boxes[..., 2:], expected[..., 2:]) - np.maximum(boxes[..., :2], expected[..., :2])
    common = np.maximum(shared, 0.0).prod(axis=-1)
    areas = size.prod(axis=-1), wanted.prod(axis=-1)
    overlap = common / np.maximum(areas[0] + areas[1] - common, 1e-12)
    sides = [np.sqrt(np.maximum(area, 1e-6)) for area in areas]
    largest, smallest = np.maximum(*sides), np.minimum(*sides)
    between_centres = (boxes[..., :2] + boxes[..., 2:] - expected[..., :2] - expected[..., 2:]) / 2
    jump = np.hypot(between_centres[..., 0], between_centres[..., 1]) / largest
    near = np.where((largest <= MAX_GROWTH * smallest) & (jump < MAX_JUMP), 1 - jump / MAX_JUMP, 0.0)
    likeness: np.ndarray = np.where(overlap >= MIN_IOU, 1 + overlap, near)
    return likeness
