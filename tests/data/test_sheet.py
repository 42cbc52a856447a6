"""Contact sheets: where images and rows go."""

import numpy as np

from fervit.data.sheet import contact_sheet, dataset_sheet
from tests.helpers import faces


def test_contact_sheet_places_images_row_by_row() -> None:
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * 10 + np.zeros((5, 4, 6, 1), np.uint8)
    sheet = contact_sheet(images, columns=3)
    assert sheet.size == (3 * 8 - 2, 2 * 6 - 2)
    assert [int(np.asarray(sheet)[y, x, 0]) for y in (0, 6) for x in (0, 8, 16)] == [0, 10, 20, 30, 40, 255]
    assert contact_sheet(images, columns=3, scale=2).size == (3 * 14 - 2, 2 * 10 - 2)
    assert contact_sheet(images, columns=3, captions=["a"] * 5).height > sheet.height
    assert contact_sheet(images[:0]).height == 1
    assert contact_sheet(np.zeros((2, 4, 4, 3), np.uint8)).mode == "RGB"


def test_data_set_sheet_has_a_row_per_label() -> None:
    assert dataset_sheet(faces()).height == 7 * 66
