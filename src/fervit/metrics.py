"""Figures of merit from predictions, in numpy alone: rates, intervals, calibration.

What counts answers (`recall`, `macro_f1`, ...) takes a confusion matrix `(..., K, K)` with rows = truth and
works over any leading axes, so that one call measures a thousand resamples. What judges probabilities (`ece`,
`nll`, `brier`) takes `probs (N, K)` and `targets (N,)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from fervit.errors import DataError, ModelError

ECE_BINS = 15  # Guo et al. 2017, arXiv 1706.04599, section 4
SMALLEST_PROB = float(np.finfo(np.float64).eps)  # floor inside logarithms, as in scikit-learn's log_loss
TEMPERATURES = (0.05, 20.0)  # where the search stops when no finite temperature is best
CHUNK = 4_000_000  # resampled rows held at a time: 32 MB


@dataclass(frozen=True)
class Published:
    """Figures that somebody published, all 0..1, for comparison."""

    source: str
    accuracy: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    f1: dict[str, float] = field(default_factory=dict)


# What recipes/paper.toml reproduces; averages are rounded to two digits there, and four classes have an F1.
PAPER = Published(
    source="the paper (ViT fine-tuned on FER2013)",
    accuracy=0.6722,
    weighted_precision=0.67,
    weighted_recall=0.67,
    weighted_f1=0.67,
    f1={"happy": 0.86, "surprise": 0.78, "fear": 0.52, "sad": 0.56},
)


# --- counts -----------------------------------------------------------------------------------------------


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count answers: `(classes, classes)` int64, rows = truth, columns = answer.

    Raises:
        DataError: the two arrays differ in length, or hold an index outside `0..classes - 1`.
    """
    targets, predicted = np.asarray(targets, np.int64), np.asarray(predicted, np.int64)
    if targets.ndim != 1 or targets.shape != predicted.shape:
        raise DataError(f"expected two index arrays of one length, got shapes {targets.shape} and {predicted.shape}")
    for name, array in (("targets", targets), ("predictions", predicted)):
        if len(array) and not 0 <= array.min() <= array.max() < classes:
            raise DataError(f"{name} lie in {array.min()}..{array.max()}, expected 0..{classes - 1}")
    counts = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def support(confusion: np.ndarray) -> np.ndarray:
    """Return how often each class is the truth, `(..., K)`."""
    counts: np.ndarray = np.asarray(confusion).sum(axis=-1)
    return counts


def recall(confusion: np.ndarray) -> np.ndarray:
    """Return the share of each class that was found, `(..., K)`; 0 for a class that does not occur."""
    return _ratio(_hits(confusion), support(confusion))


def precision(confusion: np.ndarray) -> np.ndarray:
    """Return the share of each class's answers that are right, `(..., K)`; 0 for a class never answered."""
    return _ratio(_hits(confusion), np.asarray(confusion).sum(axis=-2))


