"""What must hold when a case is read: a result of the promised form, or a `FervitError` of one line."""

import contextlib
import itertools
import math
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from unittest import mock

import numpy as np

import fervit.media.video as videos
from fervit.data.decode import Shape, common_shape, decode
from fervit.errors import FervitError
from fervit.inference.recognizer import Recognizer
from fervit.media.images import MAX_PIXELS, read_image
from fervit.media.video import probe, read_frames
from fervit.types import Frame, Image, Prediction
from tests.helpers.fuzzing.cases import Case

MAX_FRAMES = 100  # of a video; a damaged header may make it an endless one
MOST_TOTAL_S = 3.0  # processor time for all frames of a video, each of which may take `MOST_CPU_S`
if TYPE_CHECKING:
    from fervit.serve.finder import Finder

MOST_CPU_S = 2.0  # processor time of one reading, all threads together; waiting is limited by the watchdog
MAX_MESSAGE = 400  # characters, and the file's name
T = TypeVar("T")
READ, REFUSED = "read", "refused"


class Broken(Exception):
    """What was returned, or the message of an error, is not what was promised."""


def limit_cpu(seconds: float) -> None:
    """End this process by SIGPROF when it has used so much more processor time; 0 takes the limit away."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


@dataclass(frozen=True)
class Checker:
    """Reads cases in every way that users can.

    Attributes:
        recognizer: detects and classifies faces.
        read_image: decodes a path or bytes; a broken one takes its place to test the test.
        finder: finds faces in a request's bytes as the service does; None where its packages are not installed.
    """

    recognizer: Recognizer
    read_image: Callable[[Path | bytes], Image] = read_image
    finder: "Finder | None" = None

    def check(self, case: Case, path: Path) -> str:
        """Read the case's file; return `READ` if any reader could, else `REFUSED`.

        Raises:
            Broken: a promise is not kept.
            Exception: whatever a reader raises that it must not.
        """
        ways = [self._image(case, path)]
        if case.is_video or case.seed % 16 == 0:
            ways += self._video(case, path)
        return READ if READ in ways else REFUSED

    def _image(self, case: Case, path: Path) -> str:
        image, error = attempt(lambda: self.read_image(path), path)
        again, other = attempt(lambda: self.read_image(case.data))
        if (error is None) != (other is None):
            raise Broken(f"read by its path: {error or 'an image'}; from its bytes: {other or 'an image'}")
        attempt(lambda: decode(case.data, common_shape([case.data], None)))
        attempt(lambda: decode(case.data, Shape(48, 48, 1 + 2 * (case.seed % 2))))
        if self.finder is not None and case.seed % 4 == 1:
            limit_cpu(MOST_CPU_S)
            found = self.finder.find(case.data)
            if found.refusal is not None and not " ".join(found.refusal).isprintable():
                raise Broken(f"a refusal of one line was expected, got {found.refusal}")
        if image is None or again is None:
            return REFUSED
        check_image(image)
        if not np.array_equal(image, again):
            raise Broken("read by its path and from its bytes it shows different pixels")
        limit_cpu(MOST_CPU_S)
        check_predictions(self.recognizer(image, crop=case.seed % 3 == 0))
        return READ

    def _video(self, case: Case, path: Path) -> list[str]:
        ways = [_frames(path)]
        if case.seed % 4 == 0:
            attempt(lambda: self._recognized(path), path)
        with mock.patch.object(videos, "find_spec", return_value=None):  # as where PyAV is not installed
            return [*ways, _frames(path)]

    def _recognized(self, path: Path) -> None:
        results = self.recognizer.video(path)
        for result in _some(results):
            check_predictions(result.predictions)


def attempt(read: Callable[[], T], path: Path | None = None) -> tuple[T | None, str | None]:
    """Return what `read` returns, or the message by which it refuses, which must be one line that names `path`.

    The error itself would hold the image that it was about in memory.

    Raises:
        Broken: the message is not.
    """
    limit_cpu(MOST_CPU_S)
    try:
        return read(), None
    except FervitError as error:
        message = str(error)
        limit = MAX_MESSAGE + (len(str(path)) if path else 0)
        if not message.isprintable() or not 0 < len(message) <= limit:
            raise Broken(f"a message of one printable line was expected, got {message[:1000]!r}") from error
        if path is not None and path.name not in message:
            raise Broken(f"a message that names the file was expected, got {message!r}") from error
        return None, message


def _frames(path: Path) -> str:
    """Read a video's header and its frames, each or neither of which may be readable."""
    attempt(lambda: _probed(path), path)

    _, error = attempt(lambda: check_frames(_some(read_frames(path))), path)
    return READ if error is None else REFUSED


def _some(items: Generator[T]) -> Iterator[T]:
    """Yield the first `MAX_FRAMES` items, or as many as `MOST_TOTAL_S` allows; each has the time of one reading."""
    start = time.process_time()
    with contextlib.closing(items):
        for item in itertools.islice(items, MAX_FRAMES):
            yield item
            if time.process_time() - start > MOST_TOTAL_S:
                break
            limit_cpu(MOST_CPU_S)


def _probed(path: Path) -> None:
    info = probe(path)
    if not (0 < info.rate < math.inf and 0 <= (info.duration_s or 0) < math.inf):
        raise Broken(f"a finite rate and duration were expected, got {info}")


def check_image(image: Image) -> None:
    """Check the form of a decoded image.

    Raises:
        Broken: it is another.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not 0 < image.size <= 3 * MAX_PIXELS:
        raise Broken(f"a (H, W, 3) uint8 image was expected, got {image.shape} {image.dtype}")


def check_frames(frames: Iterable[Frame]) -> None:
    """Check that a video's frames are images, numbered from 0, at times that do not go back.

    Raises:
        Broken: they are not, or there is none.
    """
    last_s, index = 0.0, -1
    for index, frame in enumerate(frames):
        check_image(frame.image)
        if frame.index != index or not last_s <= frame.time_s < math.inf:
            raise Broken(f"frame {frame.index} at {frame.time_s} s came as the {index}th after one at {last_s} s")
        last_s = frame.time_s
    if index < 0:
        raise Broken("a frame or an error was expected, got neither")


def check_predictions(predictions: Sequence[Prediction]) -> None:
    """Check that boxes are finite and that probabilities sum to 1.

    Raises:
        Broken: they do not.
    """
    for prediction in predictions:
        box = prediction.face.box.to_list()
        if not (np.isfinite(box).all() and abs(float(prediction.probs.sum()) - 1) < 1e-3):
            raise Broken(f"a face with a finite box and probabilities was expected, got {prediction.to_dict()}")
