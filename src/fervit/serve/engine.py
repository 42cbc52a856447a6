"""`Engine`: bytes of an image in, a response out; bounded queue, image processes, micro-batches."""

import asyncio
import io
import logging
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image as Pillow

from fervit.faces.detectors import fallback_name, make_detector
from fervit.faces.tracking import Tracker
from fervit.inference.loading import open_classifier
from fervit.inference.model_files import find_model, model_hash
from fervit.serve.batcher import Batcher
from fervit.serve.finder import Finder, Found, find_in_process, start_process
from fervit.serve.metrics import Metrics
from fervit.serve.problems import Problem, busy
from fervit.serve.settings import Settings
from fervit.types import Classifier, Image, ModelSpec, Prediction, PredictionRow

log = logging.getLogger(__name__)


class ImageRow(TypedDict):
    """What one image shows, as JSON; `schemas.Picture` documents it."""

    width: int
    height: int
    faces: list[PredictionRow]
    faces_found: int
    truncated: bool
    timings_ms: dict[str, float]


class Engine:
    """The model and everything that feeds it.

    Args:
        settings: the limits.
        metrics: where counts go.

    Attributes:
        model_id: the model's name and the first digits of its file's hash.
        card: the model card's Markdown, or None.
        fallback: the detector that stands in for the usual one, or None.
        ready: whether images are accepted.

    Raises:
        ModelError: the model is missing or cannot be read.
        DetectorError: the detector is unknown or not installed.
    """

    def __init__(self, settings: Settings, metrics: Metrics):
        finder = make_detector(settings.detector)  # here, so that a fallback is said once and not by every process
        self.fallback = fallback_name(finder)
        settings = replace(settings, detector=self.fallback or settings.detector)
        self.settings, self.metrics = settings, metrics
        path = find_model(settings.model, revision=settings.revision)
        labels = list(settings.label_map) or None
        self.classifier: Classifier = open_classifier(
            path, threads=settings.threads, runtime=settings.runtime, device=settings.device, label_map=labels
        )
        self.model_id = model_id(path, self.spec)
        self.card = read_card(path)
        self._finder = Finder(settings, self.spec)
        self._pool: Executor | None = None
        self._batcher: Batcher | None = None
        self._decoding = self._admitted = 0
        self._seconds = 0.02  # recent time per image at full load, for Retry-After
        self.ready = False

    @property
    def spec(self) -> ModelSpec:
        """The model's labels, preprocessing and provenance."""
        return self.classifier.spec

    async def start(self) -> None:
        """Start processes and threads, and run the model once."""
        self._pool = self._new_pool()
        self._batcher = Batcher(
            self._probs,
            max_batch=self.settings.max_batch,
            window_s=self.settings.window_s,
            expecting=lambda: self._decoding,
            observe=self.metrics.batch_faces.observe,
        )
        self._batcher.start()
        size = self.spec.preprocess.image_size
        loop = asyncio.get_running_loop()
        image = warm_up_image()
        warm = [
            loop.run_in_executor(self._pool, self._find_call(), image, False) for _ in range(self.settings.processes())
        ]
        await self._batcher.submit([np.zeros((size, size, 3), np.uint8)])
        await asyncio.gather(*warm)
        self.ready = True

    async def close(self) -> None:
        """End processes and threads; what is in work is finished by the server before."""
        self.ready = False
        if self._batcher is not None:
            await self._batcher.close()
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    @contextmanager
    def admitted(self, count: int = 1) -> Iterator[None]:
        """Hold places in the queue for `count` images.

        Raises:
            Problem: 503, the queue is full.
        """
        if not self.ready or self._admitted + count > self.settings.queue:
            retry_s = max(1, math.ceil(self._admitted * self._seconds))
            raise busy(f"{self._admitted} images are waiting; try again in {retry_s} s", retry_s)
        self._admitted += count
        self.metrics.queue.inc(count)
        try:
            yield
        finally:
            self._admitted -= count
            self.metrics.queue.dec(count)

    async def predict(self, data: bytes, *, crop: bool = False, tracker: Tracker | None = None) -> ImageRow:
        """Return the faces of one image.

        Call it inside `admitted()`. With the tracker of a stream, every face gets its `track`.

        Raises:
            Problem: the image is refused, or the response takes longer than `timeout_s`.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                found = await self._find(data, crop)
                if found.refusal is not None:
                    raise Problem(*found.refusal)
                probs, classify_s = await self._classify(found)
        except TimeoutError:
            detail = f"no response within {self.settings.timeout_s:g} s"
            raise Problem("timeout", detail, {"retry-after": "1"}) from None
        total_s = time.perf_counter() - started
        self._note(found, classify_s, total_s)
        tracks = tracker.update(found.faces, started) if tracker else [None] * len(found.faces)
        labels, min_confidence = self.spec.labels, self.settings.min_confidence
        predictions = [
            Prediction(face, labels, row, track, min_confidence)
            for face, row, track in zip(found.faces, probs, tracks, strict=True)
        ]
        stages = {"decode": found.decode_s, "detect": found.detect_s, "classify": classify_s}
        return {
            "width": found.width,
            "height": found.height,
            "faces": [prediction.to_dict() for prediction in predictions],
            "faces_found": found.total,
            "truncated": found.total > len(found.faces),
            "timings_ms": {k: round(1000 * v, 2) for k, v in (*stages.items(), ("total", total_s))},
        }

    async def _find(self, data: bytes, crop: bool) -> Found:
        pool = self._pool
        assert pool is not None
        self._decoding += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, self._find_call(), data, crop)
        except BrokenProcessPool:
            log.error("an image process died; starting new ones")
            if self._pool is pool:
                self._pool = self._new_pool()
            raise busy("an image process ended; try again", 1) from None
        finally:
            self._decoding -= 1

    async def _classify(self, found: Found) -> tuple[np.ndarray, float]:
        assert self._batcher is not None
        if not found.crops:
            return np.empty((0, len(self.spec.labels))), 0.0
        return await self._batcher.submit(found.crops)

    def _probs(self, crops: list[Image]) -> np.ndarray:
        return self.classifier.probs(crops, batch_size=self.settings.max_batch)

    def _find_call(self) -> Callable[[bytes, bool], Found]:
        return find_in_process if self.settings.processes() else self._finder.find

    def _new_pool(self) -> Executor:
        count = self.settings.processes()
        if not count:
            return ThreadPoolExecutor(2, thread_name_prefix="fervit-image")
        return ProcessPoolExecutor(
            count,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_process,
            # The processes that decode hostile bytes get no secret.
            initargs=(
                replace(self.settings, token=None),
                self.spec,
            ),
        )

    def _note(self, found: Found, classify_s: float, total_s: float) -> None:
        stages = (("decode", found.decode_s), ("detect", found.detect_s), ("classify", classify_s))
        for stage, seconds in stages:
            self.metrics.stage_s.labels(stage).observe(seconds)
        self.metrics.faces.inc(len(found.faces))
        self._seconds += 0.1 * (total_s / max(1, self._admitted) - self._seconds)


def warm_up_image() -> bytes:
    """Return a small JPEG: the first one of a process loads the decoder."""
    file = io.BytesIO()
    Pillow.new("RGB", (64, 64)).save(file, "JPEG")
    return file.getvalue()


def model_id(path: Path, spec: ModelSpec) -> str:
    """Return `name@hash` with the first 12 hex digits of the model's SHA-256, see `model_hash`."""
    return f"{spec.name or spec.arch}@{model_hash(path)[:12]}"


def read_card(path: Path) -> str | None:
    """Return the model card: `README.md` in the model folder, or in the folder named like the ONNX file."""
    card = (path if path.is_dir() else path.with_suffix("")) / "README.md"
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None
