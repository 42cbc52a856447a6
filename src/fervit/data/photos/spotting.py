"""Whole photos among what is taken for face crops: told by a few images' sizes and how much of them a face fills."""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from fervit.errors import DetectorError, ImageError
from fervit.faces.base import FaceDetector
from fervit.faces.detectors import best_detector, make_detector
from fervit.media import pixels
from fervit.media.images import opening

SAMPLED = 12  # images that are looked at, spread evenly: about 30 ms each
LARGEST_CROP_PX = 128  # of the longer side; smaller images are crops, or hold no face that could be cut out
LOOK_PX = 480  # of the longer side at which a face is looked for
PHOTO_FRACTION = 0.5  # a face's longer side by the image's, below which it was not cut out
LONG_PHOTO_FRACTION, LONG_ASPECT = 0.7, 1.2  # of an image that is no square, which squashing distorts besides
LARGE_PHOTO_PX = 500  # an image without a face that is as large as this, and no square, is a photo, too
FEWEST_PHOTOS = 0.25  # of the sampled images, from which on it is said


@dataclass(frozen=True)
class Look:
    """What one image looks like.

    Attributes:
        size: width and height, upright, in px.
        fraction: the longer side of its largest face by its own; None where no face was found.
    """

    size: tuple[int, int]
    fraction: float | None

    @property
    def is_photo(self) -> bool:
        """Whether it is a whole photo rather than a face crop."""
        longer, shorter = max(self.size), min(self.size)
        if longer <= LARGEST_CROP_PX:
            return False
        if self.fraction is None:
            return longer >= LARGE_PHOTO_PX and longer >= LONG_ASPECT * shorter
        return self.fraction < (LONG_PHOTO_FRACTION if longer >= LONG_ASPECT * shorter else PHOTO_FRACTION)


class PhotoSpotter:
    """Looks at some of the images that pass by.

    Args:
        count: how many there are.
        detector: finds faces; None takes the best one that is installed, once there is an image to look at.
    """

    def __init__(self, count: int, detector: FaceDetector | None = None):
        wanted = min(count, SAMPLED)
        self._positions = {k * count // wanted for k in range(wanted)} if wanted else set()
        self._detector = detector
        self.looks: list[Look] = []
        self._looking = True

    def watch(self, contents: Iterable[bytes]) -> Iterator[bytes]:
        """Yield encoded images as they come, and look at those of the sample the first time."""
        looking, self._looking = self._looking, False
        for position, data in enumerate(contents):
            if looking and position in self._positions and (look := self._look(data)) is not None:
                self.looks.append(look)
            yield data

    def note(self, shown: str) -> str | None:
        """Return in words that the images are whole photos and what to do, or None where they are face crops.

        Args:
            shown: what they become, such as `224 x 224 px`.
        """
        photos = [look for look in self.looks if look.is_photo]
        if not photos or len(photos) < FEWEST_PHOTOS * len(self.looks):
            return None
        width, height = max((look.size for look in photos), key=max)
        fractions = [look.fraction for look in photos if look.fraction is not None]
        face = "no face was found on them"
        if fractions:
            face = f"a face takes {100 * statistics.median(fractions):.0f} % of the longer side"
        return (
            f"{len(photos)} of {len(self.looks)} images that were looked at are whole photos (up to {width:,} x "
            f"{height:,} px; {face}) and are squashed to {shown}, while `fervit predict` cuts the face out: add "
            "--detect (in Python: detect=True), or cut them once with `fervit data crop`"
        )

    def _look(self, data: bytes) -> Look | None:
        """Return what an encoded image looks like; None where it cannot be read, which its reader reports."""
        try:
            with opening(data, name="it") as opened:
                width, height = opened.size
                if max(width, height) <= LARGEST_CROP_PX:
                    return Look((width, height), None)
                opened.draft(None, (2 * LOOK_PX, 2 * LOOK_PX))  # a JPEG is decoded at an eighth of its size, or so
                image = pixels.decode(opened, "an image of the data set")
        except ImageError:
            return None
        if (image.shape[0] > image.shape[1]) != (height > width):  # a camera lay on its side
            width, height = height, width
        return Look((width, height), self._fraction(image))

    def _fraction(self, image: np.ndarray) -> float | None:
        scale = LOOK_PX / max(image.shape[:2])
        if scale < 1:
            small = Pillow.fromarray(image).resize(
                (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
            )
            image = np.asarray(small)
        try:
            if self._detector is None:
                self._detector = make_detector(best_detector())  # not `auto`: that Haar stands in would be said
            [faces] = self._detector.detect([image])
        except DetectorError:  # nothing is installed: sizes must do
            return None
        sides = [max(face.box.width, face.box.height) for face in faces]
        return min(1.0, max(sides) / max(image.shape[:2])) if sides else None
