"""Selective prediction: accept only predictions that are confident enough, and see what that costs and brings.

Whoever rejects the least confident predictions trades coverage (the fraction accepted) for risk (the fraction of wrong
ones among them); Geifman and El-Yaniv 2017, arXiv 1705.08500. A threshold is chosen on public_test and then holds,
with its interval, for other images of the same kind.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from fervit import probabilities
from fervit.errors import ConfigError, DataError, is_number, quoted
from fervit.evaluation import intervals
from fervit.evaluation.intervals import FEWEST, Proportion

WANTED = (0.8, 0.9, 0.95, 0.99)
"""Accuracies of the accepted predictions that a report computes thresholds for."""
CURVE_POINTS = 80  # of a curve in a report; the full one has a point for every different confidence


class CurvePointJson(TypedDict):
    """One point of a risk-coverage curve."""

    threshold: float
    coverage: float
    risk: float


class RiskCoverageJson(TypedDict):
    """`RiskCoverage` in report.json."""

    aurc: float
    best_aurc: float
    curve: list[CurvePointJson]


class OperatingPointJson(TypedDict):
    """`OperatingPoint` in report.json."""

    threshold: float
    coverage: float
    precision: float | None
    precision_ci95: list[float] | None
    answered: int
    n: int


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """What is accepted and what of it is wrong, at every threshold from the strictest to none.

    Attributes:
        threshold: `(P,)` falling probabilities; predictions at or above it are accepted.
        coverage: `(P,)` fraction of images whose prediction is accepted, rising to 1.
        risk: `(P,)` fraction of wrong predictions among the accepted ones.
        aurc: area under risk over coverage, 0..1; less is better.
        best_aurc: the area at the same accuracy if every wrong prediction were less confident than every correct one.
    """

    threshold: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray
    aurc: float
    best_aurc: float

    def thinned(self) -> "RiskCoverage":
        """Return the same curve with at most `CURVE_POINTS` points, its ends among them."""
        kept = np.unique(np.linspace(0, len(self.coverage) - 1, CURVE_POINTS).round().astype(int))
        return RiskCoverage(self.threshold[kept], self.coverage[kept], self.risk[kept], self.aurc, self.best_aurc)

    def to_dict(self) -> RiskCoverageJson:
        """Return the JSON object, with the curve thinned out to `CURVE_POINTS`."""
        thin = self.thinned()
        return {
            "aurc": self.aurc,
            "best_aurc": self.best_aurc,
            "curve": [
                {"threshold": float(t), "coverage": float(c), "risk": float(r)}
                for t, c, r in zip(thin.threshold, thin.coverage, thin.risk, strict=True)
            ],
        }

    @classmethod
    def from_dict(cls, data: RiskCoverageJson) -> "RiskCoverage":
        """Read what `to_dict` returned."""
        curve = data["curve"]
        return cls(
            threshold=np.array([point["threshold"] for point in curve], np.float64),
            coverage=np.array([point["coverage"] for point in curve], np.float64),
            risk=np.array([point["risk"] for point in curve], np.float64),
            aurc=data["aurc"],
            best_aurc=data["best_aurc"],
        )


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold does: `accepted` of `count` predictions, `correct` of them; `threshold` is a probability."""

    threshold: float
    accepted: int
    correct: int
    count: int

    @property
    def coverage(self) -> float:
        """Fraction of images whose prediction is accepted, 0..1."""
        return self.accepted / self.count

    @property
    def precision(self) -> float | None:
        """Fraction of the accepted predictions that are correct; None when there is none."""
        return self.correct / self.accepted if self.accepted else None

    @property
    def precision_ci95(self) -> intervals.Interval | None:
        """Wilson interval of the precision; None when no prediction is accepted."""
        return intervals.wilson_interval(self.correct, self.accepted) if self.accepted else None

    def to_dict(self) -> OperatingPointJson:
        """Return the JSON object, with the 95 % interval of the precision."""
        interval = self.precision_ci95
        return {
            "threshold": self.threshold,
            "coverage": self.coverage,
            "precision": self.precision,
            "precision_ci95": list(interval) if interval else None,
            "answered": self.accepted,
            "n": self.count,
        }

    @classmethod
    def from_dict(cls, data: OperatingPointJson) -> "OperatingPoint":
        """Read what `to_dict` returned."""
        accepted = Proportion.from_value(data["precision"], data["answered"])
        return cls(data["threshold"], accepted.count, accepted.correct, data["n"])


