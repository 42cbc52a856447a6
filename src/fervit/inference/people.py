"""One person a video, and tracks that are named by whoever knows the people; faces are never told apart by their looks.

Recognising who somebody is needs biometric data (GDPR, article 9), which fervit neither computes nor keeps.
"""

import csv
import io
import math
import os
import pickle
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import IO

import numpy as np

from fervit.errors import ConfigError, DataError, VideoError, quoted, reason, unknown
from fervit.files import as_path
from fervit.inference.results import FrameResult
from fervit.types import Frame, Prediction

COLUMNS = ("source", "track", "person")
DELIMITERS = ",;\t"  # spreadsheets write what their language has
ONE_FACE = ("largest", "central", "longest")
NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class People:
    """Who the tracks of videos are, by the user's own knowledge.

    Attributes:
        path: the file it was read from.
        names: the person by source and track; track None is all of the source's tracks that are not named themselves.
    """

    path: Path
    names: dict[tuple[str, int | None], str]
    _seen: set[tuple[str, int | None]] = field(default_factory=set, repr=False, compare=False)

    def name_of(self, source: str, track: int | None) -> str | None:
        """Return the person whom a track shows, or None where the file does not say.

        Args:
            source: the video as in the rows; the file may also hold its name without the folders.
            track: the id of the track.
        """
        for key in ((source, track), (PurePath(source).name, track), (source, None), (PurePath(source).name, None)):
            if key in self.names:
                self._seen.add(key)
                return self.names[key]
        return None

    def named(self, result: FrameResult) -> FrameResult:
        """Return a result whose predictions have their persons' names."""
        predictions = [replace(p, person=self.name_of(result.source, p.track) or p.person) for p in result.predictions]
        return replace(result, predictions=predictions)

    def matched(self) -> frozenset[tuple[str, int | None]]:
        """Return the entries that matched a face so far."""
        return frozenset(self._seen)

    def note(self, matched: Iterable[tuple[str, int | None]]) -> None:
        """Add entries that matched a face in another process."""
        self._seen.update(matched)

    def unseen(self) -> str | None:
        """Return a line about the entries that no track matched so far, or None."""
        left = [key for key in self.names if key not in self._seen]
        if not left:
            return None
        shown = ", ".join(source if track is None else f"{source} track {track}" for source, track in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        return f"{self.path}: no face was seen of {shown}{more}; sources and tracks are those of the rows"


def read_people(path: str | os.PathLike[str]) -> People:
    """Read a table that says which person each track is: the columns `source`, `track` and `person`.

    An empty track stands for all tracks of its source that have no line of their own.

    Args:
        path: a CSV file, of commas, semicolons or tabs.

    Raises:
        DataError: it cannot be read, lacks a column, or names two people for one track.
    """
    file = as_path(path, "a table of people", DataError)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a table of people: {reason(error)}") from error
    head = text.partition("\n")[0]
    table = csv.DictReader(io.StringIO(text), delimiter=max(DELIMITERS, key=head.count))
    found = [(name or "").strip().lower() for name in table.fieldnames or ()]
    if missing := [name for name in COLUMNS if name not in found]:
        raise DataError(f"{file}: expected the columns {', '.join(COLUMNS)}, missing: {', '.join(missing)}")
    table.fieldnames = found
    names: dict[tuple[str, int | None], str] = {}
    for row in table:
        values = [(row[name] or "").strip() for name in COLUMNS]
        if any(values):
            key, person = _entry(values, f"{file}, line {table.line_num}")
            if names.setdefault(key, person) != person:
                raise DataError(f"{file}, line {table.line_num}: {key[0]} track {values[1]} is {names[key]} already")
    return People(file, names)


def _entry(values: list[str], where: str) -> tuple[tuple[str, int | None], str]:
    source, track, person = values
    if not source or not person:
        raise DataError(f"{where}: expected a source and a person, got {quoted(','.join(values))}")
    try:
        number = float(track) if track else None  # 3.0, as data frames with empty cells write it
    except ValueError:
        number = math.nan
    if number is not None and (not number.is_integer() or number < 1):
        raise DataError(f"{where}: expected a track's number from 1, or nothing for all, got {quoted(track)}")
    return (source, None if number is None else int(number)), person


def check_one_face(which: str | None, *, cameras: bool) -> None:
    """Refuse a choice of one face that is none, or that needs an end where there is a camera.

    Raises:
        ConfigError: see above.
    """
    if which is not None and which not in ONE_FACE:
        raise ConfigError(unknown("choice of one face", which, ONE_FACE))
    if which == "longest" and cameras:
        raise ConfigError("one face, the longest seen, needs a whole video, and a camera has no end: expected largest")


def one_face(
    results: Iterable[FrameResult], which: str, *, frames: Callable[[], Iterable[Frame]] | None = None
) -> Generator[FrameResult]:
    """Yield a video's results with one face a frame at most, whose `person` is the file's name without its ending.

    A person who has been named already keeps the name. `longest` needs the whole video before the first result: what
    was found waits in a temporary file, so that memory does not grow with the length.

    Args:
        results: those of `Recognizer.video`.
        which: `largest` takes the largest face of each frame; `central` the one nearest to its middle; `longest`
            the one whose track, or named person, is seen for the longest time in the whole video.
        frames: reads the same frames again, for `longest`; without it, its results have an empty image.

    Raises:
        ConfigError: `which` is another word.
        VideoError: as `results` does; what was found before it has been yielded then.
    """
    check_one_face(which, cameras=False)
    if which == "longest":
        yield from _longest(results, frames)
        return
    for result in results:
        yield _only(result, _size if which == "largest" else _centrality(result))


def _only(result: FrameResult, value: Callable[[Prediction], float]) -> FrameResult:
    if not result.predictions:
        return result
    best = max(result.predictions, key=lambda prediction: (value(prediction), _size(prediction)))
    return replace(result, predictions=[replace(best, person=best.person or PurePath(result.source).stem)])


def _size(prediction: Prediction) -> float:
    return prediction.face.box.area


def _centrality(result: FrameResult) -> Callable[[Prediction], float]:
    height, width = result.frame.image.shape[:2]

    def value(prediction: Prediction) -> float:
        box = prediction.face.box
        return -math.hypot((box.x1 + box.x2 - width) / 2, (box.y1 + box.y2 - height) / 2)

    return value


def _longest(results: Iterable[FrameResult], frames: Callable[[], Iterable[Frame]] | None) -> Generator[FrameResult]:
    error: VideoError | None = None
    with tempfile.TemporaryFile(prefix="fervit-") as kept:
        clock = _Clock()
        try:
            for result in results:
                clock.add(result)
                # Which face is the longest is known at the end only: no result before it is one to go on from.
                pickle.dump(replace(result, frame=replace(result.frame, image=NO_IMAGE), resume=None), kept)
        except VideoError as caught:
            error = caught
        clock.close()
        kept.seek(0)
        images = None if frames is None else iter(frames())
        for result in _read(kept, clock.frames):
            chosen = _only(result, lambda prediction: clock.seconds[_key(prediction)])
            yield chosen if images is None else replace(chosen, frame=read_again(images, result.frame))
    if error is not None:
        raise error


def _read(kept: IO[bytes], count: int) -> Iterator[FrameResult]:
    for _ in range(count):
        result: FrameResult = pickle.load(kept)  # written by this process, into a file that has no name
        yield result


def read_again(images: Iterator[Frame], frame: Frame) -> Frame:
    """Return a frame with its image, which is read a second time.

    Args:
        images: reads the frames, in order.
        frame: the one that is wanted.

    Raises:
        VideoError: there is no such frame any more.
    """
    for other in images:
        if other.index == frame.index:
            return replace(frame, image=other.image)
    raise VideoError(f"frame {frame.index} could not be read a second time: the file has changed meanwhile")


def _key(prediction: Prediction) -> str | int | None:
    return prediction.person or prediction.track


class _Clock:
    """For how long each track or person is seen; a frame is shown until the next one."""

    def __init__(self) -> None:
        self.seconds: dict[str | int | None, float] = defaultdict(float)
        self.frames = 0
        self._last_s = self._step_s = 0.0
        self._shown: list[str | int | None] = []

    def add(self, result: FrameResult) -> None:
        time_s = result.frame.time_s
        if self.frames:
            self._step_s = time_s - self._last_s
            self.close()
        self._shown = [_key(prediction) for prediction in result.predictions]
        self.frames, self._last_s = self.frames + 1, time_s

    def close(self) -> None:
        """Count the last frame, which is shown as long as the one before it."""
        for key in self._shown:
            self.seconds[key] += self._step_s
        self._shown = []
