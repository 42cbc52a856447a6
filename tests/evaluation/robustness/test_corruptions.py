"""Corrupted images."""

import numpy as np
import pytest

from fervit.data import Dataset, load
from fervit.errors import ConfigError
from fervit.evaluation.robustness.corruptions import CORRUPTIONS, EYES_Y, GREY, JITTERS, MOUTH_Y, SEVERITIES, corrupt

KINDS = [*CORRUPTIONS, *JITTERS]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load("synthetic:210")


def colour(images: np.ndarray) -> np.ndarray:
    tint = np.array([1.0, 0.8, 0.6])
    coloured: np.ndarray = (images * tint).astype(np.uint8)
    return coloured


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_corruption_keeps_shape_and_type_and_repeats(dataset: Dataset, name: str, channels: int) -> None:
    faces = dataset.images[:3] if channels == 1 else colour(dataset.images[:3])
    before = faces.copy()
    for severity in SEVERITIES:
        worse = corrupt(faces, name, severity)
        assert worse.shape == faces.shape and worse.dtype == np.uint8
        np.testing.assert_array_equal(worse, corrupt(faces, name, severity))
        if not (name == "grayscale" and channels == 1):
            assert (worse != faces).any()
    np.testing.assert_array_equal(faces, before)


@pytest.mark.parametrize("name", KINDS)
def test_every_corruption_grows_with_its_severity(dataset: Dataset, name: str) -> None:
    faces = colour(dataset.images[:24]).astype(np.float64)
    change = [np.abs(corrupt(faces.astype(np.uint8), name, s) - faces).mean() for s in SEVERITIES]
    assert change == sorted(change) and change[-1] > 1.3 * change[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_larger_picture_is_corrupted_alike(dataset: Dataset, name: str) -> None:
    import cv2

    small = colour(dataset.images[:12])
    large = np.stack([cv2.resize(face, (144, 144), interpolation=cv2.INTER_CUBIC) for face in small])
    changes = [np.abs(corrupt(faces, name, 3).astype(float) - faces).mean() for faces in (small, large)]
    assert changes[1] == pytest.approx(changes[0], rel=0.5)


@pytest.mark.parametrize("name", KINDS)
def test_tiny_and_oblong_pictures_survive(name: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 8, 8, 3), (1, 30, 17, 1), (1, 1, 1, 3)):
        faces = rng.integers(0, 256, shape, dtype=np.uint8)
        for severity in (1, 5):
            assert corrupt(faces, name, severity).shape == shape


def test_no_pictures_give_no_pictures(dataset: Dataset) -> None:
    assert corrupt(dataset.images[:0], "jpeg", 1).shape == (0, 48, 48, 1)


def test_eyes_and_mouth_are_where_the_bands_lie(dataset: Dataset) -> None:
    for name, middle in (("eyes", EYES_Y), ("mouth", MOUTH_Y)):
        covered = (corrupt(dataset.images[:1], name, 1)[0, :, :, 0] == GREY).all(axis=1)
        assert covered[round(middle * 48)] and 4 <= covered.sum() <= 6
    assert (corrupt(dataset.images[:1], "left-half", 5)[0, :, :24] == GREY).all()
    assert (corrupt(dataset.images[:1], "right-half", 5)[0, :, 24:] == GREY).all()


def test_grayscale_leaves_grey_pictures_and_takes_all_colour_at_last(dataset: Dataset) -> None:
    np.testing.assert_array_equal(corrupt(dataset.images[:2], "grayscale", 5), dataset.images[:2])
    grey = corrupt(colour(dataset.images[:2]), "grayscale", 5)
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize(("name", "severity"), [("blurr", 1), ("jpeg", 0), ("jpeg", 6)])
def test_unknown_corruptions_and_severities_are_refused(dataset: Dataset, name: str, severity: int) -> None:
    with pytest.raises(ConfigError):
        corrupt(dataset.images[:1], name, severity)
