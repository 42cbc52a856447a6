"""How answers hold up when pictures get worse: corruptions, jitter of the detector's box, and named subsets."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.data.join import read_subset
from fervit.errors import ConfigError, DataError, unknown
from fervit.evaluation import intervals
from fervit.evaluation.corruptions import CORRUPTIONS, JITTERS, SEVERITIES, corrupt
from fervit.evaluation.intervals import Interval
from fervit.evaluation.measurement import measure, predict_dataset
from fervit.types import Classifier

DEFAULT_FACES = 500  # an accuracy over them is known to about 4 points, the mean over all conditions to 1
FIGURES = ("clean", "conditions", "jitter", "subsets", "mean_corruption_score", "summary")


@dataclass(frozen=True)
class Condition:
    """Answers under one corruption at one severity.

    Attributes:
        kind: key of `CORRUPTIONS` or `JITTERS`.
        severity: 1..5.
        right: right answers.
        changed: answers that differ from those for the clean pictures.
        count: pictures.
    """

    kind: str
    severity: int
    right: int
    changed: int
    count: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.count


@dataclass(frozen=True)
class Subset:
    """A named list of pictures against the split's others.

    Attributes:
        name: what the user called it.
        joined: how its lines matched, in words.
        inside: figures of its pictures: `n, accuracy, accuracy_ci95, macro_f1, macro_f1_ci95, ece` and, with FER+
            votes, `accuracy_votes`.
        outside: the same figures of all other pictures of the split; None when there are none.
    """

    name: str
    joined: str
    inside: Mapping[str, Any]
    outside: Mapping[str, Any] | None


@dataclass(frozen=True)
class Robustness:
    """What was measured: one model, a sample of one split, every corruption at every severity.

    Attributes:
        model: the model's name.
        dataset: the data set's name.
        split: the split.
        count: pictures that were corrupted.
        total: pictures of the split.
        clean_right: right answers without corruption.
        conditions: corruptions, in order of kind and severity.
        jitters: the same for the detector's box.
        unchanged: kinds that leave these pictures as they are (grayscale of grey ones): not measured.
        score: mean over all conditions of accuracy relative to clean pictures, 0..1 and a little more.
        score_ci95: its paired bootstrap interval.
        subsets: see `Subset`.
    """

    model: str
    dataset: str
    split: str
    count: int
    total: int
    clean_right: int
    conditions: tuple[Condition, ...]
    jitters: tuple[Condition, ...]
    unchanged: tuple[str, ...]
    score: float | None
    score_ci95: Interval | None
    subsets: tuple[Subset, ...] = ()

    @property
    def clean(self) -> float:
        """Accuracy without corruption."""
        return self.clean_right / self.count

    def relative(self, condition: Condition) -> float | None:
        """Return a condition's accuracy as a share of the clean one; None when nothing was right there."""
        return condition.right / self.clean_right if self.clean_right else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object; shares are 0..1."""

        def rows(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
            return [
                {
                    "kind": c.kind,
                    "severity": c.severity,
                    "accuracy": c.accuracy,
                    "accuracy_ci95": list(intervals.wilson_interval(c.right, c.count)),
                    "relative_accuracy": self.relative(c),
                    "changed_answers": c.changed / c.count,
                }
                for c in conditions
            ]

        report = {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "n": self.count,
            "n_split": self.total,
            "clean": {
                "accuracy": self.clean,
                "accuracy_ci95": list(intervals.wilson_interval(self.clean_right, self.count)),
            },
            "mean_corruption_score": self.score,
            "mean_corruption_score_ci95": list(self.score_ci95) if self.score_ci95 else None,
            "conditions": rows(self.conditions),
            "jitter": rows(self.jitters),
            "unchanged": list(self.unchanged),
            "subsets": [
                {"name": s.name, "joined": s.joined, "inside": s.inside, "outside": s.outside} for s in self.subsets
            ],
        }
        return {**report, "mean_relative": mean_relative(report), "summary": summary(report)}


def robustness(
    classifier: Classifier,
    dataset: Dataset,
    *,
    split: str,
    kinds: Sequence[str] | None = None,
    faces: int | None = DEFAULT_FACES,
    subsets: Mapping[str, str | Path] | None = None,
    batch_size: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Measure a model on corrupted pictures of a split, and on named subsets of it.

    Args:
        classifier: anything with `.spec` and `.probs(crops, batch_size=)`.
        dataset: the data set.
        split: which part of it.
        kinds: keys of `CORRUPTIONS` and `JITTERS`; by default all, an empty list for none.
        faces: pictures to corrupt, drawn at random with every label's share kept; None takes the whole split.
            Subsets always take the whole split, without corruption.
        subsets: name to csv list (see `fervit.data.join`).
        batch_size: pictures at once.
        seed: of the sample and the corruptions.
        progress: called with pictures answered and pictures in all.

    Raises:
        DataError: the split is unknown or empty, or a list cannot be read or names no picture of it.
        ModelError: the labels do not fit, or the model's answers are not probabilities.
        ConfigError: unknown kind.
    """
    part = dataset.split(split)
    known = {**CORRUPTIONS, **JITTERS}
    wanted = list(known) if kinds is None else list(dict.fromkeys(kinds))
    for name in wanted:
        if name not in known:
            raise ConfigError(unknown("corruption", name, known))
    lists = {name: read_subset(part, path) for name, path in (subsets or {}).items()}
    sample = part.take(stratified(part.targets, faces, seed=seed))
    skipped = tuple(name for name in wanted if name == "grayscale" and _grey(sample.images))
    wanted = [name for name in wanted if name not in skipped]
    work = len(sample) * (1 + len(wanted) * len(SEVERITIES)) + (len(part) if lists else 0)
    tick = _Ticker(progress, work)

    def answers(images: Dataset) -> np.ndarray:
        probs = predict_dataset(classifier, images, batch_size=batch_size, progress=tick)
        tick.advance(len(images))
        return probs

    clean = probabilities.check_probs(answers(sample), sample.targets)[0].argmax(axis=1)
    hits, conditions = [clean == sample.targets], []
    for name in wanted:
        for severity in SEVERITIES:
            worse = replace(sample, images=corrupt(sample.images, name, severity, seed=seed))
            answer = answers(worse).argmax(axis=1)
            right, changed = answer == sample.targets, answer != clean
            conditions.append(Condition(name, severity, int(right.sum()), int(changed.sum()), len(sample)))
            if name in CORRUPTIONS:
                hits.append(right)
    score, interval = _score(np.stack(hits, axis=1))
    return Robustness(
        model=classifier.spec.name or classifier.spec.arch,
        dataset=dataset.name,
        split=split,
        count=len(sample),
        total=len(part),
        clean_right=int(hits[0].sum()),
        conditions=tuple(c for c in conditions if c.kind in CORRUPTIONS),
        jitters=tuple(c for c in conditions if c.kind in JITTERS),
        unchanged=skipped,
        score=score,
        score_ci95=interval,
        subsets=_subsets(answers(part), part, lists) if lists else (),
    )


