"""A mixture has the rows of its parts, each with its own size of image."""

from dataclasses import replace

import numpy as np
import pytest

from fervit.data.dataset import Dataset
from fervit.data.mixtures.mixture import Mixture
from fervit.errors import DataError


def part(name: str, side: int, splits: list[int], labels: tuple[str, ...] = ("happy", "sad")) -> Dataset:
    count = len(splits)
    return Dataset(
        name=name,
        labels=labels,
        images=np.zeros((count, side, side, 1), np.uint8),
        targets=np.arange(count) % 2,
        split_ids=np.array(splits, np.int8),
        rows=np.arange(count),
        data_hash=name,
    )


@pytest.fixture
def mixture() -> Mixture:
    return Mixture((part("a", 48, [0, 0, 1]), part("b", 100, [0, 2])), (1.0, 0.5))


def test_rows_are_those_of_the_parts(mixture: Mixture) -> None:
    assert len(mixture) == 5
    assert mixture.targets.tolist() == [0, 1, 0, 0, 1]
    assert mixture.name == "a + b"
    assert mixture.split_names == ("train", "public_test", "private_test")


def test_a_split_has_the_parts_that_have_it(mixture: Mixture) -> None:
    train, validation = mixture.split("train"), mixture.split("public_test")
    assert [len(p) for p in train.parts] == [2, 1]
    assert train.weights == (1.0, 0.5)
    assert validation.name == "a"
    assert [p.images.shape[1] for p in train.parts] == [48, 100]


def test_an_empty_split_is_named() -> None:
    with pytest.raises(DataError, match=r"a has no public_test images \(it has: train\)"):
        Mixture((part("a", 48, [0]),), (1.0,)).split("public_test")
    with pytest.raises(DataError, match="unknown split"):
        Mixture((part("a", 48, [0]),), (1.0,)).split("test")


def test_rows_are_taken_across_parts(mixture: Mixture) -> None:
    taken = mixture.take(np.array([1, 3]))
    assert [p.rows.tolist() for p in taken.parts] == [[1], [0]]
    assert mixture.take(np.array([4])).name == "b"
    assert mixture.take(mixture.targets == 1).targets.tolist() == [1, 1]


def test_the_hash_depends_on_content_and_weights(mixture: Mixture) -> None:
    other = Mixture(mixture.parts, (1.0, 1.0))
    assert mixture.data_hash != other.data_hash
    assert Mixture(mixture.parts, mixture.weights).data_hash == mixture.data_hash


def test_a_part_alone_has_its_own_hash_and_parts_of_one_name_are_told_apart() -> None:
    alone = part("a", 48, [0])
    assert Mixture((alone,), (1.0,)).data_hash == "a" != Mixture((alone,), (2.0,)).data_hash
    assert Mixture((alone, part("b", 8, [0]), part("a", 8, [0])), (1.0,) * 3).part_names == ("a", "b", "a (2)")


def test_joined_rows_have_their_labels_and_no_pixels(mixture: Mixture) -> None:
    whole = mixture.joined()
    assert whole.targets.tolist() == mixture.targets.tolist()
    assert whole.split_ids.tolist() == [0, 0, 1, 0, 2]
    assert len(whole.images) == 5 and whole.images.size == 0 and whole.votes is None
    alone = part("a", 48, [0])
    assert Mixture((alone,), (1.0,)).joined() is alone
    voted = replace(alone, votes=np.array([[0.25, 0.75]], np.float32))
    assert Mixture((voted, part("b", 8, [0])), (1.0, 1.0)).joined().votes.tolist() == [[0.25, 0.75], [0, 0]]  # type: ignore[union-attr]


def test_labels_must_agree() -> None:
    with pytest.raises(DataError, match="b has the labels sad, happy, and a happy, sad"):
        Mixture((part("a", 8, [0]), part("b", 8, [0], ("sad", "happy"))), (1.0, 1.0))
    with pytest.raises(DataError, match="expected a weight for each of one or more data sets"):
        Mixture((), ())
