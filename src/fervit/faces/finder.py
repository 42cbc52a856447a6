"""`FaceFinder`: the faces of an image, found and cut out as a model expects them. One definition for every caller."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fervit.concurrency import Lock
from fervit.errors import ImageError
from fervit.faces.base import FaceDetector, WholeImage, for_reduced, shrink_copy, whole_image
from fervit.faces.turned import gives_landmarks, set_upright, turn_photo
from fervit.media.crops import crop_face, crop_reduced, has_one_input, shrink_crop, turn_deg
from fervit.media.images import ImageLike, as_image
from fervit.media.scaled import FACTORS, ScaledPhoto, read_scaled, scaled_face
from fervit.types import Face, Image, ModelSpec

_turns: "weakref.WeakKeyDictionary[FaceDetector, Lock]" = weakref.WeakKeyDictionary()
_of_turns = Lock()


REDUCED_SIDES = 1.5  # sides of the model's input that a face must have in a reduced photo to be cut out of it
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
        size: width and height of the image in px.
    """

    faces: list[Face]
    crops: list[Image]
    total: int
    size: tuple[int, int]


class FaceFinder:
    """Finds the faces of images and cuts them out by a model's preprocessing.

    Args:
        detector: it is called from two threads at once only where it says `parallel`.
        spec: the model's, for crop margin, crop offset and input sizes.
        whole: decode large photos whole even where the model's input is smaller, so that crops can be used otherwise.
    """

    def __init__(self, detector: FaceDetector, spec: ModelSpec, *, whole: bool = False):
        self.detector, self.spec, self.whole = detector, spec, whole
        self._turn = _turn_of(detector)
        self._detector_px = int(getattr(detector, "max_side_px", 0))
        self._reduces = getattr(detector, "shrinks", False) and has_one_input(spec) and not whole

    def __reduce__(self) -> tuple[Callable[..., "FaceFinder"], tuple[FaceDetector, ModelSpec]]:
        return functools.partial(FaceFinder, whole=self.whole), (self.detector, self.spec)

    def find(self, image: Image, *, crop: bool = False, most: int | None = None, largest: bool = False) -> FoundFaces:
        """Return the faces of an image with their crops; no face is an empty list.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            crop: the whole image is the face; nothing is detected.
            most: return at most so many faces, the most confident ones.
            largest: return the largest face alone.
        """
        size = (image.shape[1], image.shape[0])
        if crop:
            return FoundFaces([whole_image(image)], [shrink_crop(image, self.spec)], 1, size)
        found = self._detect_turned(self.detector, image)
        faces = _largest(found) if largest else found[:most]
        return FoundFaces(faces, self.crops(image, faces), len(found), size)

    def find_in(
        self, source: ImageLike, *, crop: bool = False, most: int | None = None, largest: bool = False
    ) -> FoundFaces:
        """Read an image and return its faces as `find` does.

        A large JPEG is decoded no larger than the detector sees it, and once more where the model is to see a face of
        it larger than that.

        Args:
            source: whatever `fervit.media.images.as_image` takes.
            crop: as for `find`.
            most: as for `find`.
            largest: as for `find`; its crop is the one that it has among all faces.

        Raises:
            ImageError: it cannot be read.
        """
        if crop or not self._reduces:
            return self.find(as_image(source), crop=crop, most=most, largest=largest)
        photo = read_scaled(source, self._detector_px)
        if photo.factor == 1 or max(photo.image.shape) > 2 * self._detector_px:
            return self.find(photo.image, most=most, largest=largest)
        found = self._faces_of_copy(photo)
        faces = _largest(found) if largest else found[:most]
        needed = min((self._factor(face) for face in (found if largest else faces)), default=photo.factor)
        if needed < photo.factor:
            photo = read_scaled(source, max(photo.size) // needed)
        if photo.factor == 1:
            crops = self.crops(photo.image, faces)
        else:
            preprocess = self.spec.preprocess
            crops = [crop_reduced(photo.image, photo.factor, face.box, preprocess) for face in faces]
        return FoundFaces(faces, crops, len(found), photo.size)

    def _faces_of_copy(self, photo: ScaledPhoto) -> list[Face]:
        """Return the faces of a photo, in its pixels, from a copy of it: as the detector finds them in the photo."""
        small = shrink_copy(photo.image, photo.factor, photo.size, self._detector_px)
        rows, columns = small.shape[:2]
        x, y = photo.size[0] / columns, photo.size[1] / rows
        of_small, of_copy = (for_reduced(self.detector, factor) for factor in (max(x, y), photo.factor))
        height, width = photo.image.shape[:2]
        with self._turn:
            [found] = of_small.detect([small])
            faces = [scaled_face(face, x / photo.factor, y / photo.factor, (width, height)) for face in found]
            if gives_landmarks(self.detector):
                faces = turn_photo(of_copy, photo.image, set_upright(of_copy, photo.image, faces))
        return [scaled_face(face, photo.factor, photo.factor, photo.size) for face in faces]

    def _factor(self, face: Face) -> int:
        """Return by how much a photo may be reduced for a face's crop to be as good as that of the whole photo."""
        if turn_deg(face.landmarks):
            return 1
        side = max(face.box.width, face.box.height)
        wanted = REDUCED_SIDES * self.spec.preprocess.image_size
        return next((factor for factor in FACTORS if side / factor >= wanted), 1)

    def detect(self, image: Image) -> list[Face]:
        """Return the faces of an image, the most confident first."""
        with self._turn:
            return _detect(self.detector, image)

    def _detect_turned(self, detector: FaceDetector, image: Image) -> list[Face]:
        """Return the faces of a photo, which is turned where it shows none: a camera may have lain on its side."""
        with self._turn:
            faces = _detect(detector, image)
            return turn_photo(detector, image, faces) if gives_landmarks(detector) else faces

    def require(self, image: Image, name: object) -> list[Face]:
        """Return the faces of an image that must have some.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            name: the image's, for the message.

        Raises:
            ImageError: there is no face in it.
        """
        faces = self._detect_turned(self.detector, image)
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


def _largest(faces: Sequence[Face]) -> list[Face]:
    return [max(faces, key=lambda face: face.box.area)] if faces else []


def _detect(detector: FaceDetector, image: Image) -> list[Face]:
    [faces] = detector.detect([image])
    return set_upright(detector, image, faces) if gives_landmarks(detector) else faces


def _turn_of(detector: FaceDetector) -> contextlib.AbstractContextManager[None]:
    """Return what guards a detector's calls: one lock for all finders that have it, or none where it needs none."""
    if getattr(detector, "parallel", False):
        return contextlib.nullcontext()
    with _of_turns:
        try:
            return _turns.setdefault(detector, Lock())
        except TypeError:  # a class of the user's that cannot be hashed or referred to weakly
            return Lock()
