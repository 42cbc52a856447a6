"""Honest figures of a classifier on one split of a data set: `evaluate()` gives a `Report`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fervit import metrics
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.errors import ConfigError, DataError, ModelError, unknown
from fervit.labels import canonical, mapping_matrix
from fervit.selective import WANTED, Operating, RiskCoverage, risk_coverage, threshold_for
from fervit.types import ModelSpec, check_labels

BATCHES_PER_STEP = 4  # batches between two calls of `progress`
CROP_SHARE = 0.9  # of the side, in five_crops: 224 px of 256 (Krizhevsky et al. 2012, section 4.1) is 0.875
Interval = tuple[float, float]


def flip(crops: np.ndarray) -> list[np.ndarray]:
    """Return pictures and their mirror images, of `(B, H, W, C)`."""
    return [crops, np.ascontiguousarray(crops[:, :, ::-1])]


def five_crops(crops: np.ndarray) -> list[np.ndarray]:
    """Return the four corners and the centre of pictures, `CROP_SHARE` of their sides, of `(B, H, W, C)`.

    They are smaller, and the model's own resizing scales them up: pictures are interpolated once.
    """
    height, width = crops.shape[1:3]
    tall, wide = max(1, round(CROP_SHARE * height)), max(1, round(CROP_SHARE * width))
    bottom, right = height - tall, width - wide
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [crops[:, y : y + tall, x : x + wide] for y, x in corners]


def flip_five_crops(crops: np.ndarray) -> list[np.ndarray]:
    """Return the five crops of pictures and of their mirror images, of `(B, H, W, C)`."""
    return [view for way in flip(crops) for view in five_crops(way)]


TTA: dict[str, Callable[[np.ndarray], list[np.ndarray]]] = {
    "flip": flip,
    "five_crops": five_crops,
    "flip_five_crops": flip_five_crops,
}
"""Test-time augmentation: from pictures to the views whose probabilities are averaged."""


class Classifier(Protocol):
    """What turns face crops into probabilities: `runtime.OnnxClassifier` and `models.TorchClassifier`."""

    spec: ModelSpec

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = ...) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of N uint8 crops."""
        ...


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
        return metrics.wilson_interval(self.right, self.count) if self.count else None


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


