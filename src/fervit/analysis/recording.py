"""One video's rows as arrays: when each frame begins, for how long it stands, and what each face in it showed."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fervit.analysis.rows import Row, number, text
from fervit.errors import DataError, quoted

GAP_S = 1.0
"""A frame stands until the next one, but at most for so long (or three usual steps); what follows is a gap."""
ALL_FRAMES = frozenset({"error", "box", "faces"})
"""Columns of tables, and keys of JSON lines, in which frames without a face have a row too."""
TRUE = frozenset({"1", "true", "yes"})


@dataclass
class Rows:
    """The rows of one video while they come in: 8 bytes a number, so that an hour of 30 frames a second is 12 MB."""

    source: str
    frames: array = field(default_factory=lambda: array("d"))  # type: ignore[type-arg]
    times: array = field(default_factory=lambda: array("d"))  # type: ignore[type-arg]
    cuts: array = field(default_factory=lambda: array("b"))  # type: ignore[type-arg]
    faces: array = field(default_factory=lambda: array("l"))  # type: ignore[type-arg]
    labels: array = field(default_factory=lambda: array("l"))  # type: ignore[type-arg]
    scores: array = field(default_factory=lambda: array("d"))  # type: ignore[type-arg]
    probs: array = field(default_factory=lambda: array("d"))  # type: ignore[type-arg]
    people: dict[tuple[str, str], int] = field(default_factory=dict)
    complete: bool = False
    track_names: dict[int, dict[str, None]] = field(default_factory=dict)

    def add(self, row: Row, expressions: list[str], classes: Sequence[str]) -> None:
        """Append a row.

        Args:
            row: of a frame of this video.
            expressions: names of labels so far; a label that is new, such as `uncertain`, is appended.
            classes: the model's labels, whose probabilities the row has.

        Raises:
            ValueError: a cell that should be a number is none.
            DataError: the row has a face without probabilities, or no time.
        """
        frame, time = number(row.get("frame")), number(row.get("time_s"))
        if time is None:
            raise DataError(f"a row of {self.source} has no time_s, which tells the frames of a video apart")
        values = [number(row.get(f"p_{name}")) for name in classes]
        probs = [value for value in values if value is not None]
        present = bool(classes) and len(probs) == len(classes)
        label = text(row.get("label"))
        if label is not None and not present:
            raise DataError(f"a row of {self.source} has the label {quoted(label)}, but not every probability p_...")
        if present and label is None:
            label = classes[int(np.argmax(probs))]
        self.frames.append(np.nan if frame is None else frame)
        self.times.append(time)
        self.complete = self.complete or not present or not ALL_FRAMES.isdisjoint(row)
        self.cuts.append(str(row.get("cut") or "").lower() in TRUE or row.get("cut") == 1)
        self.faces.append(self._face(row) if present else -1)
        if label is not None and label not in expressions:
            expressions.append(label)
        self.labels.append(expressions.index(label) if label is not None else -1)
        self.scores.append(number(row.get("face_score")) or 0.0)
        if present:
            self.probs.extend(probs)

    def _face(self, row: Row) -> int:
        track, person = text(row.get("track")), text(row.get("person"))
        key = ("person", person) if person is not None else ("track", track or "0")
        face = self.people.setdefault(key, len(self.people))
        if track is not None:
            self.track_names.setdefault(face, {})[track] = None
        return face


@dataclass(frozen=True, eq=False)
class Presence:
    """One person, or one track, in one video.

    Attributes:
        name: the person's, or `track 3`.
        track: the tracks' numbers, such as `3`, or `1, 4` where one person has several.
        places: `(n,)` positions of the frames that show the face, ascending.
        labels: `(n,)` positions of the labels among the study's expressions.
        probs: `(n, K)` probabilities.
        doubles: how many frames have this person twice; the face with the larger score counts.
    """

    name: str
    track: str
    places: np.ndarray
    labels: np.ndarray
    probs: np.ndarray
    doubles: int = 0


@dataclass(frozen=True, eq=False)
class Recording:
    """One video, frame by frame.

    Attributes:
        source: its name in the rows.
        times: `(F,)` s at which each frame begins, ascending.
        durations: `(F,)` s for which each frame counts.
        hidden: `(F,)` s after each frame in which frames were looked at, but have no row, since no face was in them.
        gaps: `(F,)` whether nothing is known of the time between this frame and the next one.
        cuts: `(F,)` whether the frame is the first after a cut.
        people: in the order of their first frame.
        lead_s: s before the first row, of frames without a face.
    """

    source: str
    times: np.ndarray
    durations: np.ndarray
    hidden: np.ndarray
    gaps: np.ndarray
    cuts: np.ndarray
    people: tuple[Presence, ...]
    lead_s: float = 0.0

    @cached_property
    def video_s(self) -> float:
        """How much of the video was looked at, s: without gaps."""
        return float(self.durations.sum() + self.hidden.sum()) + self.lead_s

    @cached_property
    def gap_s(self) -> float:
        """How much of the time between the first frame and the last is missing, s."""
        steps = np.append(np.diff(self.times), 0.0)
        return float((steps - self.durations)[self.gaps].sum())

    @cached_property
    def face_s(self) -> float:
        """How long any face was in view, s."""
        seen = np.zeros(len(self.times), bool)
        for person in self.people:
            seen[person.places] = True
        return float(self.durations[seen].sum())

    @property
    def start_s(self) -> float:
        """When the first frame begins, s, or the first of those without a face before it."""
        return float(self.times[0]) - self.lead_s

    @property
    def end_s(self) -> float:
        """When the last frame ends, s."""
        return float(self.times[-1] + self.durations[-1])


def make_recording(rows: Rows, classes: int, *, gap_s: float = GAP_S) -> Recording:
    """Return the video of some rows, which may come in any order.

    Args:
        rows: of one video; at least one.
        classes: K, how many probabilities a face has.
        gap_s: see `GAP_S`.
    """
    frames, times = np.array(rows.frames), np.array(rows.times)
    numbers = np.where(np.isnan(frames), -1.0, frames)
    stamps = np.stack([times, numbers], axis=1)  # (n, 2)
    unique, places = np.unique(stamps, axis=0, return_inverse=True)  # (F, 2), by time and then by number
    places = places.reshape(-1)
    cuts = np.zeros(len(unique), bool)
    np.logical_or.at(cuts, places, np.array(rows.cuts, bool))
    faces = np.array(rows.faces)
    durations, hidden, gaps = _durations(unique[:, 0], unique[:, 1], complete=rows.complete, gap_s=gap_s)
    lead = float(unique[0, 0]) if not rows.complete and unique[0, 1] > 0 else 0.0
    probs = np.array(rows.probs).reshape(-1, max(classes, 1))  # of the rows with a face only
    ranks = np.cumsum(faces >= 0) - 1
    people = []
    for (kind, name), face in rows.people.items():
        mine = np.flatnonzero(faces == face)
        # By frame, and in a frame the face with the larger score first.
        order = mine[np.lexsort((-np.array(rows.scores)[mine], places[mine]))]
        once = order[np.unique(places[order], return_index=True)[1]]
        people.append(
            Presence(
                name=name if kind == "person" else f"track {name}",
                track=", ".join(rows.track_names.get(face, {})),
                places=places[once],
                labels=np.array(rows.labels)[once],
                probs=probs[ranks[once]],
                doubles=len(mine) - len(once),
            )
        )
    people.sort(key=lambda person: int(person.places[0]))
    return Recording(rows.source, unique[:, 0], durations, hidden, gaps, cuts, tuple(people), max(lead, 0.0))


def _durations(
    times: np.ndarray, numbers: np.ndarray, *, complete: bool, gap_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for how long each frame counts, the s of hidden frames after it, and whether a gap follows.

    Args:
        times: `(F,)` s, ascending.
        numbers: `(F,)` numbers of the frames; negative where they are not known.
        complete: frames without a face have rows, so that a frame without a row was not looked at.
        gap_s: the longest a frame stands.
    """
    count = len(times)
    hidden, gaps = np.zeros(count), np.zeros(count, bool)
    if count == 1:
        return np.zeros(1), hidden, gaps
    steps = np.diff(times)
    jumps = np.ones(count - 1)
    if (numbers >= 0).all():
        differences = np.diff(numbers)
        found, counts = np.unique(differences[differences > 0], return_counts=True)
        stride = float(found[counts.argmax()]) if len(found) else 1.0  # the most frequent one, as of `--every`
        jumps = np.maximum(differences / stride, 1.0)
    own = steps / np.where(jumps >= 1.5, jumps, 1.0)
    typical = float(np.median(own[own > 0])) if (own > 0).any() else 0.0
    missing = jumps >= 1.5
    if complete:
        gaps[:-1] = missing
    else:
        hidden[:-1] = np.where(missing, steps - own, 0.0)
    long = own > max(gap_s, 3 * typical)
    gaps[:-1] |= long & (hidden[:-1] == 0)
    own = np.where(long & (hidden[:-1] == 0), typical, own)
    return np.append(own, typical), hidden, gaps
