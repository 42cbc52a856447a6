"""Points in a video from which it can be gone on with, as if there had been no interruption."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fervit.errors import DataError, reason
from fervit.faces.tracking import TrackedFace, TrackerState
from fervit.types import Box, Face


@dataclass(frozen=True, eq=False)
class Detected:
    """The faces of one frame.

    Attributes:
        index: the frame's.
        faces: what was detected in it.
        tracks: the id of each face's track.
    """

    index: int
    faces: tuple[Face, ...]
    tracks: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Segment:
    """What is known before the frames up to the next detection are looked at.

    Attributes:
        start: index of the first of these frames.
        first: the detection before them, or None at the beginning of a shot.
        tracker: the tracks by then.
    """

    start: int
    first: Detected | None
    tracker: TrackerState


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """All that the results after a frame depend on, beside the frames themselves (`FrameResult.resume`).

    Whatever was detected since `segment` is detected again; so a point is small, and the frame numbers after it have
    the same results as in a run without an interruption, to the last bit.

    Attributes:
        index: the frame; the results of all up to it are known.
        segment: from where faces are followed again.
        means: the smoothed probabilities of each track, and their times (`Smoother.state`).
    """

    index: int
    segment: Segment
    means: Mapping[int, tuple[np.ndarray, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `from_dict` reads back, bit by bit."""
        first, tracker = self.segment.first, self.segment.tracker
        return {
            "index": self.index,
            "start": self.segment.start,
            "first": None
            if first is None
            else {
                "index": first.index,
                "faces": [_face_out(face) for face in first.faces],
                "tracks": list(first.tracks),
            },
            "next_track": tracker.next_id,
            "looked_s": tracker.looked_s if math.isfinite(tracker.looked_s) else None,
            "tracks": [[t.id, _out(t.place), t.seen_s, _out(t.velocity)] for t in tracker.tracks],
            "means": [[track, _out(mean), time_s] for track, (mean, time_s) in self.means.items()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ResumePoint":
        """Build from a JSON object.

        Raises:
            DataError: it is none that `to_dict` made.
        """
        try:
            first = values["first"]
            looked_s = values["looked_s"]
            tracker = TrackerState(
                tuple(TrackedFace(int(t[0]), _in(t[1]), float(t[2]), _in(t[3])) for t in values["tracks"]),
                int(values["next_track"]),
                -math.inf if looked_s is None else float(looked_s),
            )
            seen = None
            if first is not None:
                faces = tuple(_face_in(face) for face in first["faces"])
                seen = Detected(int(first["index"]), faces, tuple(map(int, first["tracks"])))
            means = {int(m[0]): (_in(m[1]), float(m[2])) for m in values["means"]}
            return cls(int(values["index"]), Segment(int(values["start"]), seen, tracker), means)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(
                f"expected a point from which a video goes on, got something else: {reason(error)}"
            ) from error


def _out(array: np.ndarray) -> list[Any]:
    """Return the type and the values of an array; JSON's numbers hold those of float32 and float64 exactly."""
    return [array.dtype.name, array.tolist()]


def _in(values: Any) -> np.ndarray:
    kind, numbers = values
    return np.array(numbers, np.dtype(str(kind)))


def _face_out(face: Face) -> dict[str, Any]:
    box = np.array([face.box.x1, face.box.y1, face.box.x2, face.box.y2])
    marks = None if face.landmarks is None else _out(face.landmarks)
    return {"box": _out(box), "score": _out(np.array(face.score)), "landmarks": marks}


def _face_in(values: Mapping[str, Any]) -> Face:
    marks, score = values["landmarks"], _in(values["score"])
    # Numbers of the type that the detector gave: what is computed with others has other last digits.
    return Face(Box(*_in(values["box"])), score[()], None if marks is None else _in(marks))  # type: ignore[arg-type]