def risk_coverage(probs: np.ndarray, targets: np.ndarray) -> RiskCoverage:
    """Return the risk-coverage curve; predictions of equal confidence are accepted together.

    Args:
        probs: `(N, K)` probabilities.
        targets: `(N,)` class indices.

    Raises:
        ModelError: `probs` holds NaN, or rows that do not sum to 1.
        DataError: there is no image, or the lengths differ.
    """
    threshold, accepted, correct = _cumulative(probs, targets)
    count = accepted[-1]
    risk = 1 - correct / accepted
    steps = np.diff(accepted, prepend=0)
    aurc = float((risk * steps).sum() / count)
    ideal = np.maximum(0, np.arange(1, count + 1) - correct[-1]) / np.arange(1, count + 1)
    return RiskCoverage(threshold, accepted / count, risk, aurc, float(ideal.mean()))


def operating_point(probs: np.ndarray, targets: np.ndarray, threshold: float) -> OperatingPoint:
    """Return what accepting only predictions from `threshold` on does.

    Raises:
        ConfigError: the threshold is no probability.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"expected a probability from 0 to 1 as threshold, got {threshold}")
    probs, targets = probabilities.check_probs(probs, targets)
    accepted = probs.max(axis=1) >= threshold
    correct = int((accepted & (probs.argmax(axis=1) == targets)).sum())
    return OperatingPoint(float(threshold), int(accepted.sum()), correct, len(targets))


def threshold_for(
    probs: np.ndarray, targets: np.ndarray, precision: float, *, safe: bool = False
) -> OperatingPoint | None:
    """Compute the lowest threshold from which on predictions are correct as often as wanted.

    Of all thresholds that reach `precision` on at least `FEWEST` predictions it is the one that accepts most; None
    when there is none.

    Args:
        probs: `(N, K)` probabilities, of the split that things are chosen on.
        targets: `(N,)` class indices.
        precision: wanted fraction of correct predictions, above 0 and at most 1.
        safe: ask it of the lower end of the 95 % interval rather than of the fraction itself.

    Raises:
        ConfigError: `precision` is not in that range, or an array has another shape.
        DataError: there is not a target for each row.
    """
    if not is_number(precision, 0, 1) or not precision:
        raise ConfigError(f"expected a fraction of correct predictions, above 0 and at most 1; got {quoted(precision)}")
    for name, value, dimensions in (("probs (N, K)", probs, 2), ("targets (N,)", targets, 1)):
        if not isinstance(value, np.ndarray) or value.ndim != dimensions or value.dtype.kind not in "fiu":
            raise ConfigError(f"expected {name} as an array of numbers, got {quoted(value)}")
    if len(probs) != len(targets):
        raise DataError(f"expected a target for each of {len(probs)} rows of probs, got {len(targets)}")
    threshold, accepted, correct = _cumulative(probs, targets)
    reached = correct / accepted
    if safe:
        pairs = zip(correct, accepted, strict=True)
        reached = np.array([intervals.wilson_interval(int(some), int(count))[0] for some, count in pairs])
    enough = np.flatnonzero((accepted >= FEWEST) & (reached >= precision))
    if not len(enough):
        return None
    k = enough[-1]
    return OperatingPoint(float(threshold[k]), int(accepted[k]), int(correct[k]), int(accepted[-1]))


def _cumulative(probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the different confidences, falling, with the predictions and correct predictions at or above each."""
    probs, targets = probabilities.check_probs(probs, targets)
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == targets
    order = np.argsort(-confidence, kind="stable")
    confidence, correct = confidence[order], correct[order]
    last = np.flatnonzero(np.append(np.diff(confidence) != 0, True))  # the end of each run of equal confidences
    return confidence[last], last + 1, np.cumsum(correct)[last]
