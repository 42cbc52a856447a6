from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fervit.data.dataset import PRIVATE_TEST, SPLITS, TRAIN
from fervit.data.synthetic.canvas import COVERS, draw_scene
from fervit.data.synthetic.dataset import (
    ACTION_UNITS,
    DEFAULT_COUNT,
    PROTOTYPES,
    action_units,
    draw_face,
    parse_synthetic,
    synthesize,
)
from fervit.data.synthetic.face import render
from fervit.data.synthetic.shape import HAIR_STYLES, Shape, draw_identity, face_shape
from fervit.errors import DataError
from fervit.labels import FER7


def shapes(label, people=12):
    """Every variant of an expression's prototype at full strength, on several people."""
    for k in range(people):
        person = draw_identity(np.random.default_rng(k))
        for variant in PROTOTYPES[label]:
            yield face_shape(person, variant)


def bend(shape: Shape):
    """How far the mouth's corners hang below its middle."""
    return shape.mouth.corners_y - shape.mouth.centre_y


def openness(shape: Shape):
    return float(np.mean([(eye.lower[:, 1] - eye.upper[:, 1]).max() for eye in shape.eyes]))


def inner_brow_y(shape: Shape):
    return float(np.mean([eye.brow[0, 1] for eye in shape.eyes]))


def mean_of(measure, label):
    return np.mean([measure(shape) for shape in shapes(label)])


def test_a_data_set_has_the_form_of_fer2013():
    data = synthesize(35)
    assert data.images.shape == (35, 48, 48, 1)
    assert data.images.dtype == np.uint8
    assert data.targets.dtype == np.int64
    assert data.split_ids.dtype == np.int8
    assert data.rows.tolist() == list(range(35))
    assert data.labels == FER7
    assert data.name == "synthetic:35"
    assert data.split_names == SPLITS
    assert len(data.sources) == 35
    assert len(data.data_hash) == 64


def test_the_same_seed_draws_the_same_faces():
    one, two = synthesize(21, seed=3), synthesize(21, seed=3)
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.targets, two.targets)
    assert one.data_hash == two.data_hash


def test_another_seed_draws_other_faces():
    one, two = synthesize(7, seed=0), synthesize(7, seed=1)
    assert one.data_hash != two.data_hash
    assert (one.images != two.images).mean() > 0.8


@pytest.mark.parametrize("count", [1, 10, 28])
def test_a_smaller_data_set_is_the_beginning_of_a_larger_one(count):
    small, large = synthesize(count, seed=2), synthesize(42, seed=2)
    np.testing.assert_array_equal(small.images, large.images[:count])
    np.testing.assert_array_equal(small.targets, large.targets[:count])
    np.testing.assert_array_equal(small.split_ids, large.split_ids[:count])


def test_classes_are_balanced_in_every_split_and_shuffled():
    data = synthesize(280, size_px=8)
    for name in data.split_names:
        counts = np.bincount(data.split(name).targets, minlength=7)
        assert len(set(counts.tolist())) == 1
    orders = data.targets.reshape(-1, 7)
    assert len({tuple(order) for order in orders.tolist()}) > 30


def test_the_splits_share_out_seventy_fifteen_fifteen_percent():
    data = synthesize(280, size_px=8)
    assert np.bincount(data.split_ids).tolist() == [196, 42, 42]


def test_no_person_stands_in_two_splits():
    data = synthesize(280, size_px=8)
    people = [set(data.split(name).sources) for name in SPLITS]
    assert sum(len(p) for p in people) == len(set.union(*people)) == 40


@pytest.mark.parametrize("label", FER7)
def test_every_expression_draws_at_any_size(label):
    for size_px in (48, 224):
        face = draw_face(label, np.random.default_rng(0), size_px=size_px)
        assert face.shape == (size_px, size_px)
        assert face.dtype == np.uint8
        assert face.std() > 8


