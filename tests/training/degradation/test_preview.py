"""Drawings of what a recipe's augmentation does."""

import numpy as np
import pytest

from fervit.config.augmentation import DEGRADATIONS, AugmentConfig
from fervit.data.synthetic.dataset import synthesize
from fervit.errors import ConfigError
from fervit.training.degradation.preview import TITLES, augmentation_sheet, tinted

ROW = 50  # 48 px and the gap


@pytest.fixture(scope="module")
def colour() -> np.ndarray:
    return tinted(synthesize(3))


def test_a_row_for_each_change_that_is_on_between_the_faces_and_all_together(colour: np.ndarray) -> None:
    config = AugmentConfig(flip_prob=0.5, rotate_deg=10.0, colour_prob=0.3, noise_prob=0.1)
    sheet = augmentation_sheet(config, colour, size_px=48)
    assert sheet.height == 6 * ROW
    margin = sheet.width - 3 * ROW
    pixels = np.asarray(sheet)
    first = pixels[:48, margin : margin + 48].astype(int)
    np.testing.assert_array_equal(first, colour[0])
    np.testing.assert_array_equal(pixels[ROW : ROW + 48, margin : margin + 48], colour[0][:, ::-1])
    for row in range(2, 5):  # every image of a row is changed, whatever the probability
        for column in range(3):
            x = margin + column * ROW
            changed = np.abs(pixels[row * ROW : row * ROW + 48, x : x + 48].astype(int) - colour[column])
            assert changed.any(), (row, column)


def test_grey_faces_have_no_rows_of_colour() -> None:
    config = AugmentConfig(colour_prob=0.3, grey_prob=0.3, jpeg_prob=0.1)
    assert augmentation_sheet(config, synthesize(2).images, size_px=48).height == 3 * ROW


def test_every_degradation_has_a_title() -> None:
    assert TITLES.keys() == set(DEGRADATIONS)


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ConfigError, match=r"every setting of the recipe's table \[augment\] is off"):
        augmentation_sheet(AugmentConfig(), synthesize(1).images)
