"""`FaceFinder`: the faces of an image, found and cut out as a model expects them. One definition for every caller."""

import contextlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from fervit.concurrency import Lock
from fervit.errors import ImageError
from fervit.faces.base import FaceDetector, WholeImage, whole_image
from fervit.faces.turned import gives_landmarks, set_upright, turn_photo
from fervit.media.crops import crop_face, shrink_crop
from fervit.types import Face, Image, ModelSpec

_turns: "weakref.WeakKeyDictionary[FaceDetector, Lock]" = weakref.WeakKeyDictionary()
_of_turns = Lock()


LARGE_PX = 1280  # a photo's longer side from which a face of 40 px may be too small to be found in the shrunk photo


def may_hide_faces(size: tuple[int, int] | None) -> bool:
    """Return whether a photo of `(width, height)` px is so large that small faces are found by `Tiled` only."""
    return size is not None and max(size) >= LARGE_PX


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """The faces of one image.

    Attributes:
        faces: the most confident first.
        crops: one for each of `faces`, uint8 RGB, as small as the model's inputs allow.
        total: how many faces were found, of which `faces` are the first.
    """

    faces: list[Face]
    crops: list[Image]
    total: int


class FaceFinder:
    """Finds the faces of images and cuts them out by a model's preprocessing.

    Args:
        detector: it is called from two threads at once only where it says `parallel`.
        spec: the model's, for crop margin, crop offset and input sizes.
    """

    def __init__(self, detector: FaceDetector, spec: ModelSpec):
        self.detector, self.spec = detector, spec
        self._turn = _turn_of(detector)

    def __reduce__(self) -> tuple[type["FaceFinder"], tuple[FaceDetector, ModelSpec]]:
        return FaceFinder, (self.detector, self.spec)

    def find(self, image: Image, *, crop: bool = False, most: int | None = None) -> FoundFaces:
        """Return the faces of an image with their crops; no face is an empty list.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            crop: the whole image is the face; nothing is detected.
            most: return at most so many faces, the most confident ones.
        """
        if crop:
            return FoundFaces([whole_image(image)], [shrink_crop(image, self.spec)], 1)
        found = self._detect_turned(image)
        faces = found[:most]
        return FoundFaces(faces, self.crops(image, faces), len(found))

    def detect(self, image: Image) -> list[Face]:
        """Return the faces of an image, the most confident first."""
        with self._turn:
            return self._detect(image)

    def _detect(self, image: Image) -> list[Face]:
        [faces] = self.detector.detect([image])
        return set_upright(self.detector, image, faces) if gives_landmarks(self.detector) else faces

    def _detect_turned(self, image: Image) -> list[Face]:
        """Return the faces of a photo, which is turned where it shows none: a camera may have lain on its side."""
        with self._turn:
            faces = self._detect(image)
            return turn_photo(self.detector, image, faces) if gives_landmarks(self.detector) else faces

    def require(self, image: Image, name: object) -> list[Face]:
        """Return the faces of an image that must have some.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            name: the image's, for the message.

        Raises:
            ImageError: there is no face in it.
        """
        faces = self._detect_turned(image)
        if not faces:
            height, width = image.shape[:2]
            if may_hide_faces((width, height)):
                raise ImageError(
                    f"no face found in {name} of {width} x {height} pixels; cut the face out of it, and add --crop"
                )
            raise ImageError(f"no face found in {name}; for an image that is a face crop already, add --crop")
        return faces

    def cut(self, image: Image, face: Face) -> Image:
        """Return a face's crop in the image's own resolution: the whole image where nothing is detected."""
        if isinstance(self.detector, WholeImage):
            return image
        return crop_face(image, face.box, self.spec.preprocess, face.landmarks)

    def crops(self, image: Image, faces: Sequence[Face]) -> list[Image]:
        """Return the faces' crops, made small because they wait for their batch."""
        return [shrink_crop(self.cut(image, face), self.spec) for face in faces]


def _turn_of(detector: FaceDetector) -> contextlib.AbstractContextManager[None]:
    """Return what guards a detector's calls: one lock for all finders that have it, or none where it needs none."""
    if getattr(detector, "parallel", False):
        return contextlib.nullcontext()
    with _of_turns:
        try:
            return _turns.setdefault(detector, Lock())
        except TypeError:  # a class of the user's that cannot be hashed or referred to weakly
            return Lock()
