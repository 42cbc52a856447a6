"""`Recognizer`: images in, what every face shows out. The centre of the run half."""

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from fervit.errors import ConfigError, ImageError, check_counts, is_number, quoted
from fervit.faces.base import FaceDetector
from fervit.faces.detectors import fallback_name
from fervit.faces.finder import FaceFinder
from fervit.faces.tracking import PATIENCE_S, Smoother, Tracker
from fervit.inference.ahead import ahead
from fervit.inference.classifier import BATCH_SIZE
from fervit.inference.results import FrameResult, ImageResult
from fervit.inference.videos.following import Follower, FoundFrame, is_much
from fervit.inference.videos.points import ResumePoint
from fervit.media.camera import camera_name, read_camera
from fervit.media.images import ImageLike, source_name
from fervit.media.sources import is_one
from fervit.media.video import read_frames
from fervit.media.videos.opening import VideoSource
from fervit.runtime.ort import cores
from fervit.types import Classifier, Face, ModelSpec, Prediction

MAX_WORKERS = 4  # decoding threads; each holds one decoded image
DETECT_EVERY = 3  # frames of a video; faces between are interpolated
SMOOTH_S = 0.2  # less than an expression takes to form: neutral to happy in about 0.3 s
FRAMES_AHEAD = 4  # between two stages; each may be 6 MB (1080p)
FRAMES_AT_ONCE = 8  # classified together
MAX_WAIT_S = 1.0  # a photo that was read has its result after about so long, even when the batch is not full


@dataclass
class _FoundImage:
    """One image between detection and classification; its crops are at model size."""

    source: str
    faces: list[Face] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)
    error: str | None = None
    size: tuple[int, int] | None = None


