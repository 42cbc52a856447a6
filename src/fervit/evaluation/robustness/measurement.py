"""Measure a model on corrupted images, on crops of a jittered box, and on named subsets of a split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.data.join import Joined, read_subset
from fervit.errors import ConfigError, unknown
from fervit.evaluation import intervals, metrics
from fervit.evaluation.intervals import Interval, Proportion
from fervit.evaluation.parts import choose_split, find_part, say_split
from fervit.evaluation.prediction import Progress, predict_dataset
from fervit.evaluation.robustness.corruptions import CORRUPTIONS, JITTERS, SEVERITIES, corrupt
from fervit.evaluation.robustness.results import Condition, Robustness, Subset, SubsetFigures
from fervit.types import Classifier

DEFAULT_FACES = 500
"""Faces to corrupt: an accuracy over them is known to about 4 points, the mean over all conditions to 1."""


@dataclass(frozen=True)
class RobustnessPlan:
    """What to measure of a model's robustness.

    Attributes:
        kinds: keys of `CORRUPTIONS` and `JITTERS`; None for all, an empty list for none.
        faces: images to corrupt, drawn at random with the proportions of the labels kept; None takes the whole split.
            Subsets always take the whole split, without corruption.
        subsets: name to csv list (see `fervit.data.join`).
        seed: of the sample and the corruptions.
        strict_labels: refuse images whose label the model does not know, instead of leaving them out.
    """

    kinds: Sequence[str] | None = None
    faces: int | None = DEFAULT_FACES
    subsets: Mapping[str, str | Path] = field(default_factory=dict)
    seed: int = 0
    strict_labels: bool = False


def measure_robustness(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str | None,
    plan: RobustnessPlan | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Robustness:
    """Measure a model on corrupted images of a split, and on named subsets of it.

    Args:
        classifier: anything with `.spec` and `.probs(crops, batch_size=)`.
        dataset: the data set.
        split: which part of it; None as for `evaluate`.
        plan: which corruptions and subsets, and how many faces; by default all corruptions of `DEFAULT_FACES` faces.
        batch_size: images at once.
        progress: called with images predicted and images in all.

    Raises:
        DataError: the split is unknown or empty, or a list cannot be read or names no image of it.
        ModelError: the labels do not fit, or the model does not return probabilities.
        ConfigError: unknown kind.
    """
    plan = plan or RobustnessPlan()
    chosen = choose_split(dataset, split, [classifier.spec])
    say_split(dataset, chosen, split)
    part = find_part(dataset, [classifier.spec], split=chosen, strict_labels=plan.strict_labels).images
    wanted = _known_kinds(plan.kinds)
    lists = {name: read_subset(part, path) for name, path in plan.subsets.items()}
    sample = part.take(stratified(part.targets, plan.faces, seed=plan.seed))
    skipped = tuple(name for name in wanted if name == "grayscale" and _is_grey(sample.images))
    wanted = [name for name in wanted if name not in skipped]
    work = len(sample) * (1 + len(wanted) * len(SEVERITIES)) + (len(part) if lists else 0)
    predictor = _Predictor(classifier, batch_size, progress, work)
    clean = probabilities.check_probs(predictor(sample), sample.targets)[0].argmax(axis=1)
    conditions, correct = _conditions(predictor, sample, clean, wanted, plan.seed)
    score, interval = _score(correct)
    return Robustness(
        model=classifier.spec.name or classifier.spec.arch,
        dataset=dataset.name,
        split=chosen,
        total=len(part),
        clean=Proportion(int(correct[:, 0].sum()), len(sample)),
        conditions=tuple(c for c in conditions if c.kind in CORRUPTIONS),
        jitters=tuple(c for c in conditions if c.kind in JITTERS),
        unchanged=skipped,
        score=score,
        score_ci95=interval,
        subsets=_subsets(predictor(part), part, lists) if lists else (),
    )


def stratified(targets: np.ndarray, count: int | None, *, seed: int = 0) -> np.ndarray:
    """Draw about `count` positions at random with the proportions of the labels kept, at least one of each, in order.

    Raises:
        ConfigError: `count` is not positive.
    """
    if count is not None and count < 1:
        raise ConfigError(f"expected at least one face, got {count}; leave the number out to take all")
    if count is None or count >= len(targets):
        return np.arange(len(targets))
    rng = np.random.default_rng(seed)
    chosen = []
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        chosen.append(rng.permutation(rows)[: max(1, round(count * len(rows) / len(targets)))])
    return np.sort(np.concatenate(chosen))


class _Predictor:
    """Predicts data set after data set and adds up the progress of all of them."""

    def __init__(self, classifier: Classifier, batch_size: int, progress: Progress | None, total: int):
        self.classifier, self.batch_size = classifier, batch_size
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, images: Dataset) -> np.ndarray:
        probs = predict_dataset(self.classifier, images, batch_size=self.batch_size, progress=self._report)
        self.done += len(images)
        return probs

    def _report(self, done: int, _: int) -> None:
        if self.progress is not None:
            self.progress(self.done + done, self.total)


def _known_kinds(kinds: Sequence[str] | None) -> list[str]:
    known = {**CORRUPTIONS, **JITTERS}
    wanted = list(known) if kinds is None else list(dict.fromkeys(kinds))
    for name in wanted:
        if name not in known:
            raise ConfigError(unknown("corruption", name, known))
    return wanted


def _conditions(
    predictor: _Predictor, sample: Dataset, clean: np.ndarray, kinds: Sequence[str], seed: int
) -> tuple[list[Condition], np.ndarray]:
    """Measure every kind at every severity.

    Returns:
        The conditions, and `(N, 1 + M)` bool: which images are predicted correctly, clean ones first, then under each
        of the M conditions that count in the score.
    """
    columns, conditions = [clean == sample.targets], []
    for name in kinds:
        for severity in SEVERITIES:
            corrupted = replace(sample, images=corrupt(sample.images, name, severity, seed=seed))
            predicted = predictor(corrupted).argmax(axis=1)
            correct, changed = predicted == sample.targets, predicted != clean
            conditions.append(Condition(name, severity, int(correct.sum()), int(changed.sum()), len(sample)))
            if name in CORRUPTIONS:
                columns.append(correct)
    return conditions, np.stack(columns, axis=1)


def _score(correct: np.ndarray) -> tuple[float | None, Interval | None]:
    """Return the mean relative accuracy and its interval from what `_conditions` returns."""

    def score(sums: np.ndarray) -> np.ndarray:
        result: np.ndarray = (sums[..., 1:] / np.maximum(sums[..., :1], 1)).mean(axis=-1)
        return result

    if correct.shape[1] == 1 or not correct[:, 0].any():
        return None, None
    return float(score(correct.sum(axis=0))), intervals.bootstrap_interval(correct, score)


def _subsets(probs: np.ndarray, part: Dataset, lists: Mapping[str, tuple[np.ndarray, Joined]]) -> tuple[Subset, ...]:
    result = []
    for name, (rows, joined) in lists.items():
        mask = np.zeros(len(part), bool)
        mask[rows] = True
        outside = _figures(probs[~mask], part.take(~mask)) if not mask.all() else None
        result.append(Subset(name, joined.describe(), _figures(probs[mask], part.take(mask)), outside))
    return tuple(result)


def _figures(probs: np.ndarray, part: Dataset) -> SubsetFigures:
    probs, targets = probabilities.check_probs(probs, part.targets)
    predicted = probs.argmax(axis=1)
    rows = metrics.cells(targets, predicted, len(part.labels))
    votes = None if part.votes is None else metrics.vote_agreement(predicted, part.votes)
    return SubsetFigures(
        accuracy=Proportion(int((predicted == targets).sum()), len(targets)),
        macro_f1=float(metrics.macro_f1(rows.sum(axis=0))),
        macro_f1_ci95=intervals.bootstrap_interval(rows, metrics.macro_f1),
        ece=metrics.ece(probs, targets),
        accuracy_votes=votes.value if votes and votes.count else None,
    )


def _is_grey(images: np.ndarray) -> bool:
    return images.shape[3] == 1 or bool((images == images[..., :1]).all())