def stratified(targets: np.ndarray, count: int | None, *, seed: int = 0) -> np.ndarray:
    """Draw about `count` positions at random with every label's share kept, at least one of each, in order.

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


def summary(report: Mapping[str, Any]) -> str:
    """Return what was found, in plain words, from what `Robustness.to_dict()` returns."""
    clean = f"{100 * report['clean']['accuracy']:.1f} % right on {report['n']:,} clean faces"
    if report["mean_corruption_score"] is None:
        return f"{clean}; no corruption was measured."
    low, high = report["mean_corruption_score_ci95"]
    worst = sorted(mean_relative(report).items(), key=lambda pair: pair[1])
    names = " and ".join(f"{name} ({100 * share:.0f} %)" for name, share in worst[:2])
    return (
        f"{clean}; over all corruptions {100 * report['mean_corruption_score']:.1f} % of that stays "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}). Worst: {names}."
    )


def mean_relative(report: Mapping[str, Any]) -> dict[str, float]:
    """Return each corruption's accuracy relative to clean pictures, averaged over severities."""
    result: dict[str, list[float]] = {}
    for row in report["conditions"]:
        if row["relative_accuracy"] is not None:
            result.setdefault(row["kind"], []).append(row["relative_accuracy"])
    return {kind: sum(values) / len(values) for kind, values in result.items()}


def read_robustness(path: str | Path) -> dict[str, Any]:
    """Read what `fervit robustness --json` wrote.

    Raises:
        DataError: it is missing, or something else.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON file ({error})") from error
    if not isinstance(report, dict) or any(key not in report for key in FIGURES):
        raise DataError(f"{path} is not what `fervit robustness --json FILE` writes")
    return report


class _Ticker:
    """Adds up the progress of many passes."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(self.done + done, self.total)

    def advance(self, count: int) -> None:
        self.done += count


def _score(hits: np.ndarray) -> tuple[float | None, Interval | None]:
    """Return the mean relative accuracy and its interval from `(N, 1 + M)` hits, clean ones first."""

    def score(sums: np.ndarray) -> np.ndarray:
        result: np.ndarray = (sums[..., 1:] / np.maximum(sums[..., :1], 1)).mean(axis=-1)
        return result

    if hits.shape[1] == 1 or not hits[:, 0].any():
        return None, None
    return float(score(hits.sum(axis=0))), intervals.bootstrap_interval(hits, score)


def _subsets(probs: np.ndarray, part: Dataset, lists: Mapping[str, tuple[np.ndarray, Any]]) -> tuple[Subset, ...]:
    result = []
    for name, (rows, joined) in lists.items():
        mask = np.zeros(len(part), bool)
        mask[rows] = True
        outside = _figures(probs[~mask], part.take(~mask)) if not mask.all() else None
        result.append(Subset(name, joined.describe(), _figures(probs[mask], part.take(mask)), outside))
    return tuple(result)


def _figures(probs: np.ndarray, part: Dataset) -> dict[str, Any]:
    report = measure(probs, part, model="").to_dict()
    keys = ("n", "accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95", "ece", "accuracy_votes")
    return {key: report[key] for key in keys}


def _grey(images: np.ndarray) -> bool:
    return images.shape[3] == 1 or bool((images == images[..., :1]).all())
