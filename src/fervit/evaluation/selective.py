"""Selective prediction: answer only where the model is sure enough, and know what that costs and buys.

Whoever refuses the least certain faces trades coverage (the share answered) for risk (the share of wrong answers
among them); Geifman and El-Yaniv 2017, arXiv 1705.08500. A threshold is chosen on public_test and then holds, with its
interval, for other pictures of the same kind.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fervit import probabilities
from fervit.errors import ConfigError
from fervit.evaluation import intervals
from fervit.evaluation.intervals import FEWEST

WANTED = (0.8, 0.9, 0.95, 0.99)  # shares of right answers that a report computes thresholds for
CURVE_POINTS = 80  # of a curve in a report; the full one has a point for every picture


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """What is answered and what of it is wrong, at every threshold from the strictest to none.

    Attributes:
        threshold: `(P,)` falling probabilities; answers at or above it are given.
        coverage: `(P,)` share of pictures answered, rising to 1.
        risk: `(P,)` share of wrong answers among them.
        aurc: area under risk over coverage, 0..1; less is better.
        best_aurc: the area at the same accuracy if every wrong answer were less sure than every right one.
    """

    threshold: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray
    aurc: float
    best_aurc: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object, with the curve thinned out to `CURVE_POINTS`."""
        chosen = np.unique(np.linspace(0, len(self.coverage) - 1, CURVE_POINTS).round().astype(int))
        return {
            "aurc": self.aurc,
            "best_aurc": self.best_aurc,
            "curve": [
                {"threshold": float(t), "coverage": float(c), "risk": float(r)}
                for t, c, r in zip(self.threshold[chosen], self.coverage[chosen], self.risk[chosen], strict=True)
            ],
        }


@dataclass(frozen=True)
class Operating:
    """What a threshold does: `answered` of `count` pictures, `right` of them; `threshold` is a probability."""

    threshold: float
    answered: int
    right: int
    count: int

    @property
    def coverage(self) -> float:
        """Share of pictures answered, 0..1."""
        return self.answered / self.count

    @property
    def precision(self) -> float | None:
        """Share of the given answers that are right; None when there is none."""
        return self.right / self.answered if self.answered else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object, with the 95 % interval of the precision."""
        interval = intervals.wilson_interval(self.right, self.answered) if self.answered else None
        return {
            "threshold": self.threshold,
            "coverage": self.coverage,
            "precision": self.precision,
            "precision_ci95": list(interval) if interval else None,
            "answered": self.answered,
            "n": self.count,
        }


def risk_coverage(probs: np.ndarray, targets: np.ndarray) -> RiskCoverage:
    """Return the risk-coverage curve; pictures of one probability are answered together.

    Args:
        probs: `(N, K)` probabilities.
        targets: `(N,)` class indices.

    Raises:
        ModelError: `probs` holds NaN, or rows that do not sum to 1.
        DataError: there is no picture, or the lengths differ.
    """
    threshold, answered, right = _cumulative(probs, targets)
    count = answered[-1]
    risk = 1 - right / answered
    steps = np.diff(answered, prepend=0)
    aurc = float((risk * steps).sum() / count)
    ideal = np.maximum(0, np.arange(1, count + 1) - right[-1]) / np.arange(1, count + 1)
    return RiskCoverage(threshold, answered / count, risk, aurc, float(ideal.mean()))


def operating_point(probs: np.ndarray, targets: np.ndarray, threshold: float) -> Operating:
    """Return what answering only from `threshold` on does.

    Raises:
        ConfigError: the threshold is no probability.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"expected a probability from 0 to 1 as threshold, got {threshold}")
    probs, targets = probabilities.check_probs(probs, targets)
    given = probs.max(axis=1) >= threshold
    right = int((given & (probs.argmax(axis=1) == targets)).sum())
    return Operating(float(threshold), int(given.sum()), right, len(targets))


def threshold_for(probs: np.ndarray, targets: np.ndarray, precision: float, *, safe: bool = False) -> Operating | None:
    """Compute the lowest threshold whose answers are right as often as wanted.

    Of all thresholds that reach `precision` on at least `FEWEST` answers it is the one that answers most; None
    when there is none.

    Args:
        probs: `(N, K)` probabilities, of the split that things are chosen on.
        targets: `(N,)` class indices.
        precision: wanted share of right answers, above 0 and at most 1.
        safe: ask it of the lower end of the 95 % interval rather than of the share itself.

    Raises:
        ConfigError: `precision` is not in that range.
    """
    if not 0 < precision <= 1:
        raise ConfigError(f"expected a share of right answers above 0 and at most 1, such as 0.9; got {precision}")
    threshold, answered, right = _cumulative(probs, targets)
    reached = right / answered
    if safe:
        reached = np.array([intervals.wilson_interval(int(r), int(n))[0] for r, n in zip(right, answered, strict=True)])
    enough = np.flatnonzero((answered >= FEWEST) & (reached >= precision))
    if not len(enough):
        return None
    k = enough[-1]
    return Operating(float(threshold[k]), int(answered[k]), int(right[k]), int(answered[-1]))


def _cumulative(probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return different confidences, falling, with the answers and right answers at or above each."""
    probs, targets = probabilities.check_probs(probs, targets)
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    order = np.argsort(-sure, kind="stable")
    sure, right = sure[order], right[order]
    last = np.flatnonzero(np.append(np.diff(sure) != 0, True))  # the end of each run of one confidence
    return sure[last], last + 1, np.cumsum(right)[last]
