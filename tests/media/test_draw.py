"""Annotated images."""

from dataclasses import replace

import numpy as np
import pytest

from fervit.labels import FER7, LABEL_SETS
from fervit.media.draw import annotate
from fervit.media.style.colours import colour
from fervit.types import Box, Face, Prediction


def prediction(*box: float, labels: tuple[str, ...] = FER7, seed: int = 0) -> Prediction:
    probs = np.random.default_rng(seed).dirichlet(np.ones(len(labels)))
    return Prediction(Face(Box(*box), 0.9), labels, probs)


def test_the_source_stays_untouched_and_the_size_is_kept() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    drawn = annotate(image, [prediction(100, 50, 160, 120)])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (image == 128).all()
    assert (drawn != 128).any()


def test_the_number_of_a_track_stands_in_the_panel() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    one, two, none = (annotate(image, [replace(prediction(100, 50, 160, 120), track=track)]) for track in (1, 2, None))
    assert (one != two).any()
    assert (one != none).any()


def test_no_prediction_gives_an_equal_copy() -> None:
    image = np.full((20, 30, 3), 7, np.uint8)
    drawn = annotate(image, [])
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_the_inside_of_a_face_stays_visible() -> None:
    image = np.full((600, 900, 3), 200, np.uint8)
    boxes = [(40 + 170 * k, 200 + 30 * (k % 2), 140 + 170 * k, 310 + 30 * (k % 2)) for k in range(5)]
    drawn = annotate(image, [prediction(*box, seed=k) for k, box in enumerate(boxes)])
    for x1, y1, x2, y2 in boxes:
        assert (drawn[y1 + 12 : y2 - 12, x1 + 12 : x2 - 12] == 200).mean() > 0.97


@pytest.mark.parametrize("background", [0, 255])
def test_the_frame_stands_out_on_dark_and_on_bright(background: int) -> None:
    image = np.full((300, 300, 3), background, np.uint8)
    drawn = annotate(image, [prediction(100, 80, 200, 180)]).astype(int)
    edge = drawn[130, 96:106]
    assert np.abs(edge - background).max() > 120


@pytest.mark.parametrize("shape", [(1, 1), (8, 5), (2000, 20), (48, 48)])
def test_tiny_images_do_not_crash(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    assert annotate(image, [prediction(0, 0, shape[1], shape[0])]).shape == image.shape


@pytest.mark.parametrize("labels", [*LABEL_SETS.values(), ("yes", "no"), ("one",)])
def test_every_label_set_has_its_colours(labels: tuple[str, ...]) -> None:
    assert len({colour(label, labels) for label in labels}) == len(labels)
    annotate(np.zeros((99, 99, 3), np.uint8), [prediction(20, 20, 60, 60, labels=labels)])


def test_an_uncertain_face_is_drawn_too() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    face = Prediction(Face(Box(40, 30, 90, 90), 0.9), FER7, np.full(7, 1 / 7), min_confidence=0.5)
    assert face.label not in FER7
    assert (annotate(image, [face]) > 0).any()


def test_only_what_is_drawn_on_changes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    changed = (annotate(image, [prediction(101, 51, 160, 121)]) != image).any(axis=2)
    assert changed[45:125, 95:165].any()
    assert not changed[300:].any() and not changed[:, 400:].any()
