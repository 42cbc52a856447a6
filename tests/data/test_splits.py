"""Splits: by any name that circulates, by content where none is named, and a validation part where there is none."""

from collections.abc import Iterator

import numpy as np
import pytest

from fervit.data.splits import draw, find_split, make_splits

CONTENTS = [f"image {k}".encode() for k in range(1000)]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("Train", "train"), ("TRAINING", "train"), ("training_set", "train"), ("train-data", "train")),
        *(("val", "public_test"), ("Dev", "public_test"), ("validation set", "public_test"), ("eval", "public_test")),
        *(("test", "private_test"), ("test_set", "private_test"), ("PrivateTest", "private_test")),
        *(("angry", None), ("set", None), ("data", None), ("trainer", None)),
    ],
)
def test_a_split_is_known_by_any_name_that_circulates(name: str, split: str | None) -> None:
    assert find_split(name) == split


def test_a_tenth_of_train_becomes_the_validation_part_and_other_splits_stay() -> None:
    given = np.repeat([0, 2], [800, 200]).astype(np.int8)
    made, notes = make_splits(given, lambda: CONTENTS)
    assert 50 <= (made == 1).sum() <= 110
    assert (made[800:] == 2).all() and (given[:800] == 0).all()
    assert notes == [
        f"there is no validation part, so {(made == 1).sum()} of the 800 train images (about a tenth, drawn by a hash "
        "of their content) are public_test"
    ]


def test_an_image_keeps_its_split_when_others_come_and_equal_ones_stay_together() -> None:
    given = np.zeros(1000, np.int8)
    whole, _ = make_splits(given, lambda: CONTENTS)
    half, _ = make_splits(given[:500], lambda: CONTENTS[:500])
    assert (half == whole[:500]).all()
    twice, _ = make_splits(np.zeros(2000, np.int8), lambda: CONTENTS * 2)
    assert (twice[:1000] == twice[1000:]).all()


def test_what_has_a_validation_part_or_no_train_part_is_left_alone_unread() -> None:
    def unread() -> Iterator[bytes]:
        raise AssertionError("the images were read")

    for given in ([0, 1, 2], [1, 2], [2, 2]):
        made, notes = make_splits(np.array(given, np.int8), unread)
        assert made.tolist() == given and notes == []


def test_few_images_have_a_validation_part_too_but_never_lose_all_of_train() -> None:
    for count in range(2, 12):
        made, notes = make_splits(np.zeros(count, np.int8), lambda count=count: CONTENTS[:count])  # type: ignore[misc]
        assert 1 <= (made == 1).sum() < count and len(notes) == 1
    same, notes = make_splits(np.zeros(3, np.int8), lambda: [b"one"] * 3)
    assert same.tolist() == [0, 0, 0] and notes == []
    assert make_splits(np.zeros(1, np.int8), lambda: [b"one"])[0].tolist() == [0]


def test_without_any_split_images_are_divided_by_content_and_this_is_said() -> None:
    made, notes = make_splits(None, lambda: CONTENTS)
    counts = np.bincount(made, minlength=3)
    assert 760 <= counts[0] <= 840 and counts[1:].min() >= 70
    assert len(notes) == 1 and f"train {counts[0]}, public_test {counts[1]}" in notes[0]
    assert 0 <= draw(b"") < 1 and draw(b"a") == draw(b"a") != draw(b"b")
