"""Figures of merit from predictions, in numpy alone: rates, intervals, calibration.

Figures of predicted labels (`recall`, `macro_f1`, ...) take a confusion matrix `(..., K, K)` with rows = truth and work
over any leading axes, so that one call measures a thousand resamples. Figures of probabilities (`ece`, `nll`, `brier`)
take `probs (N, K)` and `targets (N,)`.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from fervit.errors import DataError
from fervit.evaluation.intervals import Interval, Proportion, bootstrap_intervals
from fervit.probabilities import SMALLEST_PROB, check_probs

ECE_BINS = 15  # Guo et al. 2017, arXiv 1706.04599, section 4


class VoteDistributionJson(TypedDict):
    """`VoteDistribution` in report.json."""

    n: int
    fraction: float
    fraction_ci95: list[float]
    overlap: float
    overlap_ci95: list[float]


@dataclass(frozen=True)
class VoteDistribution:
    """How far predictions agree with the votes of people, over the `count` images that have votes.

    Attributes:
        count: number of these images.
        fraction: mean fraction of an image's votes that are for the predicted label, 0..1.
        fraction_ci95: its bootstrap interval.
        overlap: mean overlap of the predicted probabilities p and the votes v of an image, the sum of min(p, v) over
            the labels (1 minus the total variation distance), 0..1; 1 where both are the same.
        overlap_ci95: its bootstrap interval.
    """

    count: int
    fraction: float
    fraction_ci95: Interval
    overlap: float
    overlap_ci95: Interval

    def to_dict(self) -> VoteDistributionJson:
        """Return the JSON object."""
        return {
            "n": self.count,
            "fraction": self.fraction,
            "fraction_ci95": list(self.fraction_ci95),
            "overlap": self.overlap,
            "overlap_ci95": list(self.overlap_ci95),
        }

    @classmethod
    def from_dict(cls, data: VoteDistributionJson) -> "VoteDistribution":
        """Read what `to_dict` returned."""
        (low, high), (overlap_low, overlap_high) = data["fraction_ci95"], data["overlap_ci95"]
        return cls(data["n"], data["fraction"], (low, high), data["overlap"], (overlap_low, overlap_high))


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count predictions: `(classes, classes)` int64, rows = truth, columns = prediction.

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
    """Return the fraction of each class that was found, `(..., K)`; 0 for a class that does not occur."""
    return _ratio(_hits(confusion), support(confusion))


def precision(confusion: np.ndarray) -> np.ndarray:
    """Return the fraction of each class's predictions that are correct, `(..., K)`; 0 for a class never predicted."""
    return _ratio(_hits(confusion), np.asarray(confusion).sum(axis=-2))


def f1(confusion: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of precision and recall, `(..., K)`; 0 where nothing was correct."""
    occurrences = np.asarray(confusion).sum(axis=-1) + np.asarray(confusion).sum(axis=-2)
    return _ratio(2 * _hits(confusion), occurrences)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the fraction of correct predictions, `(...)`; 0 without any prediction."""
    return _ratio(_hits(confusion).sum(axis=-1), support(confusion).sum(axis=-1))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes that occur, `(...)`."""
    return _mean_where(recall(confusion), support(confusion) > 0)


def macro(scores: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Average per-class scores over the classes that occur as truth or as prediction, `(..., K) -> (...)`.

    A class that a split lacks and that is never predicted has no score to average; scikit-learn leaves it out too.
    """
    return _mean_where(scores, support(confusion) + np.asarray(confusion).sum(axis=-2) > 0)


def weighted(scores: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Average per-class scores by how often each class is the truth, `(..., K) -> (...)`."""
    weights = support(confusion)
    return _ratio((scores * weights).sum(axis=-1), weights.sum(axis=-1))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Return the mean F1 over the classes that occur as truth or as prediction, `(...)`."""
    return macro(f1(confusion), confusion)


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, with 0 where the divisor is 0."""
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(np.shape(whole), np.float64), where=np.asarray(whole) > 0)
    return ratio


def _mean_where(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return _ratio((scores * chosen).sum(axis=-1), chosen.sum(axis=-1))


def nll(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the truth, in nats."""
    probs, targets = check_probs(probs, targets)
    return float(-np.log(probs[np.arange(len(targets)), targets].clip(SMALLEST_PROB)).mean())


def brier(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean squared distance to the one-hot truth, summed over classes: 0 (correct and certain) to 2."""
    probs, targets = check_probs(probs, targets)
    return float(((probs - np.eye(probs.shape[1])[targets]) ** 2).sum(axis=1).mean())


def reliability(probs: np.ndarray, targets: np.ndarray, *, bins: int = ECE_BINS) -> tuple[np.ndarray, ...]:
    """Group images by the confidence of their prediction (its probability), in equal-width bins `(low, high]`.

    Returns:
        `counts (bins,)` int64, and `confidence (bins,)` and `accuracy (bins,)`, 0 in empty bins.
    """
    probs, targets = check_probs(probs, targets)
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == targets
    index = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    counts = np.bincount(index, minlength=bins)
    return (
        counts,
        _ratio(np.bincount(index, weights=confidence, minlength=bins), counts),
        _ratio(np.bincount(index, weights=correct, minlength=bins), counts),
    )


def ece(probs: np.ndarray, targets: np.ndarray, *, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error, 0..1: how far confidence and accuracy lie apart, bin by bin."""
    counts, confidence, accuracy_of_bin = reliability(probs, targets, bins=bins)
    return float((counts * np.abs(confidence - accuracy_of_bin)).sum() / counts.sum())


def vote_agreement(predicted: np.ndarray, votes: np.ndarray) -> Proportion:
    """Count predictions that are (one of) the most voted labels; images without votes are left out.

    Args:
        predicted: `(N,)` class indices.
        votes: `(N, K)` votes or fractions of votes of each image.
    """
    voted = votes.sum(axis=1) > 0
    most = votes[np.arange(len(votes)), predicted] >= votes.max(axis=1) - 1e-6
    return Proportion(int((most & voted).sum()), int(voted.sum()))


def measure_votes(probs: np.ndarray, votes: np.ndarray) -> VoteDistribution | None:
    """Return how far predictions agree with the votes of people; None where no image has votes.

    Args:
        probs: `(N, K)` predicted probabilities.
        votes: `(N, K)` votes or fractions of votes of each image; images without any are left out.
    """
    voted = votes.sum(axis=1) > 0
    if not voted.any():
        return None
    probs, votes = probs[voted], votes[voted] / votes[voted].sum(axis=1, keepdims=True)
    chosen = votes[np.arange(len(votes)), probs.argmax(axis=1)]
    rows = np.stack([chosen, np.minimum(probs, votes).sum(axis=1)], axis=1)  # (N, 2)
    count = len(rows)
    ends = bootstrap_intervals(rows, lambda sums: sums / count)  # (2, 2)
    figures = [
        (float(mean), (float(low), float(high))) for mean, low, high in zip(rows.mean(axis=0), *ends, strict=True)
    ]
    (fraction, fraction_ci95), (overlap, overlap_ci95) = figures
    return VoteDistribution(count, fraction, fraction_ci95, overlap, overlap_ci95)


def cells(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return `(N, K, K)` float64: each image's own confusion matrix, rows for `bootstrap_interval`."""
    one_hot = np.eye(classes)
    rows: np.ndarray = one_hot[targets][:, :, None] * one_hot[predicted][:, None, :]
    return rows