def evaluate(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str,
    tta: str | None = None,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measure a classifier on one split.

    Args:
        classifier: anything with `.spec` and `.probs(crops, batch_size=)`.
        dataset: the whole data set: leaks are looked up in its train split.
        split: `train`, `public_test` (to choose on) or `private_test` (to read once).
        tta: None, or a key of `TTA`: the mean of the probabilities of several views of each picture.
        batch_size: pictures at once.
        progress: called with pictures done and pictures in all.

    Raises:
        DataError: the split is unknown or empty.
        ModelError: the labels do not fit, or the model's answers are not probabilities.
        ConfigError: unknown `tta`.
    """
    part = dataset.split(split)
    start = time.perf_counter()
    probs = predict_dataset(classifier, part, tta=tta, batch_size=batch_size, progress=progress)
    seconds = time.perf_counter() - start
    known = {canonical(name) for name in dataset.labels}
    seen = leak_masks(dataset, split)
    return measure(
        probs,
        part,
        model=classifier.spec.name or classifier.spec.arch,
        leaks=seen.get(TRAIN),
        seen_in={name: int(mask.sum()) for name, mask in seen.items()},
        tta=tta,
        seconds=seconds,
        dropped_labels=tuple(name for name in classifier.spec.labels if canonical(name) not in known),
    )


def predict_dataset(
    classifier: Classifier,
    dataset: Dataset,
    *,
    tta: str | None = None,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return `(N, K)` float64 probabilities of every picture, columns in the order of the data's labels.

    Raises:
        ModelError: the labels do not fit (see `label_mapping`), or the answers have the wrong shape.
        ConfigError: unknown `tta`.
    """
    if tta is not None and tta not in TTA:
        raise ConfigError(unknown("test-time augmentation", tta, TTA))
    matrix = label_mapping(classifier.spec.labels, dataset)
    count, step = len(dataset), batch_size * BATCHES_PER_STEP
    parts = []
    for start in range(0, count, step):
        crops = dataset.images[start : start + step]  # (B, H, W, C)
        views = [crops] if tta is None else TTA[tta](crops)
        parts.append(sum(_ask(classifier, view, batch_size) for view in views) / len(views))
        if progress is not None:
            progress(min(start + step, count), count)
    return _map(np.concatenate(parts), matrix) if parts else np.empty((0, len(dataset.labels)))


def label_mapping(labels: Sequence[str], dataset: Dataset) -> np.ndarray | None:
    """Return the matrix from the model's labels to the data's, matched by name; None when they are the same.

    The model may know them in another order, by another spelling, or know more; it must know every label that
    occurs in `dataset`.

    Raises:
        ModelError: the model lacks a label that occurs; the message names both lists.
    """
    ours, theirs = [canonical(name) for name in labels], [canonical(name) for name in dataset.labels]
    if ours == theirs:
        return None
    occurring = {theirs[k] for k in np.unique(dataset.targets)}
    if missing := sorted(occurring - set(ours)):
        check_labels(labels, dataset.labels, f"the model cannot answer {', '.join(missing)}")
    try:
        return mapping_matrix(labels, dataset.labels)
    except DataError as error:  # only of an empty data set
        raise ModelError(str(error)) from error


def leak_mask(dataset: Dataset, split: str) -> np.ndarray | None:
    """Return which pictures of `split` stand pixel for pixel in the train split, `(n,)` bool.

    None when there is nothing to compare: no train split, or it is the one asked for.
    """
    return leak_masks(dataset, split).get(TRAIN)


def leak_masks(dataset: Dataset, split: str) -> dict[str, np.ndarray]:
    """Return which pictures of `split` stand pixel for pixel in each earlier split, `(n,)` bool by its name."""
    earlier = [name for name in SPLITS[: SPLITS.index(split)] if name in dataset.split_names]
    if not earlier:
        return {}
    from fervit.data.audit import duplicate_groups, exact_leaks

    groups = duplicate_groups(dataset.images)
    own = dataset.split_ids == SPLITS.index(split)
    return {name: exact_leaks(dataset, seen=(name,), groups=groups)[own] for name in earlier}


def measure(
    probs: np.ndarray,
    part: Dataset,
    *,
    model: str,
    leaks: np.ndarray | None = None,
    seen_in: dict[str, int] | None = None,
    tta: str | None = None,
    seconds: float = 0.0,
    dropped_labels: tuple[str, ...] = (),
) -> Report:
    """Turn the probabilities of one split into a `Report`.

    Args:
        probs: `(N, K)`, columns in the order of `part.labels`.
        part: the split, of one kind throughout.
        model: the model's name.
        leaks: `(N,)` bool, pictures that also stand in train; None when unknown.
        seen_in: earlier split to how many of the pictures also stand there; by default what `leaks` says.
        tta: how the probabilities came about.
        seconds: how long they took.
        dropped_labels: labels that only the model knows.

    Raises:
        ModelError: `probs` holds NaN, or rows that do not sum to 1.
        DataError: there is no picture, or the lengths differ.
    """
    probs, targets = metrics.check_probs(probs, part.targets)
    predicted, classes = probs.argmax(axis=1), len(part.labels)
    right = predicted == targets
    rows = metrics.cells(targets, predicted, classes)
    return Report(
        model=model,
        dataset=part.name,
        data_hash=part.data_hash,
        split="+".join(SPLITS[k] for k in np.unique(part.split_ids)),
        labels=part.labels,
        confusion=metrics.confusion_matrix(targets, predicted, classes),
        intervals={
            "macro_f1": metrics.bootstrap_interval(rows, metrics.macro_f1),
            "balanced_accuracy": metrics.bootstrap_interval(rows, metrics.balanced_accuracy),
        },
        f1_intervals=metrics.bootstrap_intervals(rows, metrics.f1),
        selective=risk_coverage(probs, targets),
        thresholds={wanted: threshold_for(probs, targets, wanted) for wanted in WANTED},
        probs=probs,
        calibration=Calibration(
            ece=metrics.ece(probs, targets),
            nll=metrics.nll(probs, targets),
            brier=metrics.brier(probs, targets),
            confidence=float(probs.max(axis=1).mean()),
            bins=np.stack(metrics.reliability(probs, targets), axis=1),
        ),
        leak_free=None if leaks is None else Share(int(right[~leaks].sum()), int((~leaks).sum())),
        votes=_agreement(predicted, part.votes),
        shared_errors=_agreement(predicted[~right], None if part.votes is None else part.votes[~right]),
        tta=tta,
        seconds=seconds,
        seen_in=seen_in or ({} if leaks is None else {TRAIN: int(leaks.sum())}),
        dropped_labels=dropped_labels,
    )


def _agreement(predicted: np.ndarray, votes: np.ndarray | None) -> Share | None:
    """Count answers that are (one of) the most voted labels; pictures without votes are left out."""
    if votes is None:
        return None
    voted = votes.sum(axis=1) > 0
    most = votes[np.arange(len(votes)), predicted] >= votes.max(axis=1) - 1e-6
    return Share(int((most & voted).sum()), int(voted.sum()))


def _ask(classifier: Classifier, crops: np.ndarray, batch_size: int) -> np.ndarray:
    probs = np.asarray(classifier.probs(crops, batch_size=batch_size), np.float64)
    expected = (len(crops), len(classifier.spec.labels))
    if probs.shape != expected:
        raise ModelError(f"the model answered with shape {probs.shape}, expected {expected} (pictures, labels)")
    return probs


def _map(probs: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Bring columns to the data's labels; what the dropped ones held is shared out in proportion."""
    if matrix is None:
        return probs
    mapped = probs @ matrix
    sums = mapped.sum(axis=1, keepdims=True)
    answerable = matrix.any(axis=0) / matrix.any(axis=0).sum()
    # a row that put everything on a label that the data lacks knows nothing about the others
    result: np.ndarray = np.where(sums > 0, mapped / np.where(sums > 0, sums, 1), answerable)
    return result


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval[0], interval[1]]
