"""What the face detectors share: shrinking, and the step from boxes to faces."""

import numpy as np
import pytest
from PIL import Image as Pillow

from fervit.faces.base import shrink, to_faces
from fervit.types import Box, Face


def test_small_faint_and_doubled_boxes_are_dropped() -> None:
    image, small = np.zeros((200, 400, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)
    marks = np.full((5, 2), 30.0)
    found = [
        Face(Box(10, 10, 50, 50), 0.7),
        Face(Box(12, 12, 52, 52), 0.9, marks),
        Face(Box(100, 10, 105, 15), 0.9),
        Face(Box(150, 50, 190, 90), 0.2),
        Face(Box(150, 80, 220, 120), 0.6),
    ]
    faces = to_faces(found, image, small, min_face_px=20, min_score=0.5)
    assert [face.box.to_list() for face in faces] == [[24, 24, 104, 104], [300, 160, 400, 200]]
    assert faces[0].landmarks is not None and (faces[0].landmarks == 60).all()
    assert faces[1].landmarks is None


def test_shrinking_keeps_the_ratio_and_small_images_as_they_are() -> None:
    assert shrink(np.zeros((1000, 500, 3), np.uint8), 100).shape == (100, 50, 3)
    assert shrink(np.zeros((10, 9000, 3), np.uint8), 100).shape == (1, 100, 3)
    assert shrink(np.zeros((30, 40, 3), np.uint8)[:, ::2], 100).flags.c_contiguous


@pytest.mark.parametrize("factor", [1.3, 2, 3.1, 5, 16])
def test_shrinking_does_not_alias(factor: float) -> None:
    stripes = np.zeros((480, 480, 3), np.uint8)
    stripes[:, ::2] = 255  # what is too fine for the result must become grey, not coarser stripes
    small = shrink(stripes, round(480 / factor)).astype(float)
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), np.uint8)
    if factor >= 2:
        assert np.abs(small.mean(axis=(0, 2)) - 127.5).max() < 10
    assert shrink(noise, round(480 / factor)).std() < 74 / max(1.0, factor / 2)


def test_shrinking_is_as_good_as_a_wide_filter(astronaut: np.ndarray) -> None:
    for side in (400, 200, 90):
        wide = Pillow.fromarray(astronaut).resize((side, side), Pillow.Resampling.BOX)
        assert np.abs(shrink(astronaut, side) - np.asarray(wide, float)).mean() < 4
