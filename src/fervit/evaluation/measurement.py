"""Honest figures of a classifier on one split of a data set: `evaluate()` returns a `Report`."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

import numpy as np

from fervit import probabilities
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.evaluation import intervals, metrics
from fervit.evaluation.groups import Grouping, measure_groups
from fervit.evaluation.intervals import Proportion
from fervit.evaluation.parts import Part, choose_split, find_part, leaks_in, say_split
from fervit.evaluation.photos.detection import measure_detection
from fervit.evaluation.prediction import PredictOptions, predict_dataset
from fervit.evaluation.report import Calibration, Report
from fervit.evaluation.selective import WANTED, risk_coverage, threshold_for
from fervit.labels import find_places
from fervit.types import Classifier


def evaluate(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str | None,
    strict_labels: bool = False,
    **options: Unpack[PredictOptions],
) -> Report:
    """Measure a classifier on one split.

    Args:
        classifier: anything with `.spec` and `.probs(crops, batch_size=)`.
        dataset: the whole data set: images that the train split has too are looked up in it. Where it was loaded with
            `detect` and `keep_missed`, photos without a face count as wrong in `Report.detection`.
        split: `train`, `public_test` (to choose on), `private_test` (to read once), `all`, or None, see `choose_split`.
        strict_labels: refuse images whose label the model does not know, instead of leaving them out.
        options: `tta`, `batch_size` and `progress`, see `PredictOptions`.

    Raises:
        DataError: the split is unknown or empty, or all images have one label.
        ModelError: the labels do not fit, or the model does not return probabilities.
        ConfigError: unknown `tta`.
    """
    spec = classifier.spec
    chosen = choose_split(dataset, split, [spec])
    say_split(dataset, chosen, split)
    part = find_part(dataset, [spec], split=chosen, strict_labels=strict_labels)
    return evaluate_part(classifier, dataset, part, **options)


def evaluate_part(classifier: Classifier, dataset: Dataset, part: Part, **options: Unpack[PredictOptions]) -> Report:
    """Measure a classifier on images of a data set that `find_part` chose; see `evaluate`."""
    spec, images = classifier.spec, part.images
    start = time.perf_counter()
    probs = predict_dataset(classifier, images, **options)
    seconds = time.perf_counter() - start
    places = zip(spec.labels, find_places(images.labels, spec.labels), strict=True)
    report = measure(probs, images, model=spec.name or spec.arch, leaks=leaks_in(dataset, part, spec))
    return replace(
        report,
        split=part.split,
        detection=measure_detection(part.photos, report.accuracy.correct),
        tta=options.get("tta"),
        seconds=seconds,
        dropped_labels=tuple(name for name, place in places if place is None),
        left_out=part.left_out,
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
        vote_distribution=None if votes is None else metrics.measure_votes(probs, votes),
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
