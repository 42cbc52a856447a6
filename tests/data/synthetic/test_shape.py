"""Geometry: what the action units of each expression do to eyes, brows, mouth and wrinkles."""

from collections.abc import Callable, Iterator

import numpy as np

from fervit.data.synthetic.dataset import PROTOTYPES, action_units
from fervit.data.synthetic.shape import Shape, draw_identity, face_shape
from fervit.labels import FER7


def shapes(label: str, people: int = 12) -> Iterator[Shape]:
    """Every variant of an expression's prototype at full strength, on several people."""
    for k in range(people):
        person = draw_identity(np.random.default_rng(k))
        for variant in PROTOTYPES[label]:
            yield face_shape(person, variant)


def bend(shape: Shape) -> float:
    """How far the mouth's corners hang below its middle."""
    return shape.mouth.corners_y - shape.mouth.centre_y


def openness(shape: Shape) -> float:
    return float(np.mean([(eye.lower[:, 1] - eye.upper[:, 1]).max() for eye in shape.eyes]))


def inner_brow_y(shape: Shape) -> float:
    return float(np.mean([eye.brow[0, 1] for eye in shape.eyes]))


def mean_of(measure: Callable[[Shape], float], label: str) -> float:
    return float(np.mean([measure(shape) for shape in shapes(label)]))


def test_smiles_go_up_and_sad_mouths_hang() -> None:
    assert max(bend(s) for s in shapes("happy")) < -0.03
    assert min(bend(s) for s in shapes("sad")) > 0.03
    assert abs(mean_of(bend, "neutral")) < 0.02


def test_surprise_opens_the_mouth_and_neutral_does_not() -> None:
    assert min(s.mouth.opening for s in shapes("surprise")) > 0.1
    assert max(s.mouth.opening for s in shapes("neutral")) < 0.01


def test_fear_and_surprise_widen_the_eyes_and_disgust_narrows_them() -> None:
    rest = mean_of(openness, "neutral")
    assert mean_of(openness, "fear") > 1.3 * rest
    assert mean_of(openness, "surprise") > 1.2 * rest
    assert mean_of(openness, "disgust") < 0.8 * rest


def test_fear_differs_from_surprise_by_a_wide_slot_of_a_mouth() -> None:
    def width(shape: Shape) -> float:
        return float(np.ptp(shape.mouth.inner_upper[:, 0]))

    def opening(shape: Shape) -> float:
        return shape.mouth.opening

    assert mean_of(width, "fear") > 1.3 * mean_of(width, "surprise")
    assert mean_of(opening, "fear") < 0.7 * mean_of(opening, "surprise")


def test_brows_sink_in_anger_and_their_inner_ends_rise_in_sadness() -> None:
    rest = mean_of(inner_brow_y, "neutral")
    assert mean_of(inner_brow_y, "angry") > rest + 0.08
    assert mean_of(inner_brow_y, "sad") < rest - 0.08


def test_disgust_wrinkles_the_nose_and_anger_does_not() -> None:
    def across_the_nose(shape: Shape) -> float:
        across = (c for c in shape.creases if np.ptp(c.points[:, 0]) < 0.3 and -0.2 < c.points[1, 1] < 0.05)
        return sum(crease.depth for crease in across)

    assert mean_of(across_the_nose, "disgust") > 1
    assert mean_of(across_the_nose, "angry") == 0


def test_lids_and_lips_never_cross() -> None:
    rng = np.random.default_rng(4)
    for k in range(70):
        shape = face_shape(draw_identity(rng), action_units(FER7[k % 7], rng))
        mouth = shape.mouth
        assert (mouth.inner_lower[:, 1] >= mouth.inner_upper[:, 1] - 1e-9).all()
        assert (mouth.outer_lower[:, 1] >= mouth.inner_lower[:, 1] - 1e-9).all()
        assert all((eye.lower[:, 1] > eye.upper[:, 1]).all() for eye in shape.eyes)
