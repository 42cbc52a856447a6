"""Videos are shown as their display matrix says: turned, mirrored, or both."""

from pathlib import Path

import numpy as np
import pytest

from fervit.media import orientation
from fervit.media.video import read_frames
from tests.helpers.videos import set_matrix, write_video

SIZE = (40, 80)  # height and width of what is stored
RIGHT_ANGLES = [
    (1, 0, 0, 1),
    (-1, 0, 0, 1),  # a front camera
    (1, 0, 0, -1),
    (-1, 0, 0, -1),
    (0, 1, -1, 0),  # a phone held upright
    (0, -1, 1, 0),
    (0, 1, 1, 0),
    (0, -1, -1, 0),
]


def four_colours() -> np.ndarray:
    image = np.full((*SIZE, 3), 250, np.uint8)
    image[:20, :40], image[:20, 40:], image[20:, :40] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    return image


def shown(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Place every pixel by the definition: (x, y) goes to (a x + c y, b x + d y), moved into the image."""
    a, b, c, d = matrix
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    columns, rows = a * x + c * y, b * x + d * y
    columns, rows = columns - columns.min(), rows - rows.min()
    placed = np.empty((rows.max() + 1, columns.max() + 1, 3), np.uint8)
    placed[rows, columns] = image
    return placed


def first_frame(path: Path) -> np.ndarray:
    return next(read_frames(path)).image


@pytest.fixture
def film(tmp_path: Path) -> Path:
    pytest.importorskip("av")
    return write_video(tmp_path / "a.mp4", [(four_colours(), 0.0), (four_colours(), 0.05)])


@pytest.mark.parametrize("matrix", RIGHT_ANGLES)
def test_both_readers_show_a_video_as_its_matrix_says(
    film: Path, reader: str, matrix: tuple[int, int, int, int]
) -> None:
    set_matrix(film, matrix)
    image, expected = first_frame(film), shown(four_colours(), matrix)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 12  # the codec's own loss


def test_the_matrix_of_the_whole_film_counts_too(film: Path, reader: str) -> None:
    set_matrix(film, (0, 1, -1, 0))
    set_matrix(film, (-1, 0, 0, 1), box=b"mvhd")
    expected = shown(shown(four_colours(), (0, 1, -1, 0)), (-1, 0, 0, 1))
    assert np.abs(first_frame(film).astype(int) - expected).mean() < 12


def test_a_turn_by_another_angle_keeps_the_size(film: Path) -> None:
    image = four_colours()
    turned = orientation.upright(image, orientation.from_angle(30))
    assert turned.shape == image.shape and not turned[0, 0].any()
    nearly = orientation.upright(image, orientation.from_angle(90.4))  # within ffmpeg's tolerance of a right angle
    assert np.array_equal(nearly, shown(image, (0, 1, -1, 0)))


def test_a_matrix_that_would_show_nothing_is_ignored(film: Path, reader: str) -> None:
    set_matrix(film, (0, 0, 0, 0))
    assert first_frame(film).shape == (*SIZE, 3)


def test_what_is_no_mp4_or_is_cut_off_has_no_matrix(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    other = tmp_path / "other.mp4"
    header = data.index(b"tkhd")
    for content in (b"", b"\0" * 100, b"\xff" * 100, data[: header + 2]):
        other.write_bytes(content)
        assert orientation.of_mp4(other) is None
    assert orientation.of_mp4(film) == orientation.AS_STORED


def test_boxes_without_number_are_given_up_on(film: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.mp4"
    many.write_bytes(2 * orientation.MOST_BOXES * ((8).to_bytes(4, "big") + b"free") + film.read_bytes())
    assert orientation.of_mp4(many) is None
