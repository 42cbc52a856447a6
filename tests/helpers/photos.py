"""Noise photos whose first pixel says how many faces they have, and a detector double that reads it."""

from collections.abc import Sequence

import numpy as np

from fervit.types import Box, Face


class Corners:
    """A detector double: as many 20 px faces as the first pixel's red says."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        return [
            [Face(Box(10 * k, 0, 10 * k + 20, 20), 0.9 - k / 100) for k in range(image[0, 0, 0])] for image in images
        ]


def photo(faces: int, seed: int = 0) -> np.ndarray:
    """Return a `(60, 80, 3)` photo in which `Corners` finds so many faces."""
    image = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image[0, 0, 0] = faces
    return image
