"""Honest figures of a classifier on one split of a data set: `evaluate()` gives a `Report`."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from fervit import probabilities
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.errors import ConfigError, DataError, ModelError, unknown
from fervit.evaluation import intervals, metrics
from fervit.evaluation.report import Calibration, Report, Share
from fervit.evaluation.selective import WANTED, risk_coverage, threshold_for
from fervit.evaluation.tta import TTA
from fervit.labels import canonical, mapping_matrix
from fervit.types import Classifier, check_labels

BATCHES_PER_STEP = 4  # batches between two calls of `progress`


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
    probs, targets = probabilities.check_probs(probs, part.targets)
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
            "macro_f1": intervals.bootstrap_interval(rows, metrics.macro_f1),
            "balanced_accuracy": intervals.bootstrap_interval(rows, metrics.balanced_accuracy),
        },
        f1_intervals=intervals.bootstrap_intervals(rows, metrics.f1),
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