def test_a_face_is_the_same_face_at_another_size():
    kwargs = {"intensity": 1.0, "variation": 0.0}
    small = draw_face("happy", np.random.default_rng(5), size_px=48, **kwargs).astype(float)
    large = draw_face("happy", np.random.default_rng(5), size_px=96, **kwargs).astype(float)
    again = large.reshape(48, 2, 48, 2).mean((1, 3))
    assert np.corrcoef(again.ravel(), small.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("cover", COVERS)
@pytest.mark.parametrize("hair_style", HAIR_STYLES)
def test_every_cover_and_hair_style_can_be_painted(cover, hair_style):
    rng = np.random.default_rng(1)
    person = replace(draw_identity(rng), hair_style=hair_style, beard=0.8, moustache=0.8, glasses=True)
    shape = face_shape(person, action_units("surprise", rng))
    plain = replace(draw_scene(rng, 0.5), cover="none")
    one = render(person, shape, plain, rng=np.random.default_rng(2))
    two = render(person, shape, replace(plain, cover=cover), rng=np.random.default_rng(2))
    assert ((one != two).mean() > 0.03) == (cover != "none")


def test_few_faces_are_covered():
    rng = np.random.default_rng(0)
    covered = np.mean([draw_scene(rng).cover != "none" for _ in range(2000)])
    assert 0.07 < covered < 0.15
    assert all(draw_scene(rng, 0.0).cover == "none" for _ in range(50))


def test_weak_and_strong_expressions_use_the_units_of_their_prototype():
    rng = np.random.default_rng(0)
    for label in FER7:
        known = set().union(*PROTOTYPES[label])
        for intensity in (0.5, 1.0):
            units = action_units(label, rng, intensity=intensity)
            assert tuple(units) == ACTION_UNITS
            assert all(0 <= value <= 1 for value in units.values())
            assert all(value < 0.2 for unit, value in units.items() if unit not in known)
    strong = np.mean([action_units("happy", rng, intensity=1.0)["12"] for _ in range(50)])
    weak = np.mean([action_units("happy", rng, intensity=0.5)["12"] for _ in range(50)])
    assert strong > 1.5 * weak


def test_smiles_go_up_and_sad_mouths_hang():
    assert max(bend(s) for s in shapes("happy")) < -0.03
    assert min(bend(s) for s in shapes("sad")) > 0.03
    assert abs(mean_of(bend, "neutral")) < 0.02


def test_surprise_opens_the_mouth_and_neutral_does_not():
    assert min(s.mouth.opening for s in shapes("surprise")) > 0.1
    assert max(s.mouth.opening for s in shapes("neutral")) < 0.01


def test_fear_and_surprise_widen_the_eyes_and_disgust_narrows_them():
    rest = mean_of(openness, "neutral")
    assert mean_of(openness, "fear") > 1.3 * rest
    assert mean_of(openness, "surprise") > 1.2 * rest
    assert mean_of(openness, "disgust") < 0.8 * rest


def test_fear_differs_from_surprise_by_a_wide_slot_of_a_mouth():
    def width(shape):
        return float(np.ptp(shape.mouth.inner_upper[:, 0]))

    def opening(shape):
        return shape.mouth.opening

    assert mean_of(width, "fear") > 1.3 * mean_of(width, "surprise")
    assert mean_of(opening, "fear") < 0.7 * mean_of(opening, "surprise")


def test_brows_sink_in_anger_and_their_inner_ends_rise_in_sadness():
    rest = mean_of(inner_brow_y, "neutral")
    assert mean_of(inner_brow_y, "angry") > rest + 0.08
    assert mean_of(inner_brow_y, "sad") < rest - 0.08


def test_disgust_wrinkles_the_nose_and_anger_does_not():
    def across_the_nose(shape):
        return sum(c.depth for c in shape.creases if np.ptp(c.points[:, 0]) < 0.3 and -0.2 < c.points[1, 1] < 0.05)

    assert mean_of(across_the_nose, "disgust") > 1
    assert mean_of(across_the_nose, "angry") == 0


def test_lids_and_lips_never_cross():
    rng = np.random.default_rng(4)
    for k in range(70):
        shape = face_shape(draw_identity(rng), action_units(FER7[k % 7], rng))
        mouth = shape.mouth
        assert (mouth.inner_lower[:, 1] >= mouth.inner_upper[:, 1] - 1e-9).all()
        assert (mouth.outer_lower[:, 1] >= mouth.inner_lower[:, 1] - 1e-9).all()
        assert all((eye.lower[:, 1] > eye.upper[:, 1]).all() for eye in shape.eyes)


def test_a_linear_model_learns_the_expressions_but_not_all_of_them():
    decomposition = pytest.importorskip("sklearn.decomposition")
    linear_model = pytest.importorskip("sklearn.linear_model")

    def flat(data):
        pixels = data.images.reshape(len(data), 24, 2, 24, 2).mean((2, 4)).reshape(len(data), -1)
        pixels -= pixels.mean(1, keepdims=True)
        return pixels / (pixels.std(1, keepdims=True) + 1)

    data = synthesize(840)
    train, test = data.split(TRAIN), data.split(PRIVATE_TEST)
    with threadpool_limits(1):  # at this size threads only wait for each other
        reduce = decomposition.PCA(80, whiten=True, random_state=0, svd_solver="randomized").fit(flat(train))
        model = linear_model.LogisticRegression(C=0.05, max_iter=500)
        model.fit(reduce.transform(flat(train)), train.targets)
        accuracy = model.score(reduce.transform(flat(test)), test.targets)
    assert 0.5 < accuracy < 0.95  # chance is 0.14


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("synthetic", (DEFAULT_COUNT, 0)),
        ("synthetic:700", (700, 0)),
        ("synthetic:700:5", (700, 5)),
        ("fer2013.csv", None),
        ("synthetic.csv", None),
        ("data/synthetic", None),
        ("", None),
    ],
)
def test_names_of_synthetic_data_sets_are_read(source, expected):
    assert parse_synthetic(source) == expected


@pytest.mark.parametrize(
    "source",
    ["synthetic:", "synthetic:abc", "synthetic:0", "synthetic:-7", "synthetic:7:x", "synthetic:7:1:2"],
)
def test_malformed_names_are_refused_with_an_example(source):
    with pytest.raises(DataError, match="synthetic:700"):
        parse_synthetic(source)


def test_values_out_of_range_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="at least 1 face"):
        synthesize(0)
    with pytest.raises(DataError, match="seed"):
        synthesize(7, seed=-1)
    with pytest.raises(DataError, match="happy"):
        draw_face("hapy", rng)
    with pytest.raises(DataError, match="intensity"):
        draw_face("happy", rng, intensity=2.0)
    with pytest.raises(DataError, match="variation"):
        draw_face("happy", rng, variation=-1.0)
    with pytest.raises(DataError, match="8 px"):
        draw_face("happy", rng, size_px=0)
