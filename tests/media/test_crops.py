"""Cropping, shrinking and preprocessing."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.media.crops import crop_face, preprocess_batch, resize_crop, roll_deg
from fervit.types import Box, Preprocess

HALF = Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = Preprocess(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")
FRONTAL = np.array([[35, 40], [65, 40], [50, 55], [40, 70], [60, 70]], float)  # eyes, nose, mouth; 100 px square


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_a_crop_is_square_with_margin_and_offset() -> None:
    image = noise(100, 120, 3)
    preprocess = Preprocess(32, (0.5,) * 3, (0.5,) * 3, crop_margin=0.25, crop_offset=0.1)
    crop = crop_face(image, Box(40, 30, 60, 50), preprocess)
    np.testing.assert_array_equal(crop, image[27:57, 35:65])
    assert crop_face(image, Box(40, 30, 50, 50), HALF).shape == (20, 20, 3)


def test_a_crop_beyond_the_edge_repeats_the_edge() -> None:
    image = noise(10, 12, 3)
    crop = crop_face(image, Box(-4, -2, 4, 6), HALF)
    np.testing.assert_array_equal(crop, np.pad(image, ((2, 0), (4, 0), (0, 0)), "edge")[:8, :8])
    assert crop_face(image, Box(50, 50, 60, 60), HALF).shape == (10, 10, 3)
    assert crop_face(image, Box(3, 3, 3, 3), HALF).shape == (1, 1, 3)


@pytest.mark.parametrize("preprocess", [HALF, IMAGENET], ids=["bilinear", "bicubic"])
def test_preprocessing_equals_the_image_processor_of_transformers(preprocess: Preprocess, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True, "do_rescale": True, "do_normalize": True,
        "size": {"height": preprocess.image_size, "width": preprocess.image_size},
        "resample": {"bilinear": 2, "bicubic": 3}[preprocess.interpolation],
        "image_mean": preprocess.mean, "image_std": preprocess.std,
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    rng = np.random.default_rng(0)
    sizes = [(32, 32), (48, 48), (7, 9), (200, 131), *rng.integers(4, 90, (4, 2)).tolist()]
    colour = [noise(h, w, 3, seed=k) for k, (h, w) in enumerate(sizes)]
    grey = [noise(h, w, seed=k) for k, (h, w) in enumerate(sizes)]
    for crops in (colour, grey, [crop[..., None] for crop in grey], [*colour, *grey]):
        images = [Image.fromarray(crop.squeeze()).convert("RGB") for crop in crops]
        expected = processor(images, return_tensors="np")["pixel_values"]
        actual = preprocess_batch(crops, preprocess)
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_an_array_of_crops_equals_the_list_of_them() -> None:
    crops = noise(5, 48, 48, 1)
    np.testing.assert_array_equal(preprocess_batch(crops, IMAGENET), preprocess_batch(list(crops), IMAGENET))
    assert preprocess_batch([], IMAGENET).shape == (0, 3, 32, 32)


def test_resizing_twice_changes_nothing() -> None:
    once = resize_crop(noise(50, 40, 3), IMAGENET)
    np.testing.assert_array_equal(resize_crop(once, IMAGENET), once)


def turned(points: np.ndarray, degrees: float, centre: float) -> np.ndarray:
    """Turn points clockwise as seen in an image."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: np.ndarray = (points - centre) @ matrix + centre
    return turned


@pytest.mark.parametrize("degrees", [-40, -15, 0, 25, 60])
def test_roll_is_read_from_the_landmarks(degrees: float) -> None:
    assert roll_deg(turned(FRONTAL, degrees, 50)) == pytest.approx(degrees, abs=1e-6)
    narrow = FRONTAL * (0.4, 1) + (30, 0)  # a face half turned away
    assert roll_deg(turned(narrow, degrees, 50)) == pytest.approx(degrees, abs=1e-6)


def test_a_tilted_face_is_cut_upright() -> None:
    dots = np.zeros((200, 200, 3), np.uint8)
    for x, y in FRONTAL.round().astype(int) + 50:
        dots[y - 3 : y + 4, x - 3 : x + 4] = 255
    tilted = np.asarray(Image.fromarray(dots).rotate(-30, Image.Resampling.BICUBIC))
    box, preprocess = Box(50, 50, 150, 150), Preprocess(96, (0.5,), (0.5,))
    crop = crop_face(tilted, box, preprocess, turned(FRONTAL + 50, 30, 100))
    expected = crop_face(dots, box, preprocess)
    assert crop.shape == expected.shape == (100, 100, 3)
    as_found = crop_face(tilted, box, preprocess)
    assert np.abs(crop.astype(int) - expected).mean() < 0.35 * np.abs(as_found.astype(int) - expected).mean()


def test_a_tilted_face_at_the_edge_and_a_tiny_one_do_not_crash() -> None:
    marks = turned(FRONTAL, 45, 50)
    for box in (Box(-20, -30, 40, 30), Box(0, 0, 1, 1), Box(90, 90, 130, 150)):
        crop = crop_face(noise(100, 100, 3), box, Preprocess(32, (0.5,), (0.5,), crop_margin=0.2), marks)
        assert crop.shape[0] == crop.shape[1] >= 1


def test_a_slight_tilt_is_left_alone() -> None:
    image, box = noise(200, 200, 3), Box(50, 50, 150, 150)
    np.testing.assert_array_equal(
        crop_face(image, box, HALF, turned(FRONTAL + 50, 8, 100)), crop_face(image, box, HALF)
    )
