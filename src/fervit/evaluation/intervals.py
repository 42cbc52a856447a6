"""95 % intervals: Wilson's for one proportion, the bootstrap for everything else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fervit.errors import DataError

Interval = tuple[float, float]
"""Lower and upper end."""

FEWEST = 30
"""Images; nothing is claimed about fewer, since what they show is chance."""
CHUNK = 4_000_000  # numbers of one chunk of resamples: 32 MB as float64


@dataclass(frozen=True)
class Proportion:
    """A proportion of images: `count` of them, of which `correct` were predicted correctly (or fit in another way)."""

    correct: int
    count: int

    @property
    def value(self) -> float:
        """The proportion, 0..1; there is none (`ZeroDivisionError`) where `count` is 0."""
        return self.correct / self.count

    @property
    def ci95(self) -> Interval:
        """The Wilson interval; there is none (`DataError`) where `count` is 0."""
        return wilson_interval(self.correct, self.count)

    @classmethod
    def from_value(cls, value: float | None, count: int) -> "Proportion":
        """Return the proportion that was written as a value and a number of images; None stands for no images."""
        return cls(round((value or 0.0) * count), count)


def wilson_interval(correct: int, count: int, *, level: float = 0.95) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson 1927): within 0..1 even at none and at all correct.

    Raises:
        DataError: `count` is not positive, or `correct` lies outside `0..count`.
    """
    if count <= 0 or not 0 <= correct <= count:
        raise DataError(f"expected 0 <= correct <= count and count > 0, got {correct} of {count}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    proportion, spread = correct / count, 1 + z * z / count
    middle = (proportion + z * z / (2 * count)) / spread
    half = z / spread * (proportion * (1 - proportion) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def as_interval(ends: Sequence[float] | None) -> Interval | None:
    """Return an interval that was read from JSON, where it is a list of two, or null."""
    return None if ends is None else (ends[0], ends[1])


def bootstrap_interval(
    rows: np.ndarray,
    metric: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of any metric that is a function of sums over images.

    All of ours are: accuracy sums correct predictions, macro-F1 sums what `metrics.cells` gives, and the difference
    of two models sums the differences of their correct predictions.

    Args:
        rows: `(N, ...)` what each image adds to the sums.
        metric: maps sums `(resamples, ...)` to `(resamples,)`.
        resamples: how often N images are drawn with replacement.
        level: fraction of resamples inside the interval.
        seed: the same seed gives the same interval.

    Raises:
        DataError: there are no rows.
    """
    low, high = bootstrap_intervals(rows, metric, resamples=resamples, level=level, seed=seed)
    return float(low), float(high)


def bootstrap_intervals(
    rows: np.ndarray,
    metric: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> np.ndarray:
    """Return the intervals of M figures from the same resamples, `(2, M)`: lower ends, then upper ends.

    As `bootstrap_interval`, but `metric` maps sums `(resamples, ...)` to `(resamples, M)`.

    Raises:
        DataError: there are no rows.
    """
    rows = np.asarray(rows, np.float64)
    count = len(rows)
    if not count:
        raise DataError("no images to resample")
    rng = np.random.default_rng(seed)
    flat, values = rows.reshape(count, -1), []
    step = max(1, CHUNK // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        sums = (times.astype(np.float64) @ flat).reshape(size, *rows.shape[1:])  # (R, N) @ (N, S)
        values.append(np.asarray(metric(sums), np.float64))
    ends: np.ndarray = np.quantile(np.concatenate(values), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends


def newcombe_interval(first: Proportion, second: Proportion, *, level: float = 0.95) -> Interval:
    """Return the interval of the difference `first - second` of two proportions over different images.

    Its ends come from the Wilson intervals of both (Newcombe 1998, Statistics in Medicine 17, method 10), so that it
    holds for levels near 1 too, whose far ends no resampling shows.

    Raises:
        DataError: a proportion has no images.
    """
    low_1, high_1 = wilson_interval(first.correct, first.count, level=level)
    low_2, high_2 = wilson_interval(second.correct, second.count, level=level)
    difference = first.value - second.value
    return (
        difference - float(np.hypot(first.value - low_1, high_2 - second.value)),
        difference + float(np.hypot(high_1 - first.value, second.value - low_2)),
    )


def bootstrap_difference_interval(
    first: np.ndarray, second: np.ndarray, metric: Callable[[np.ndarray], np.ndarray], *, resamples: int, level: float
) -> Interval:
    """Return the interval of the difference of a metric between two sets of different images.

    It is normal, with the bootstrap's standard error: a level near 1 asks for far ends that no resampling shows.

    Args:
        first: `(N, ...)` what each image of the first set adds to the sums.
        second: `(M, ...)` the same of the second set.
        metric: maps sums `(resamples, ...)` to `(resamples,)`.
        resamples: how often the images are drawn with replacement.
        level: of the interval, 0..1.
    """
    rows = np.zeros((len(first) + len(second), 2, *first.shape[1:]))  # (N + M, 2, ...)
    rows[: len(first), 0] = first
    rows[len(first) :, 1] = second

    def difference(sums: np.ndarray) -> np.ndarray:
        change: np.ndarray = metric(sums[:, 0]) - metric(sums[:, 1])
        return change

    low, high = bootstrap_interval(rows, difference, resamples=resamples, level=0.95)
    widened = NormalDist().inv_cdf((1 + level) / 2) / NormalDist().inv_cdf(0.975)
    value, half = float(difference(rows.sum(axis=0)[None])[0]), widened * (high - low) / 2
    return value - half, value + half
