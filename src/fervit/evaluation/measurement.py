"""Honest figures of a classifier on one split of a data set: `evaluate()` returns a `Report`."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

import numpy as np

from fervit import probabilities
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.data.labelling.matching import match_models
from fervit.evaluation import intervals, metrics
from fervit.evaluation.groups import Grouping, measure_groups
from fervit.evaluation.intervals import Proportion
from fervit.evaluation.prediction import PredictOptions, predict_dataset
from fervit.evaluation.report import Calibration, Report
from fervit.evaluation.selective import WANTED, risk_coverage, threshold_for
from fervit.labels import find_places
from fervit.types import Classifier


def evaluate(classifier: Classifier, dataset: Dataset, *, split: str, **options: Unpack[PredictOptions]) -> Report:
    """Measure a classifier on one split.

    Args:
        classifier: anything with `.spec` and `.probs(crops, batch_size=)`.
        dataset: the whole data set: images that the train split has too are looked up in it.
        split: `train`, `public_test` (to choose on) or `private_test` (to read once).
        options: `tta`, `batch_size` and `progress`, see `PredictOptions`.

    Raises:
        DataError: the split is unknown or empty, or all images have one label.
        ModelError: the labels do not fit, or the model does not return probabilities.
        ConfigError: unknown `tta`.
    """
    own = classifier.spec.labels
    dataset = match_models(dataset, own)
    part = dataset.split(split)
    start = time.perf_counter()
    probs = predict_dataset(classifier, part, **options)
    seconds = time.perf_counter() - start
    return replace(
        measure(probs, part, model=classifier.spec.name or classifier.spec.arch, leaks=leak_masks(dataset, split)),
        tta=options.get("tta"),
        seconds=seconds,
        dropped_labels=tuple(name for name, k in zip(own, find_places(dataset.labels, own), strict=True) if k is None),
    )


def measure(probs: np.ndarray, part: Dataset, *, model: str, leaks: Mapping[str, np.ndarray] | None = None) -> Report:
    """Turn the probabilities of one split into a `Report`.

    Args:
        probs: `(N, K)`, columns in the order of `part.labels`.
        part: the split, of one kind throughout.
        model: the model's name.
        leaks: earlier split to `(N,)` bool, images that it has too: what `leak_masks` returns.

    Raises:
        ModelError: `probs` holds NaN, or rows that do not sum to 1.
        DataError: there is no image, or the lengths differ.
    """
    probs, targets = probabilities.check_probs(probs, part.targets)
    predicted = probs.argmax(axis=1)
    correct = predicted == targets
    rows = metrics.cells(targets, predicted, len(part.labels))
    leaked = (leaks or {}).get(TRAIN)
    votes = part.votes
    return Report(
        model=model,
        dataset=part.name,
        data_hash=part.data_hash,
        split="+".join(SPLITS[k] for k in np.unique(part.split_ids)),
        labels=part.labels,
        confusion=metrics.confusion_matrix(targets, predicted, len(part.labels)),
        macro_f1_ci95=intervals.bootstrap_interval(rows, metrics.macro_f1),
        balanced_accuracy_ci95=intervals.bootstrap_interval(rows, metrics.balanced_accuracy),
        f1_ci95=intervals.bootstrap_intervals(rows, metrics.f1),
        calibration=measure_calibration(probs, targets),
        selective=risk_coverage(probs, targets),
        thresholds={wanted: threshold_for(probs, targets, wanted) for wanted in WANTED},
        probs=probs,
        leak_free=None if leaked is None else Proportion(int(correct[~leaked].sum()), int((~leaked).sum())),
        votes=None if votes is None else metrics.vote_agreement(predicted, votes),
        shared_errors=None if votes is None else metrics.vote_agreement(predicted[~correct], votes[~correct]),
        seen_in={name: int(mask.sum()) for name, mask in (leaks or {}).items()},
    )


def measure_calibration(probs: np.ndarray, targets: np.ndarray) -> Calibration:
    """Return how far probabilities `(N, K)` can be believed, measured against targets `(N,)`."""
    return Calibration(
        ece=metrics.ece(probs, targets),
        nll=metrics.nll(probs, targets),
        brier=metrics.brier(probs, targets),
        confidence=float(probs.max(axis=1).mean()),
        bins=np.stack(metrics.reliability(probs, targets), axis=1),
    )


def add_groups(report: Report, part: Dataset, grouping: Grouping) -> Report:
    """Return the report with figures of every group of people, from the probabilities that it holds.

    Args:
        report: what `evaluate` returned.
        part: the images that were measured.
        grouping: what `groups.read_groups` returned for them.

    Raises:
        DataError: the report holds no probabilities of these images, since it was read from a file.
    """
    return replace(report, groups=measure_groups(report.probs, part.with_labels(report.labels), grouping))


def add_threshold(report: Report, part: Dataset, precision: float) -> Report:
    """Return the report with the threshold that reaches one more `precision`, see `selective.threshold_for`.

    Raises:
        ConfigError: `precision` is not above 0 and at most 1.
        DataError: the report holds no probabilities of these images, since it was read from a file.
    """
    if precision in report.thresholds:
        return report
    points = {
        **report.thresholds,
        precision: threshold_for(report.probs, part.with_labels(report.labels).targets, precision),
    }
    return replace(report, thresholds=dict(sorted(points.items())))


def leak_mask(dataset: Dataset, split: str) -> np.ndarray | None:
    """Return which images of `split` the train split has too, pixel for pixel, `(n,)` bool.

    None when there is nothing to compare: no train split, or it is the one that is named.
    """
    return leak_masks(dataset, split).get(TRAIN)


def leak_masks(dataset: Dataset, split: str) -> dict[str, np.ndarray]:
    """Return which images of `split` each earlier split has too, pixel for pixel: its name to `(n,)` bool."""
    earlier = [name for name in SPLITS[: SPLITS.index(split)] if name in dataset.split_names]
    if not earlier:
        return {}
    from fervit.data.audit import duplicate_groups, exact_leaks

    groups = duplicate_groups(dataset.images)
    own = dataset.split_ids == SPLITS.index(split)
    return {name: exact_leaks(dataset, seen=(name,), groups=groups)[own] for name in earlier}