class Recognizer:
    """A face detector and an expression classifier in one call.

    Args:
        classifier: probabilities of face crops.
        detector: faces of images; it is called from two threads at once only where it says `parallel`.
        workers: decoding threads of `images`; None takes the number of cores, at most four.
        min_confidence: probability below which the label is `uncertain`, 0..1; `fervit evaluate --precision`
            computes one.

    Raises:
        ConfigError: `min_confidence` is no probability.
    """

    def __init__(
        self,
        classifier: Classifier,
        detector: FaceDetector,
        *,
        workers: int | None = None,
        min_confidence: float = 0.0,
    ):
        if not is_number(min_confidence, 0, 1):
            raise ConfigError(f"expected a probability from 0 to 1 as min_confidence, got {quoted(min_confidence)}")
        for name, part, method in (("classifier", classifier, "probs"), ("detector", detector, "detect")):
            if isinstance(part, type) or not callable(getattr(part, method, None)):
                raise ConfigError(f"expected a {name}, got {quoted(part)}: `fervit.load` makes a recognizer from names")
        if workers is not None:
            check_counts(workers=workers)
        self.classifier, self.detector, self.min_confidence = classifier, detector, min_confidence
        self.finder = FaceFinder(detector, classifier.spec)
        self._fallback = fallback_name(detector)
        self.workers = workers or min(MAX_WORKERS, cores())

    @property
    def spec(self) -> ModelSpec:
        """The model's labels, preprocessing and provenance."""
        return self.classifier.spec

    def __call__(self, image: ImageLike, *, crop: bool = False) -> list[Prediction]:
        """Return one prediction for each face of an image, most confident face first; no face is `[]`.

        Args:
            image: whatever `fervit.media.images.as_image` takes: a path, bytes, an open file, a Pillow image, or an
                RGB array.
            crop: take the whole image as the face instead of detecting.

        Raises:
            ImageError: the image cannot be read.
        """
        found = self._find(image, crop=crop)
        return self._predictions(found.faces, self.classifier.probs(found.crops))

    def images(
        self, sources: Iterable[ImageLike], *, crop: bool = False, batch_size: int = BATCH_SIZE
    ) -> Generator[ImageResult]:
        """Yield a result for each image, in order, while later ones are decoded.

        Memory does not grow with their number. Faces are batched across images. An image that cannot be
        read gives a result with `error`, and the run goes on.

        Args:
            sources: anything that `__call__` takes; read lazily.
            crop: take each whole image as the face instead of detecting.
            batch_size: faces classified at once.

        Raises:
            ConfigError: `batch_size` is no whole number from 1.
            ImageError: `sources` is one image, or no iterable.
        """
        check_counts(batch_size=batch_size)
        if is_one(sources) or not isinstance(sources, Iterable):
            raise ImageError(f"expected several images, got {quoted(sources)}: one is for a call of the recognizer")
        pending: list[_FoundImage] = []
        faces, last_s = 0, time.monotonic()
        for found in self._find_ahead(sources, crop=crop, window=batch_size + self.workers):
            pending.append(found)
            faces += len(found.crops)
            full = faces >= batch_size or len(pending) >= batch_size
            if full or time.monotonic() - last_s > MAX_WAIT_S:
                yield from self._image_results(pending, batch_size)
                pending, faces, last_s = [], 0, time.monotonic()
        yield from self._image_results(pending, batch_size)

    def video(
        self,
        path: VideoSource,
        *,
        every: int = 1,
        detect_every: int = DETECT_EVERY,
        smooth_s: float = SMOOTH_S,
        patience_s: float = PATIENCE_S,
        resume: ResumePoint | None = None,
    ) -> Generator[FrameResult]:
        """Yield a result for each frame of a video file, in order, while later ones are decoded and detected.

        Memory does not grow with the video's length. Detection runs every few frames; where the same faces
        are at both ends, those between are interpolated; otherwise every frame between is detected too. At a cut
        (`Frame.cut`) all tracks end: no face is followed, interpolated or smoothed from one shot into the next.

        Args:
            path: the file, its bytes, or an open binary file.
            every: look only at every so many frames.
            detect_every: frames from one detection to the next, `MAX_WAITING` at most; 1 detects in each.
            smooth_s: time constant of the smoothing of each track's probabilities; 0 is none.
            patience_s: a face that is lost for no longer keeps its track when it comes back, in the same shot, near
                the place where it was and of about the same size.
            resume: go on after a frame whose result had this point (`FrameResult.resume`), with the same options; the
                frames before are decoded only.

        Raises:
            ConfigError: `every` or `detect_every` is no whole number from 1, or `smooth_s` or `patience_s` no time.
            VideoError: it is missing, empty, no video, holds sound only, or has no frame.
        """
        check_counts(every=every, detect_every=detect_every)
        source, smoother, tracker = source_name(path), Smoother(smooth_s), Tracker(patience_s=patience_s)
        if resume is not None:
            tracker.restore(resume.segment.tracker)
            smoother.restore(resume.means)
        segment, start = (None, 0) if resume is None else (resume.segment, resume.segment.start)
        read = read_frames(path, every=every, cuts=True, start=start)
        frames = ahead(read, FRAMES_AHEAD, lambda frame: frame.image.nbytes)
        followed = Follower(self.finder, tracker, detect_every).follow(frames, segment)
        found_ahead = ahead(followed, FRAMES_AHEAD, lambda found: found.frame.image.nbytes)
        pending: list[FoundFrame] = []
        try:
            for found in found_ahead:
                if resume is not None and found.frame.index <= resume.index:
                    continue
                pending.append(found)
                full = len(pending) >= FRAMES_AT_ONCE or is_much([found.frame for found in pending])
                if full or sum(len(found.crops) for found in pending) >= BATCH_SIZE:
                    yield from self._frame_results(source, pending, smoother)
                    pending = []
            yield from self._frame_results(source, pending, smoother)
        finally:
            found_ahead.close()

    def webcam(
        self,
        device: int | str = 0,
        *,
        every: int = 1,
        smooth_s: float = SMOOTH_S,
        patience_s: float = PATIENCE_S,
        reconnect_s: float | None = None,
    ) -> Generator[FrameResult]:
        """Yield a result for a camera's newest frame, again and again; frames that come in between are dropped.

        Ends when the camera does, such as when it is unplugged; one that was named by its address or its file is
        connected to again first.

        Args:
            device: the camera's number, from 0, its file such as `/dev/video2`, or its address (`rtsp://...`).
            every: look only at every so many of the newest frames.
            smooth_s: time constant of the smoothing of each track's probabilities; 0 is none.
            patience_s: as for `video`; a camera's frames are not searched for cuts.
            reconnect_s: for so long it is tried to connect again to a camera that was lost; None is a minute for an
                address or a file, and no time for a number.

        Raises:
            ConfigError: `every` is no whole number from 1, or one of the others is no time.
            VideoError: no such camera.
        """
        check_counts(every=every)
        source, smoother, tracker = camera_name(device), Smoother(smooth_s), Tracker(patience_s=patience_s)
        frames = read_camera(device, reconnect_s=reconnect_s)
        follower = Follower(self.finder, tracker)
        try:
            for frame in itertools.islice(frames, 0, None, every):
                yield from self._frame_results(source, [follower.look(frame)], smoother)
        finally:
            frames.close()

    def _frame_results(self, source: str, pending: Sequence[FoundFrame], smoother: Smoother) -> Iterator[FrameResult]:
        probs = iter(self.classifier.probs([crop for found in pending for crop in found.crops]))
        for found in pending:
            smoother.forget(found.alive)
            predictions = [
                self._prediction(face, smoother(track, next(probs), found.frame.time_s), track)
                for face, track in zip(found.faces, found.tracks, strict=True)
            ]
            # Batches stay what they are only where one ends: there a run can go on with the same numbers.
            point = None
            if found is pending[-1] and found.segment is not None:
                point = ResumePoint(found.frame.index, found.segment, smoother.state())
            yield FrameResult(source, found.frame, predictions, self._fallback, point)

    def _predictions(self, faces: Sequence[Face], probs: np.ndarray) -> list[Prediction]:
        return [self._prediction(face, row) for face, row in zip(faces, probs, strict=True)]

    def _prediction(self, face: Face, probs: np.ndarray, track: int | None = None) -> Prediction:
        return Prediction(face, self.spec.labels, probs, track, self.min_confidence)

    def _image_results(self, pending: Sequence[_FoundImage], batch_size: int) -> Iterator[ImageResult]:
        probs = self.classifier.probs([crop for found in pending for crop in found.crops], batch_size=batch_size)
        start = 0
        for found in pending:
            rows = probs[start : start + len(found.crops)]
            start += len(found.crops)
            predictions = self._predictions(found.faces, rows)
            yield ImageResult(found.source, predictions, found.error, found.size, self._fallback)

    def _find_ahead(self, sources: Iterable[ImageLike], *, crop: bool, window: int) -> Iterator[_FoundImage]:
        """Yield `_find_or_error` of each source in order, computed in threads at most `window` ahead."""
        ahead: deque[Future[_FoundImage]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="fervit-decode")
        try:
            for source in sources:
                ahead.append(pool.submit(self._find_or_error, source, crop))
                if len(ahead) >= window or ahead[0].done():  # one in, one out: the threads never run dry
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _find_or_error(self, source: ImageLike, crop: bool) -> _FoundImage:
        try:
            return self._find(source, crop=crop)
        except ImageError as error:
            return _FoundImage(source_name(source), error=str(error))

    def _find(self, source: ImageLike, *, crop: bool) -> _FoundImage:
        found = self.finder.find_in(source, crop=crop)
        return _FoundImage(source_name(source), found.faces, found.crops, size=found.size)