def f1(confusion: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of precision and recall, `(..., K)`; 0 where nothing was right."""
    named = np.asarray(confusion).sum(axis=-1) + np.asarray(confusion).sum(axis=-2)
    return _ratio(2 * _hits(confusion), named)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the share of right answers, `(...)`; 0 without any answer."""
    return _ratio(_hits(confusion).sum(axis=-1), support(confusion).sum(axis=-1))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes that occur, `(...)`."""
    return _mean_where(recall(confusion), support(confusion) > 0)


def macro(scores: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Average per-class scores over the classes that occur as truth or as answer, `(..., K) -> (...)`.

    A class that a split lacks and no answer names has no score to average; scikit-learn leaves it out too.
    """
    return _mean_where(scores, support(confusion) + np.asarray(confusion).sum(axis=-2) > 0)


def weighted(scores: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Average per-class scores by how often each class is the truth, `(..., K) -> (...)`."""
    weights = support(confusion)
    return _ratio((scores * weights).sum(axis=-1), weights.sum(axis=-1))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the classes that occur as truth or as answer, `(...)`."""
    return macro(f1(confusion), confusion)


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, with 0 where the divisor is 0."""
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(np.shape(whole), np.float64), where=np.asarray(whole) > 0)
    return ratio


def _mean_where(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return _ratio((scores * chosen).sum(axis=-1), chosen.sum(axis=-1))


# --- probabilities ----------------------------------------------------------------------------------------


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return `(..., K)` float64 probabilities, whatever the logits' size.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    probs: np.ndarray = np.exp(_log_softmax(_finite(logits, "logits")))
    return probs


def check_probs(probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `(N, K)` float64 probabilities and `(N,)` int64 targets that fit each other.

    Raises:
        ModelError: a probability is NaN or infinite, negative, or a row does not sum to 1.
        DataError: there is no picture, the lengths differ, or a target is no column of `probs`.
    """
    probs, targets = _rows(probs, targets, "probabilities")
    sums = probs.sum(axis=1)
    if probs.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        worst = int(np.abs(sums - 1).argmax())
        raise ModelError(
            f"expected probabilities that sum to 1 in every row, got {sums[worst]:.4g} in row {worst} "
            f"and a smallest value of {probs.min():.4g}; apply softmax to logits first"
        )
    return probs, targets


def nll(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the truth, in nats."""
    probs, targets = check_probs(probs, targets)
    return float(-np.log(probs[np.arange(len(targets)), targets].clip(SMALLEST_PROB)).mean())


def brier(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean squared distance to the one-hot truth, summed over classes: 0 (right and sure) to 2."""
    probs, targets = check_probs(probs, targets)
    return float(((probs - np.eye(probs.shape[1])[targets]) ** 2).sum(axis=1).mean())


def reliability(probs: np.ndarray, targets: np.ndarray, *, bins: int = ECE_BINS) -> tuple[np.ndarray, ...]:
    """Group pictures by the probability of their answer, in equal-width bins `(low, high]`.

    Returns:
        `counts (bins,)` int64, and `confidence (bins,)` and `accuracy (bins,)`, 0 in empty bins.
    """
    probs, targets = check_probs(probs, targets)
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    index = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], sure, side="left")
    counts = np.bincount(index, minlength=bins)
    return (
        counts,
        _ratio(np.bincount(index, weights=sure, minlength=bins), counts),
        _ratio(np.bincount(index, weights=right, minlength=bins), counts),
    )


def ece(probs: np.ndarray, targets: np.ndarray, *, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error, 0..1: how far confidence and accuracy lie apart, bin by bin."""
    counts, confidence, right = reliability(probs, targets, bins=bins)
    return float((counts * np.abs(confidence - right)).sum() / counts.sum())


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature T at which `softmax(logits / T)` has the smallest negative log-likelihood.

    The likelihood is convex in 1 / T, so the root of its derivative is bisected. Where no finite T is best
    (every answer right, or worse than chance) the near end of `TEMPERATURES` comes back.

    Args:
        logits: `(N, K)`.
        targets: `(N,)` class indices.

    Raises:
        ModelError: a logit is NaN or infinite.
        DataError: there is no picture, or the two do not fit each other.
    """
    logits, targets = _rows(logits, targets, "logits")
    truth = logits[np.arange(len(targets)), targets].mean()
    low, high = np.log(TEMPERATURES)
    for _ in range(60):
        middle = (low + high) / 2
        expected = (np.exp(_log_softmax(logits / np.exp(middle))) * logits).sum(axis=1).mean()
        if expected > truth:  # the likelihood falls as 1 / T grows: too sure at this T
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _finite(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))
        raise ModelError(
            f"the model's {what} are not finite in {len(np.unique(bad[:, 0]))} of {len(values)} rows "
            f"(first: row {bad[0, 0]}); the weights are broken: train or export again"
        )
    return values


def _rows(values: np.ndarray, targets: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    values, targets = np.asarray(values, np.float64), np.asarray(targets, np.int64)
    if values.ndim != 2 or targets.shape != values.shape[:1]:
        raise DataError(f"expected {what} (N, K) and targets (N,), got shapes {values.shape} and {targets.shape}")
    if not len(targets):
        raise DataError(f"no pictures to measure: {what} and targets are empty")
    if not 0 <= targets.min() <= targets.max() < values.shape[1]:
        raise DataError(f"targets lie in {targets.min()}..{targets.max()}, expected 0..{values.shape[1] - 1}")
    return _finite(values, what), targets


# --- intervals --------------------------------------------------------------------------------------------


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


def cells(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return `(N, K, K)` float64: each picture's own confusion matrix, rows for `bootstrap_interval`."""
    one_hot = np.eye(classes)
    rows: np.ndarray = one_hot[targets][:, :, None] * one_hot[predicted][:, None, :]
    return rows
