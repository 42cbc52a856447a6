"""Faces found and cut out: one definition for photos, videos and the service."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fervit.errors import ImageError
from fervit.faces.detectors import make_detector
from fervit.inference.face_finder import FaceFinder
from fervit.media.crops import crop_face, resize_crop
from fervit.types import Face, ModelSpec
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
