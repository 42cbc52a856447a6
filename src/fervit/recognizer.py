"""`Recognizer`: pictures in, what every face shows out. The centre of the run half."""

import importlib
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fervit.detect import AUTO, FaceDetector, WholePicture, make_detector, whole
from fervit.errors import ImageError
from fervit.images import as_image, crop_face, resize_crop, source_name
from fervit.runtime import BATCH_SIZE, OnnxClassifier, default_model
from fervit.types import Face, ModelSpec, Prediction

MAX_WORKERS = 4  # decoding threads; each holds one decoded picture


class Classifier(Protocol):
    """What turns face crops into probabilities: `OnnxClassifier`, or the train half's `TorchClassifier`."""

    spec: ModelSpec

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = ...) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of N uint8 crops."""
        ...


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What was found in one picture of many.

    Attributes:
        source: the path or name it came from.
        predictions: one for each face, most certain face first.
        error: why it could not be read, or None.
        size: `(width, height)` in px, or None when it could not be read.
    """

    source: str
    predictions: list[Prediction] = field(default_factory=list)
    error: str | None = None
    size: tuple[int, int] | None = None


@dataclass
class _Found:
    """One picture between detection and classification; its crops are at model size."""

    source: str
    faces: list[Face] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)
    error: str | None = None
    size: tuple[int, int] | None = None


class Recognizer:
    """A face detector and an expression classifier in one call.

    Args:
        classifier: probabilities of face crops.
        detector: faces of pictures; it is never called from two threads at once.
        workers: decoding threads of `images`; None takes the number of cores, at most four.
    """

    def __init__(self, classifier: Classifier, detector: FaceDetector, *, workers: int | None = None):
        self.classifier, self.detector = classifier, detector
        self.workers = workers or min(MAX_WORKERS, _cores())
        self._detecting = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        """The model's labels, preprocessing and provenance."""
        return self.classifier.spec

    def __call__(self, image: Any, *, crop: bool = False) -> list[Prediction]:
        """Return one prediction for each face of a picture, most certain face first; no face is `[]`.

        Args:
            image: a path, bytes, an open file, a Pillow picture, or an `(H, W, 3)` uint8 RGB array.
            crop: take the whole picture as the face instead of detecting.

        Raises:
            ImageError: the picture cannot be read.
        """
        found = self._find(image, crop=crop)
        return _predictions(found.faces, self.classifier.probs(found.crops), self.spec)

    def images(
        self, sources: Iterable[Any], *, crop: bool = False, batch_size: int = BATCH_SIZE
    ) -> Generator[ImageResult]:
        """Yield a result for each picture, in order, while later ones are decoded.

        Memory does not grow with their number. Faces are batched across pictures. A picture that cannot be
        read gives a result with `error`, and the run goes on.

        Args:
            sources: anything that `__call__` takes; read lazily.
            crop: take each whole picture as the face instead of detecting.
            batch_size: faces classified at once.
        """
        pending: list[_Found] = []
        faces = 0
        for found in self._find_ahead(sources, crop=crop, window=batch_size + self.workers):
            pending.append(found)
            faces += len(found.crops)
            if faces >= batch_size or len(pending) >= batch_size:
                yield from self._classify(pending, batch_size)
                pending, faces = [], 0
        yield from self._classify(pending, batch_size)

    def _classify(self, pending: Sequence[_Found], batch_size: int) -> Iterator[ImageResult]:
        probs = self.classifier.probs([crop for found in pending for crop in found.crops], batch_size=batch_size)
        start = 0
        for found in pending:
            rows = probs[start : start + len(found.crops)]
            start += len(found.crops)
            predictions = _predictions(found.faces, rows, self.spec)
            yield ImageResult(found.source, predictions, found.error, found.size)

    def _find_ahead(self, sources: Iterable[Any], *, crop: bool, window: int) -> Iterator[_Found]:
        """Yield `_find_or_error` of each source in order, computed in threads at most `window` ahead."""
        ahead: deque[Future[_Found]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="fervit-decode")
        try:
            for source in sources:
                ahead.append(pool.submit(self._find_or_error, source, crop))
                if len(ahead) >= window:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _find_or_error(self, source: Any, crop: bool) -> _Found:
        try:
            return self._find(source, crop=crop)
        except ImageError as error:
            return _Found(source_name(source), error=str(error))

    def _find(self, source: Any, *, crop: bool) -> _Found:
        image = as_image(source)
        preprocess = self.spec.preprocess
        if crop or isinstance(self.detector, WholePicture):
            faces, crops = [whole(image)], [image]
        else:
            with self._detecting:
                faces = self.detector.detect([image])[0]
            crops = [crop_face(image, face.box, preprocess) for face in faces]
        # Resized here, in the worker: what waits for its batch is small, whatever the picture's size.
        small = [resize_crop(crop, preprocess) for crop in crops]
        return _Found(source_name(source), list(faces), small, size=(image.shape[1], image.shape[0]))


def load(
    model: str | Path | None = None,
    *,
    detector: str | FaceDetector = AUTO,
    threads: int | None = None,
) -> Recognizer:
    """Return a recognizer: `fervit.load()("photo.jpg")` gives one `Prediction` for each face.

    Args:
        model: an ONNX file, or a model folder (needs `fervit[train]`); None takes the shipped model.
        detector: `auto`, a key of `fervit.detect.DETECTORS`, or a detector of your own.
        threads: CPU threads; None takes all cores.

    Raises:
        ModelError: the model is missing or cannot be read.
        DetectorError: the detector is unknown or not installed.
    """
    finder = make_detector(detector) if isinstance(detector, str) else detector
    return Recognizer(
        open_classifier(model, threads=threads),
        finder,
        workers=None if threads is None else min(MAX_WORKERS, threads),
    )


def open_classifier(model: str | Path | None = None, *, threads: int | None = None) -> Classifier:
    """Open an ONNX file, a model folder (by PyTorch, where it is installed), or the shipped model.

    Raises:
        ModelError: it is missing, cannot be read, or is a folder and PyTorch is not installed.
    """
    path = default_model() if model is None else Path(model)
    if not path.is_dir():
        return OnnxClassifier(path, threads=threads)
    try:
        # The one road from the run half to the train half: by name, so that nothing here needs torch.
        models = importlib.import_module("fervit.models")
    except ImportError:
        return OnnxClassifier(path, threads=threads)  # raises the error that names both ways out
    classifier: Classifier = models.TorchClassifier(path)
    return classifier


def _predictions(faces: Sequence[Face], probs: np.ndarray, spec: ModelSpec) -> list[Prediction]:
    return [Prediction(face, spec.labels, row) for face, row in zip(faces, probs, strict=True)]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
