"""Faces found and cut out: one definition for photos, videos and the service."""

import io
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image as Pillow

from fervit.errors import ImageError
from fervit.faces.base import shrink, to_faces
from fervit.faces.detectors import make_detector
from fervit.faces.finder import FaceFinder
from fervit.media.crops import crop_face, resize_crop
from fervit.media.images import read_image
from fervit.media.scaled import ScaledPhoto, read_scaled
from fervit.types import Box, Face, ModelSpec
from tests.helpers.photos import Corners, photo


def test_every_face_has_its_crop_at_the_models_size(tiny_spec: ModelSpec) -> None:
    image = photo(3)
    found = FaceFinder(Corners(), tiny_spec).find(image)
    assert found.total == len(found.faces) == 3
    for face, crop in zip(found.faces, found.crops, strict=True):
        expected = resize_crop(crop_face(image, face.box, tiny_spec.preprocess), tiny_spec.preprocess)
        np.testing.assert_array_equal(crop, expected)


def test_of_many_faces_the_first_are_kept_and_all_counted(tiny_spec: ModelSpec) -> None:
    found = FaceFinder(Corners(), tiny_spec).find(photo(5), most=2)
    assert (len(found.faces), len(found.crops), found.total) == (2, 2, 5)
    assert FaceFinder(Corners(), tiny_spec).find(photo(0)).faces == []


def test_a_crop_is_the_whole_image_without_margin(tiny_spec: ModelSpec) -> None:
    image = photo(2)
    by_call = FaceFinder(Corners(), tiny_spec).find(image, crop=True)
    by_detector = FaceFinder(make_detector("none"), tiny_spec).find(image)
    for found in (by_call, by_detector):
        assert [face.box.to_list() for face in found.faces] == [[0, 0, 80, 60]] and found.total == 1
        np.testing.assert_array_equal(found.crops[0], resize_crop(image, tiny_spec.preprocess))


def test_a_face_that_is_required_and_missing_is_an_image_error(tiny_spec: ModelSpec) -> None:
    finder = FaceFinder(Corners(), tiny_spec)
    assert len(finder.require(photo(1), "a.jpg")) == 1
    with pytest.raises(ImageError, match=r"no face found in a\.jpg; .*--crop"):
        finder.require(photo(0), "a.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg of 1600 x 60 pixels; cut the face out of it, and add --crop"):
        finder.require(np.tile(photo(0), (1, 20, 1)), "a.jpg")


class Counting:
    """A detector double that records how many calls run at once."""

    def __init__(self, parallel: bool):
        self.parallel, self.most = parallel, 0
        self._running, self._lock = 0, threading.Lock()

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(0.05)
        with self._lock:
            self._running -= 1
        return [[] for _ in images]


@pytest.mark.parametrize("parallel", [False, True])
def test_a_detector_is_called_twice_at_once_only_where_it_allows_it(parallel: bool, tiny_spec: ModelSpec) -> None:
    detector = Counting(parallel)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(FaceFinder(detector, tiny_spec).detect, [photo(0)] * 4))
    assert (detector.most > 1) == parallel


class Square:
    """A detector double that shrinks photos, and finds a bright square in what is left of them."""

    shrinks = True
    parallel = True

    def __init__(self, *, landmarks: np.ndarray | None = None) -> None:
        self.max_side_px, self.min_face_px, self.marks = 480, 20, landmarks
        self.landmarks = landmarks is not None

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> list[Face]:
        small = shrink(image, self.max_side_px)
        ys, xs = np.nonzero(small[:, :, 0] > 128)
        marks = None if self.marks is None or not len(xs) else self.marks * np.ptp(xs) + (xs.min(), ys.min())
        found = [Face(Box(xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), 0.95, marks)] if len(xs) else []
        return to_faces(found, image, small, self.min_face_px, 0.5)


def large(side: int, width: int = 2048, height: int = 1536) -> bytes:
    """A JPEG with a bright square of `side` px, whose columns have a pattern."""
    image = np.zeros((height, width, 3), np.uint8)
    image[400 : 400 + side, 640 : 640 + side] = 192 + 32 * np.sin(np.arange(side) / side * 20)[None, :, None]
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.mark.parametrize("side", [1000, 400, 200, 90])
@pytest.mark.parametrize("width", [2048, 2041])
def test_a_large_photo_gives_what_the_whole_one_does(tiny_spec: ModelSpec, side: int, width: int) -> None:
    finder, data = FaceFinder(Square(), tiny_spec), large(side, width)
    whole, reduced = finder.find(read_image(data)), finder.find_in(data)
    assert reduced.size == whole.size == (width, 1536)
    assert reduced.total == 1
    np.testing.assert_allclose(reduced.faces[0].box.to_list(), whole.faces[0].box.to_list(), atol=6)  # 1.5 px of 480
    (expected,) = finder.crops(read_image(data), reduced.faces)
    assert reduced.crops[0].shape == expected.shape
    assert np.abs(reduced.crops[0].astype(float) - expected).mean() < 3


def test_a_large_photo_is_decoded_as_large_as_its_faces_need(
    tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def noting(source: bytes, least_px: int) -> ScaledPhoto:
        photo = read_scaled(source, least_px)
        read.append(photo.factor)
        return photo

    monkeypatch.setattr("fervit.faces.finder.read_scaled", noting)
    input_px = tiny_spec.preprocess.image_size
    for sides, expected in [(6.5, [4]), (4.0, [4, 2]), (2.0, [4, 1])]:
        read.clear()
        FaceFinder(Square(), tiny_spec).find_in(large(round(sides * input_px)))
        assert read == expected
    read.clear()
    tilted = np.array([[0.2, 0.3], [0.8, 0.6], [0.4, 0.6], [0.1, 0.7], [0.5, 0.9]])
    assert len(FaceFinder(Square(landmarks=tilted), tiny_spec).find_in(large(800)).faces) == 1
    assert read == [4, 1]  # it is turned, for which every px counts


def test_a_detector_that_needs_whole_photos_gets_them(tiny_spec: ModelSpec) -> None:
    class Whole(Square):
        shrinks = False

    data = large(1000)
    found, expected = (
        FaceFinder(Whole(), tiny_spec).find_in(data),
        FaceFinder(Whole(), tiny_spec).find(read_image(data)),
    )
    np.testing.assert_array_equal(found.crops[0], expected.crops[0])
    by_crop = FaceFinder(Square(), tiny_spec).find_in(data, crop=True)
    assert by_crop.faces[0].box.to_list() == [0, 0, 2048, 1536]
