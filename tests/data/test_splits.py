"""Splits by any name that circulates, and the number that content draws."""

import pytest

from fervit.data.splits import draw, find_split


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


def test_content_draws_a_number() -> None:
    assert 0 <= draw(b"") < 1 and draw(b"a") == draw(b"a") != draw(b"b")
