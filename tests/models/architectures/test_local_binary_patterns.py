"""Local binary patterns of a model's own input."""

import numpy as np
import pytest
import torch
from PIL import Image

from fervit.models.architectures.local_binary_patterns import local_binary_patterns, to_levels
from tests.helpers.patterns import as_input, blocky

# Bit k of a code belongs to the neighbour, from the centre: 0 right, 1 up right, 2 up, 3 up left, 4 left, ...
HAND = [
    [10, 20, 30, 20, 10],
    [20, 50, 40, 50, 20],
    [30, 40, 45, 60, 30],
    [20, 50, 60, 50, 20],
    [10, 20, 30, 20, 10],
]


def codes_of(images: np.ndarray) -> np.ndarray:
    codes: np.ndarray = local_binary_patterns(to_levels(as_input(images)))[:, 0].numpy().astype(np.uint8)
    return codes


def test_a_hand_worked_example_has_its_codes() -> None:
    codes = codes_of(np.array(HAND, np.uint8)[None, :, :, None])[0]
    # centre 45: right 60, up right 50, up left 50, down left 50, down 60, down right 50; not up 40, not left 40
    assert codes[2, 2] == 0b11101011
    # centre 50 at (1, 1): all of 40, 30, 20, 10, 20, 30, 40, 45 are darker
    assert codes[1, 1] == 0
    # centre 10 in the corner: beyond the border are copies of itself and of its brighter neighbours
    assert codes[0, 0] == 255
    # centre 30 at (0, 2): not left and right 20; above is the copy 20 30 20, so only its middle; below 50 40 50
    assert codes[0, 2] == 0b11100100


def test_codes_equal_those_of_scikit_image_where_it_does_not_interpolate() -> None:
    texture = pytest.importorskip("skimage.feature")
    rng = np.random.default_rng(0)
    images = np.concatenate([rng.integers(0, 256, (3, 32, 32, 1), dtype=np.uint8), blocky(3, 32, 1)])
    ours = codes_of(images)[:, 1:-1, 1:-1]  # scikit-image sees black beyond the border
    for image, code in zip(images[..., 0], ours, strict=True):
        # radius 1 meets the pixels of the four sides (bits 0, 2, 4, 6), radius sqrt(2) those of the corners
        sides, corners = (
            texture.local_binary_pattern(image, 8, radius)[1:-1, 1:-1].astype(np.uint8) for radius in (1, 2**0.5)
        )
        np.testing.assert_array_equal(code & 0b01010101, sides & 0b01010101)
        np.testing.assert_array_equal(code & 0b10101010, corners & 0b10101010)


def test_levels_are_those_of_pillow_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (1, 400, 400, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(colour[0]).convert("L"))
    np.testing.assert_array_equal(to_levels(as_input(colour))[0, 0].numpy(), expected)
    greys = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_levels(as_input(greys))[0, 0].numpy(), greys[0, :, :, 0])


def test_levels_stay_in_range_when_pixels_do_not() -> None:
    levels = to_levels(torch.linspace(-3, 3, 25).view(1, 1, 5, 5).expand(-1, 3, -1, -1))
    assert levels.min() == 0
    assert levels.max() == 255


@pytest.mark.parametrize("level", [0, 1, 85, 127, 128, 254, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_image_has_one_code(level: int, channels: int) -> None:
    images = np.full((2, 32, 32, channels), level, np.uint8)
    assert (codes_of(images) == 255).all()


def test_codes_do_not_change_with_brightness() -> None:
    image = np.random.default_rng(0).integers(40, 200, (1, 24, 24, 1), dtype=np.uint8)
    np.testing.assert_array_equal(codes_of(image + 50), codes_of(image))
