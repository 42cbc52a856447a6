"""The figures of one model on one split: `Report`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fervit.evaluation import intervals, metrics
from fervit.evaluation.intervals import Interval
from fervit.evaluation.selective import Operating, RiskCoverage


@dataclass(frozen=True)
class Share:
    """A share of pictures: `count` of them, of which `right` were right."""

    right: int
    count: int

    @property
    def value(self) -> float | None:
        """The share, 0..1; None without pictures."""
        return self.right / self.count if self.count else None

    @property
    def ci95(self) -> Interval | None:
        """The Wilson interval; None without pictures."""
        return intervals.wilson_interval(self.right, self.count) if self.count else None


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far the probabilities can be believed.

    Attributes:
        ece: expected calibration error over 15 equal-width bins, 0..1.
        nll: mean negative log-likelihood, nats.
        brier: mean squared distance to the one-hot truth, 0..2.
        confidence: mean probability of the answer, 0..1; above the accuracy means too sure.
        bins: `(15, 3)`: pictures, mean confidence and accuracy of each bin.
    """

    ece: float
    nll: float
    brier: float
    confidence: float
    bins: np.ndarray


@dataclass(frozen=True, eq=False)
class Report:
    """What was measured: one model, one split.

    Attributes:
        model: the model's name.
        dataset: the data set's name.
        data_hash: hash of the whole data set.
        split: the split that was read.
        labels: K label names of the data, in the order of every per-class value.
        confusion: `(K, K)` int64 counts, rows = truth, columns = answer.
        intervals: 95 % bootstrap intervals of `macro_f1` and `balanced_accuracy`.
        f1_intervals: `(2, K)` 95 % bootstrap intervals of every class's F1.
        calibration: see `Calibration`.
        selective: what answering only the surest faces brings.
        thresholds: wanted share of right answers to the threshold that reaches it, or to None.
        probs: `(N, K)` what the model answered, for what else is to be measured; it is in no JSON.
        leak_free: accuracy on pictures whose exact pixels do not stand in the train split; None when the data
            set has no train split or the train split itself was measured.
        votes: accuracy against the FER+ majority, on pictures that have votes; None without votes.
        shared_errors: among wrong answers to pictures that have votes, those that the FER+ majority gives too.
        tta: test-time augmentation, or None.
        seconds: wall time of the predictions.
        seen_in: earlier split to how many of these pictures also stand there, pixel for pixel.
        dropped_labels: labels that the model knows and the data lacks; their probability was shared out.
    """

    model: str
    dataset: str
    data_hash: str
    split: str
    labels: tuple[str, ...]
    confusion: np.ndarray
    intervals: dict[str, Interval]
    f1_intervals: np.ndarray
    calibration: Calibration
    selective: RiskCoverage
    thresholds: dict[float, Operating | None]
    probs: np.ndarray
    leak_free: Share | None = None
    votes: Share | None = None
    shared_errors: Share | None = None
    tta: str | None = None
    seconds: float = 0.0
    seen_in: dict[str, int] = field(default_factory=dict)
    dropped_labels: tuple[str, ...] = ()

    @property
    def accuracy(self) -> Share:
        """Right answers among all pictures."""
        return Share(int(np.trace(self.confusion)), int(self.confusion.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object; shares are 0..1, intervals `[low, high]`, what is unknown null."""
        c, leak_free, votes = self.confusion, self.leak_free, self.votes
        precision, recall, f1 = metrics.precision(c), metrics.recall(c), metrics.f1(c)
        columns = zip(self.labels, precision, recall, f1, metrics.support(c), self.f1_intervals.T, strict=True)
        return {
            "model": self.model,
            "dataset": self.dataset,
            "data_hash": self.data_hash,
            "split": self.split,
            "labels": list(self.labels),
            "tta": self.tta,
            "n": self.accuracy.count,
            "accuracy": self.accuracy.value,
            "accuracy_ci95": _pair(self.accuracy.ci95),
            "n_leak_free": leak_free.count if leak_free else None,
            "accuracy_leak_free": leak_free.value if leak_free else None,
            "accuracy_leak_free_ci95": _pair(leak_free.ci95 if leak_free else None),
            "balanced_accuracy": float(metrics.balanced_accuracy(c)),
            "balanced_accuracy_ci95": _pair(self.intervals["balanced_accuracy"]),
            "macro_precision": float(metrics.macro(precision, c)),
            "macro_recall": float(metrics.macro(recall, c)),
            "macro_f1": float(metrics.macro(f1, c)),
            "macro_f1_ci95": _pair(self.intervals["macro_f1"]),
            "weighted_precision": float(metrics.weighted(precision, c)),
            "weighted_recall": float(metrics.weighted(recall, c)),
            "weighted_f1": float(metrics.weighted(f1, c)),
            "ece": self.calibration.ece,
            "nll": self.calibration.nll,
            "brier": self.calibration.brier,
            "mean_confidence": self.calibration.confidence,
            "n_votes": votes.count if votes else None,
            "accuracy_votes": votes.value if votes else None,
            "accuracy_votes_ci95": _pair(votes.ci95 if votes else None),
            "n_errors_with_votes": self.shared_errors.count if self.shared_errors else None,
            "errors_shared_by_votes": self.shared_errors.value if self.shared_errors else None,
            "per_class": {
                name: {
                    "precision": float(p),
                    "recall": float(r),
                    "recall_ci95": _pair(Share(round(r * n), int(n)).ci95),
                    "f1": float(f),
                    "f1_ci95": ends.tolist() if n else None,
                    "support": int(n),
                }
                for name, p, r, f, n, ends in columns
            },
            "confusion": c.tolist(),
            "reliability": [
                {"count": int(n), "confidence": float(sure), "accuracy": float(right)}
                for n, sure, right in self.calibration.bins
            ],
            "risk_coverage": self.selective.to_dict(),
            "thresholds": [
                {"wanted": wanted, **(point.to_dict() if point else {"threshold": None})}
                for wanted, point in self.thresholds.items()
            ],
            "seen_in": self.seen_in,
            "dropped_labels": list(self.dropped_labels),
            "seconds": round(self.seconds, 3),
        }


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval[0], interval[1]]
