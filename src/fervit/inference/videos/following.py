"""The faces of a video's frames: detected every few frames, interpolated between, each with its track."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fervit.faces.finder import FaceFinder
from fervit.faces.tracking import Tracker, between
from fervit.inference.ahead import MAX_WAITING_BYTES
from fervit.inference.videos.points import Detected, Segment
from fervit.types import Face, Frame

MAX_WAITING = 16  # frames between two detections, all in memory


@dataclass
class FoundFrame:
    """One frame between detection and classification; its crops are at model size.

    Attributes:
        frame: the frame.
        faces: where they are.
        tracks: the id of each face's track.
        crops: each face, cut out.
        alive: the tracks that may still go on.
        segment: from where the frame's faces can be found again; None for those of cameras.
    """

    frame: Frame
    faces: list[Face]
    tracks: list[int]
    crops: list[np.ndarray]
    alive: set[int]
    segment: Segment | None = None


class Follower:
    """Finds and follows faces.

    Args:
        finder: detects and cuts.
        tracker: gives each face its track.
        detect_every: frames from one detection to the next.
    """

    def __init__(self, finder: FaceFinder, tracker: Tracker, detect_every: int = 1):
        self._finder, self._tracker, self._detect_every = finder, tracker, detect_every
        self._segment: Segment | None = None

    def follow(self, frames: Generator[Frame], segment: Segment | None = None) -> Generator[FoundFrame]:
        """Yield every frame with its faces, those between two detections after the second one.

        Args:
            frames: from the first frame of the video on, or from that of `segment`.
            segment: where an earlier run was; the tracker has its state.
        """
        first = None if segment is None else segment.first
        waiting: list[Frame] = []
        try:
            for frame in frames:
                if frame.cut:
                    if waiting:
                        yield from self._locate(first, waiting)
                    first, waiting = None, []
                    self._tracker.end()
                waiting.append(frame)
                near = first is not None and frame.index - first.index < self._detect_every
                if near and len(waiting) < MAX_WAITING and not is_much(waiting):
                    continue
                located = list(self._locate(first, waiting))
                yield from located
                last = located[-1]
                first = Detected(last.frame.index, tuple(last.faces), tuple(last.tracks))
                waiting = []
            if waiting:
                yield from self._locate(first, waiting)
        finally:
            frames.close()

    def _locate(self, first: Detected | None, waiting: Sequence[Frame]) -> Iterator[FoundFrame]:
        """Yield the waiting frames with their faces, detected in the last one and, if need be, between."""
        *middle, frame = waiting
        self._segment = Segment(waiting[0].index, first, self._tracker.state())
        faces = self._finder.detect(frame.image)
        if first is not None and self._tracker.same(faces, first.tracks, frame.time_s):
            tracks = self._tracker.update(faces, frame.time_s)
            last = dict(zip(tracks, faces, strict=True))
            for other in middle:
                position = (other.index - first.index) / (frame.index - first.index)
                moved = [between(face, last[id], position) for face, id in zip(first.faces, first.tracks, strict=True)]
                yield self._found(other, moved, first.tracks)
        else:
            for other in middle:
                found = self._finder.detect(other.image)
                yield self._found(other, found, self._tracker.update(found, other.time_s))
            tracks = self._tracker.update(faces, frame.time_s)
        yield self._found(frame, faces, tracks)

    def look(self, frame: Frame) -> FoundFrame:
        """Return a camera's frame with its faces."""
        faces = self._finder.detect(frame.image)
        return self._found(frame, faces, self._tracker.update(faces, frame.time_s))

    def _found(self, frame: Frame, faces: Sequence[Face], tracks: Sequence[int]) -> FoundFrame:
        crops = self._finder.crops(frame.image, faces)
        return FoundFrame(frame, list(faces), list(tracks), crops, self._tracker.alive(), self._segment)


def is_much(frames: Sequence[Frame]) -> bool:
    """Return whether so many bytes of frames wait that no more should."""
    return sum(frame.image.nbytes for frame in frames) >= MAX_WAITING_BYTES
