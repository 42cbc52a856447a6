"""The synthetic data set: its form, its splits and people, its names, and what a linear model learns of it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fervit.data import Dataset
from fervit.data.dataset import PRIVATE_TEST, SPLITS, TRAIN
from fervit.data.synthetic import dataset as synthetic
from fervit.data.synthetic.dataset import (
    ACTION_UNITS,
    DEFAULT_COUNT,
    PROTOTYPES,
    action_units,
    draw_face,
    drawing_digest,
    drawing_modules,
    parse_synthetic,
    synthesize,
)
from fervit.errors import DataError
from fervit.labels import FER7


@pytest.mark.slow
def test_a_data_set_has_the_form_of_fer2013() -> None:
    data = synthesize(35)
    assert data.images.shape == (35, 48, 48, 1)
    assert data.images.dtype == np.uint8
    assert data.targets.dtype == np.int64
    assert data.split_ids.dtype == np.int8
    assert data.rows.tolist() == list(range(35))
    assert data.labels == FER7
    assert data.name == "synthetic:35"
    assert data.split_names == SPLITS
    assert data.sources is not None and len(data.sources) == 35
    assert len(data.data_hash) == 64


def test_the_same_seed_draws_the_same_faces() -> None:
    one, two = synthesize(21, seed=3), synthesize(21, seed=3)
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.targets, two.targets)
    assert one.data_hash == two.data_hash


def test_another_seed_draws_other_faces() -> None:
    one, two = synthesize(7, seed=0), synthesize(7, seed=1)
    assert one.data_hash != two.data_hash
    assert (one.images != two.images).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 10, 28])
def test_a_smaller_data_set_is_the_beginning_of_a_larger_one(count: int) -> None:
    small, large = synthesize(count, seed=2), synthesize(42, seed=2)
    np.testing.assert_array_equal(small.images, large.images[:count])
    np.testing.assert_array_equal(small.targets, large.targets[:count])
    np.testing.assert_array_equal(small.split_ids, large.split_ids[:count])


@pytest.mark.slow
def test_classes_are_balanced_in_every_split_and_shuffled() -> None:
    data = synthesize(280, size_px=8)
    for name in data.split_names:
        counts = np.bincount(data.split(name).targets, minlength=7)
        assert len(set(counts.tolist())) == 1
    orders = data.targets.reshape(-1, 7)
    assert len({tuple(order) for order in orders.tolist()}) > 30


@pytest.mark.slow
def test_the_splits_share_out_seventy_fifteen_fifteen_percent() -> None:
    data = synthesize(280, size_px=8)
    assert np.bincount(data.split_ids).tolist() == [196, 42, 42]


@pytest.mark.slow
def test_no_person_stands_in_two_splits() -> None:
    data = synthesize(280, size_px=8)
    people = [set(data.split(name).sources or ()) for name in SPLITS]
    assert sum(len(p) for p in people) == len(set.union(*people)) == 40


@pytest.mark.parametrize("label", FER7)
def test_every_expression_draws_at_any_size(label: str) -> None:
    for size_px in (48, 224):
        face = draw_face(label, np.random.default_rng(0), size_px=size_px)
        assert face.shape == (size_px, size_px)
        assert face.dtype == np.uint8
        assert face.std() > 8


def test_a_face_is_the_same_face_at_another_size() -> None:
    small, large = (
        draw_face("happy", np.random.default_rng(5), size_px=size, intensity=1.0, variation=0.0).astype(float)
        for size in (48, 96)
    )
    again = large.reshape(48, 2, 48, 2).mean((1, 3))
    assert np.corrcoef(again.ravel(), small.ravel())[0, 1] > 0.98


def test_weak_and_strong_expressions_use_the_units_of_their_prototype() -> None:
    rng = np.random.default_rng(0)
    for label in FER7:
        known = {unit for variant in PROTOTYPES[label] for unit in variant}
        for intensity in (0.5, 1.0):
            units = action_units(label, rng, intensity=intensity)
            assert tuple(units) == ACTION_UNITS
            assert all(0 <= value <= 1 for value in units.values())
            assert all(value < 0.2 for unit, value in units.items() if unit not in known)
    strong = np.mean([action_units("happy", rng, intensity=1.0)["12"] for _ in range(50)])
    weak = np.mean([action_units("happy", rng, intensity=0.5)["12"] for _ in range(50)])
    assert strong > 1.5 * weak


@pytest.mark.slow
def test_a_linear_model_learns_the_expressions_but_not_all_of_them() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    linear_model = pytest.importorskip("sklearn.linear_model")

    def flat(data: Dataset) -> np.ndarray:
        pixels = data.images.reshape(len(data), 24, 2, 24, 2).mean((2, 4)).reshape(len(data), -1)
        pixels -= pixels.mean(1, keepdims=True)
        return np.asarray(pixels / (pixels.std(1, keepdims=True) + 1))

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
def test_names_of_synthetic_data_sets_are_read(source: str, expected: tuple[int, int] | None) -> None:
    assert parse_synthetic(source) == expected


@pytest.mark.parametrize(
    "source",
    ["synthetic:", "synthetic:abc", "synthetic:0", "synthetic:-7", "synthetic:7:x", "synthetic:7:1:2"],
)
def test_malformed_names_are_refused_with_an_example(source: str) -> None:
    with pytest.raises(DataError, match="synthetic:700"):
        parse_synthetic(source)


def test_values_out_of_range_are_refused() -> None:
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


def test_the_digest_of_the_drawing_code_covers_all_of_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {path.name for path in drawing_modules()}
    assert names == {"__init__.py", "canvas.py", "dataset.py", "face.py", "shape.py"}
    before = drawing_digest()
    assert drawing_digest() == before
    for name in sorted(names):
        copies = [Path(shutil.copy(path, tmp_path)) for path in drawing_modules()]
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"# changed\n")
        with monkeypatch.context() as patch:
            patch.setattr(synthetic, "drawing_modules", lambda copies=copies: copies)
            assert drawing_digest() != before
