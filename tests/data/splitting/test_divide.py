"""Dividing images into parts: by label, with units together, and with little moving when images come or go."""

import numpy as np
import pytest

from fervit.data.splitting.divide import divide, join_rows

FRACTIONS = (0.8, 0.1, 0.1)


def alone(targets: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return units of one image each, and what they draw."""
    return np.arange(len(targets)), np.random.default_rng(seed).random(len(targets))


def test_every_label_is_divided_by_the_fractions() -> None:
    targets = np.repeat([0, 1, 2], [1000, 100, 30])
    parts = divide(targets, *alone(targets), FRACTIONS)
    for label, counts in ((0, [800, 100, 100]), (1, [80, 10, 10]), (2, [24, 3, 3])):
        assert np.bincount(parts[targets == label], minlength=3).tolist() == counts


@pytest.mark.parametrize("count", range(1, 30))
def test_few_images_are_in_every_part_that_they_can_be_in(count: int) -> None:
    targets = np.repeat([0, 1], count)
    parts = divide(targets, *alone(targets), FRACTIONS)
    for label in (0, 1):
        counts = np.bincount(parts[targets == label], minlength=3)
        assert counts[0] >= 1 and counts.sum() == count
        assert (counts > 0).sum() == min(count, 3)


def test_a_part_of_nothing_stays_empty() -> None:
    targets = np.repeat([0, 1], [40, 3])
    parts = divide(targets, *alone(targets), (0.9, 0.1, 0.0))
    assert np.bincount(parts).tolist() == [39, 4]
    assert (divide(targets, *alone(targets), (1.0, 0.0, 0.0)) == 0).all()
    assert divide(np.zeros(0, int), np.zeros(0, int), np.zeros(0), FRACTIONS).tolist() == []


def test_when_an_image_comes_or_goes_at_most_one_of_its_label_moves_at_each_cut() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 600)
    _, draws = alone(targets)
    before = divide(targets, np.arange(600), draws, FRACTIONS)
    for row in range(0, 600, 7):
        kept = np.delete(np.arange(600), row)
        after = divide(targets[kept], np.arange(599), draws[kept], FRACTIONS)
        moved = kept[after != before[kept]]
        assert len(moved) <= 2 and (targets[moved] == targets[row]).all()


def test_units_stay_together_and_the_order_of_images_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    units = join_rows(400, [(k, k - 1) for k in range(1, 400) if k % 4])  # fours
    targets = rng.integers(0, 5, 400)
    targets[:200] = np.repeat(rng.integers(0, 5, 50), 4)  # half of the fours have one label each
    draws = rng.random(400)
    parts = divide(targets, units, draws, FRACTIONS)
    assert all(len(set(parts[units == unit])) == 1 for unit in range(100))
    order = rng.permutation(400)
    again = divide(targets[order], np.unique(units[order], return_inverse=True)[1], draws[order], FRACTIONS)
    assert (again == parts[order]).all()
    for label in range(5):
        counts = np.bincount(parts[targets == label], minlength=3) / (targets == label).sum()
        assert abs(counts - FRACTIONS).max() < 0.1, "people with many expressions are divided by label too"


def test_ten_people_with_every_expression_are_eight_one_and_one() -> None:
    units = np.repeat(np.arange(10), 21)
    targets = np.tile(np.repeat(np.arange(7), 3), 10)
    parts = divide(targets, units, np.random.default_rng(0).random(210), FRACTIONS)
    assert np.bincount(parts[::21], minlength=3).tolist() == [8, 1, 1]


def test_a_unit_larger_than_a_part_does_not_take_all_of_it_from_the_rest() -> None:
    units = np.array([0] * 50 + list(range(1, 11)))
    parts = divide(np.zeros(60, int), units, np.linspace(1, 0, 60), FRACTIONS)
    assert (parts[:50] == 0).all() or (parts == 0).sum() >= 8
    assert set(parts.tolist()) == {0, 1, 2}


def test_rows_are_joined_through_others() -> None:
    assert join_rows(6, [(0, 5), (2, 3), (5, 2)]).tolist() == [0, 1, 0, 0, 2, 0]
    assert join_rows(2, []).tolist() == [0, 1]
