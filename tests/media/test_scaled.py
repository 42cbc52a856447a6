"""Photos that are decoded no larger than they are needed."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from fervit.errors import ImageError
from fervit.media.images import read_image
from fervit.media.scaled import factor_for, read_scaled, scaled_face
from fervit.types import Box, Face

ORIENTATION = 0x0112


def smooth(width: int, height: int) -> Pillow.Image:
    """A photo without detail below 8 px, so that its reduced copy loses none."""
    rng = np.random.default_rng(0)
    small = Pillow.fromarray(rng.integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), np.uint8))
    return small.resize((width, height), Pillow.Resampling.BICUBIC)


def saved(image: Pillow.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "JPEG", "quality": 95} | options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("size", "least", "factor"),
    [((4032, 3024), 480, 8), ((3024, 4032), 505, 4), ((960, 200), 480, 2), ((959, 959), 480, 1), ((10, 10), 480, 1)],
)
def test_the_longer_side_keeps_what_is_needed(size: tuple[int, int], least: int, factor: int) -> None:
    assert factor_for(size, least) == factor


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("height", [320, 321, 322])
def test_a_copy_is_upright_and_looks_like_the_photo(orientation: int, height: int) -> None:
    image = smooth(640, height)
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    data = saved(image, exif=exif)
    whole, copy = read_image(data), read_scaled(data, 160)
    assert copy.size == whole.shape[1::-1]
    factor = copy.factor
    assert factor == (4 if orientation == 1 else {320: 4, 321: 1, 322: 2}[height])
    rows, columns = (side // factor for side in whole.shape[:2])
    inner = whole[: rows * factor, : columns * factor].astype(float)
    means = inner.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))
    assert np.abs(copy.image[:rows, :columns] - means).mean() < 2


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_are_rgb(mode: str) -> None:
    data = saved(smooth(640, 320).convert(mode))
    copy = read_scaled(data, 160)
    small = Pillow.fromarray(read_image(data)).reduce(4)
    assert np.abs(copy.image.astype(float) - np.asarray(small)).mean() < 2


def test_what_cannot_be_reduced_is_decoded_whole(tmp_path: Path) -> None:
    image = smooth(640, 320)
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(image))
    for source in (saved(image, format="PNG"), np.asarray(image), image, io.BytesIO(saved(image))):
        whole = read_scaled(source, 160)
        assert (whole.factor, whole.size, whole.image.shape) == (1, (640, 320), (320, 640, 3))
    assert read_scaled(path, 160).factor == read_scaled(str(path), 160).factor == 4
    np.testing.assert_array_equal(read_scaled(path, 641).image, read_image(path))


def test_a_broken_photo_is_the_same_error(tmp_path: Path) -> None:
    data = saved(smooth(640, 320))
    for broken in (data[: len(data) // 2], b"", b"text"):
        with pytest.raises(ImageError) as whole:
            read_image(broken)
        with pytest.raises(ImageError) as copy:
            read_scaled(broken, 160)
        assert str(copy.value) == str(whole.value)
    with pytest.raises(ImageError, match="does not exist"):
        read_scaled(tmp_path / "none.jpg", 160)


def test_a_face_is_scaled_and_cut_off_at_the_edge() -> None:
    marks = np.array([[1.0, 2.0]] * 5)
    face = scaled_face(Face(Box(1, 2, 30, 41), 0.9, marks), 8, 4, (239, 160))
    assert face.box == Box(8, 8, 239, 160)
    assert face.landmarks is not None and face.landmarks[0].tolist() == [8, 8]
