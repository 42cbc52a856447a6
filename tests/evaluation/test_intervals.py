"""Intervals of proportions and of other figures."""

from collections.abc import Callable

import numpy as np
import pytest

from fervit.errors import DataError
from fervit.evaluation import intervals, metrics
from tests.helpers.reports import Drawn


def test_wilson_interval_of_a_published_case() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263 gives .2553 to .3662
    assert intervals.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    with pytest.raises(DataError, match="correct <= count"):
        intervals.wilson_interval(3, 2)


def test_bootstrap_is_seeded_and_agrees_with_wilson(drawn: Drawn) -> None:
    _, targets, predicted = drawn
    hits = (targets == predicted).astype(float)
    ours = intervals.bootstrap_interval(hits, lambda sums: sums / len(hits), seed=3)
    assert ours == intervals.bootstrap_interval(hits, lambda sums: sums / len(hits), seed=3)
    assert ours != intervals.bootstrap_interval(hits, lambda sums: sums / len(hits), seed=4)
    assert ours == pytest.approx(intervals.wilson_interval(int(hits.sum()), len(hits)), abs=0.01)


def test_bootstrap_in_chunks_measures_whole_confusion_matrices(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    _, targets, predicted = drawn
    monkeypatch.setattr(intervals, "CHUNK", 500 * 30)
    shapes: list[tuple[int, ...]] = []

    def figure(confusions: np.ndarray) -> np.ndarray:
        shapes.append(confusions.shape)
        assert (confusions.sum(axis=(1, 2)) == len(targets)).all()
        return metrics.macro_f1(confusions)

    low, high = intervals.bootstrap_interval(metrics.cells(targets, predicted, 7), figure, resamples=100)
    assert shapes == [(30, 7, 7)] * 3 + [(10, 7, 7)]
    assert low < metrics.macro_f1(metrics.confusion_matrix(targets, predicted, 7)) < high


def f1_of(k: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: metrics.f1(sums)[:, k]


def test_newcombe_interval_of_a_published_case() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:873), table II: 56 of 70 minus 48 of 80 gives .0524 to .3339
    ours = intervals.newcombe_interval(intervals.Proportion(56, 70), intervals.Proportion(48, 80))
    assert ours == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_proportion_survives_being_written_as_a_value() -> None:
    assert intervals.Proportion.from_value(2631 / 3589, 3589) == intervals.Proportion(2631, 3589)
    assert intervals.Proportion.from_value(None, 0) == intervals.Proportion(0, 0)


def test_intervals_of_several_figures_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    rows = metrics.cells(rng.integers(0, 3, 90), rng.integers(0, 3, 90), 3)
    together = intervals.bootstrap_intervals(rows, metrics.f1)
    assert together.shape == (2, 3)
    for k in range(3):
        alone = intervals.bootstrap_interval(rows, f1_of(k))
        assert alone == pytest.approx(tuple(together[:, k]), abs=1e-12)
