"""95 % intervals: Wilson's for one fraction, the bootstrap for everything else."""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from fervit.errors import DataError

Interval = tuple[float, float]
"""Lower and upper end."""

FEWEST = 30  # images; nothing is claimed about fewer: what they show is chance
CHUNK = 4_000_000  # resampled rows held at a time: 32 MB


def wilson_interval(right: int, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927), within 0..1 even at 0 and `count` right.

    Raises:
        DataError: `count` is not positive, or `right` lies outside `0..count`.
    """
    if count <= 0 or not 0 <= right <= count:
        raise DataError(f"expected 0 <= right <= count and count > 0, got {right} of {count}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = right / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / spread
    half = z / spread * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap_interval(
    rows: np.ndarray,
    metric: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of any metric that is a function of sums over pictures.

    That is all of them: accuracy sums hits, macro-F1 sums what `cells()` gives, the difference of two models
    sums the difference of their hits.

    Args:
        rows: `(N, ...)` what each picture adds to the sums.
        metric: maps sums `(resamples, ...)` to `(resamples,)`.
        resamples: how often N pictures are drawn with replacement.
        level: share of resamples inside the interval.
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
        raise DataError("no pictures to resample")
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
