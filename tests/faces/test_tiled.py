"""Detection in tiles."""

from collections.abc import Sequence

import numpy as np

from fervit.faces.base import shrink
from fervit.faces.detectors import make_detector
from fervit.faces.tiled import Tiled
from fervit.types import Box, Face


def test_tiles_find_the_small_faces_of_a_big_photo_once(astronaut: np.ndarray) -> None:
    small = shrink(astronaut[40:220, 130:310], 60)  # a head of about 30 px
    photo = np.full((1600, 2400, 3), 128, np.uint8)
    places = [(x, y) for y in range(60, 1500, 170) for x in range(40, 2300, 110)]
    for x, y in places:
        photo[y : y + 60, x : x + 60] = small
    assert len(places) > 180
    plain, tiled = (make_detector(tile=tile).detect([photo])[0] for tile in (False, True))
    assert len(plain) < 10
    assert len(places) * 0.97 <= len(tiled) <= len(places)


def test_a_face_larger_than_a_tile_is_found_once(astronaut: np.ndarray) -> None:
    big = np.repeat(np.repeat(astronaut, 4, axis=0), 4, axis=1)
    [faces] = make_detector(tile=True).detect([big])
    assert [face.box.iou(Box(712, 264, 1072, 704)) > 0.6 for face in faces].count(True) == 1
    assert all(face.box.iou(Box(712, 264, 1072, 704)) < 0.01 for face in faces[1:])  # no part of it again


class Told:
    """A detector double: what it is told for the whole image, and the boxes of the faces that lie in a tile."""

    def __init__(self, whole: list[Face], faces: list[Box]):
        self.whole, self.faces, self.x = whole, faces, -1

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        [image] = images
        if image.shape[1] > 640:
            return [self.whole]
        at = int(image[0, 0, 0]) * 10  # where the tile begins
        cut = [Box(max(b.x1 - at, 0), b.y1, min(b.x2 - at, 640), b.y2) for b in self.faces]
        return [[Face(box, 0.95) for box in cut if box.x2 - box.x1 > 10]]


def test_a_stray_large_box_hides_no_small_faces_and_a_cut_face_is_not_found_twice() -> None:
    photo = np.broadcast_to((np.arange(1120) // 10).astype(np.uint8)[None, :, None], (640, 1120, 3))
    faces = [Box(100, 100, 140, 140), Box(560, 300, 720, 460)]  # the second one is cut by the first tile's edge
    stray = Face(Box(20, 20, 620, 620), 0.51)
    found = Tiled(Told([stray], faces)).detect([photo])[0]
    assert sorted(face.box.to_list() for face in found) == [box.to_list() for box in faces]
