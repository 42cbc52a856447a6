"""How errors spread over people: figures of every group of a csv column, and the gap between groups.

Nothing is claimed about fewer than `FEWEST` pictures: such groups are listed with their number alone, and so is the
recall of an expression that fewer pictures of a group show.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.data.join import KEY_COLUMNS, join, read_table
from fervit.errors import DataError, unknown
from fervit.evaluation import intervals, metrics
from fervit.evaluation.intervals import FEWEST, Interval

MOST_GROUPS = 24  # values of a column; more is no grouping but a measurement
RESAMPLES = 2000

Score = Callable[[np.ndarray], np.ndarray]
"""Confusion matrices `(..., K, K)` to figures `(...)`."""
Counts = Callable[[np.ndarray], tuple[float, float]]
"""A confusion matrix `(K, K)` to how many are right, and of how many."""


@dataclass(frozen=True)
class _Figure:
    """What groups are compared in; a share has `counts`, of which exact intervals are known."""

    name: str
    score: Score
    counts: Counts | None = None


FIGURES = (
    _Figure("accuracy", metrics.accuracy, lambda confusion: (np.trace(confusion), confusion.sum())),
    _Figure("macro-F1", metrics.macro_f1),
)


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which group every picture belongs to.

    Attributes:
        columns: column name to N group names; "" where the file says nothing about a picture.
        n: pictures in all.
        missing: pictures that no line of the file names.
    """

    columns: Mapping[str, Sequence[str]]
    n: int
    missing: int


@dataclass(frozen=True, eq=False)
class Group:
    """Figures of one group; everything but `name`, `n` and `support` is None below `FEWEST` pictures.

    Attributes:
        name: the value in the column.
        n: pictures.
        support: pictures of each label.
        accuracy: share of right answers.
        accuracy_ci95: its Wilson interval.
        macro_f1: mean F1 over the labels that occur.
        ece: expected calibration error.
        recall: label to recall, None for a label with fewer than `FEWEST` pictures.
    """

    name: str
    n: int
    support: dict[str, int]
    accuracy: float | None = None
    accuracy_ci95: Interval | None = None
    macro_f1: float | None = None
    ece: float | None = None
    recall: dict[str, float | None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "name": self.name,
            "n": self.n,
            "enough": self.accuracy is not None,
            "accuracy": self.accuracy,
            "accuracy_ci95": list(self.accuracy_ci95) if self.accuracy_ci95 else None,
            "macro_f1": self.macro_f1,
            "ece": self.ece,
            "recall": self.recall,
            "support": self.support,
        }


@dataclass(frozen=True)
class Gap:
    """The largest difference between two groups: `best` minus `worst` in a figure, 0..1.

    The interval is widened (Bonferroni) for having looked at every pair of groups and every label, `pairs` of them.
    """

    figure: str
    best: str
    worst: str
    value: float
    interval: Interval
    pairs: int

    @property
    def beyond_chance(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.interval[0] > 0

    @property
    def sentence(self) -> str:
        """What follows, in one sentence."""
        low, high = (round(100 * end, 1) + 0.0 for end in self.interval)  # no -0.0
        verdict = "more than chance explains" if self.beyond_chance else "chance explains it"
        return (
            f"{self.figure}: {self.best} is {100 * self.value:.1f} points above {self.worst} "
            f"(interval {low:.1f} to {high:.1f}): {verdict}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "figure": self.figure,
            "best": self.best,
            "worst": self.worst,
            "value": self.value,
            "interval": list(self.interval),
            "pairs": self.pairs,
            "beyond_chance": self.beyond_chance,
        }


@dataclass(frozen=True, eq=False)
class Breakdown:
    """Figures by one column: its groups in order of name, gaps (none with fewer than two measurable groups)."""

    column: str
    groups: tuple[Group, ...]
    gaps: tuple[Gap, ...]
    missing: int

    @property
    def sentences(self) -> list[str]:
        """What follows, in words."""
        if not self.gaps:
            return [f"no gap is claimed: fewer than two groups have {FEWEST} pictures"]
        return [gap.sentence for gap in self.gaps]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "column": self.column,
            "missing": self.missing,
            "groups": [group.to_dict() for group in self.groups],
            "gaps": [gap.to_dict() for gap in self.gaps],
            "sentences": self.sentences,
        }


def read_groups(
    part: Dataset, path: str | Path, *, columns: Sequence[str] = (), allow_missing: bool = False
) -> Grouping:
    """Read which group every picture of a split belongs to.

    Args:
        part: the pictures that are measured.
        path: a csv file that names pictures (see `fervit.data.join`) beside one or more columns of groups.
        columns: which columns to take; by default all that do not name pictures.
        allow_missing: go on when pictures are not in the file; they are left out.

    Raises:
        DataError: the file cannot be read or joined, has no column of groups or an unknown one was asked for, a
            column has too many values, two lines disagree about a picture, or pictures are missing and
            `allow_missing` is not set (the message says how many).
    """
    table = read_table(path)
    have = [name for name in table[0] if name and name not in KEY_COLUMNS]
    wanted = [name.strip().lower() for name in columns] or have
    for name in wanted:
        if name not in have:
            raise DataError(unknown(f"column of groups in {path}", name, have or ("none",)))
    if not wanted:
        raise DataError(f"{path} has no column of groups beside {', '.join(table[0])}; add one, such as age or gender")
    joined = join(part, table, where=str(path))
    values = {name: np.full(len(part), "", dtype=object) for name in wanted}
    for picture, line in zip(joined.positions, joined.lines, strict=True):
        for name, column in values.items():
            value = table[line][name]
            if column[picture] and value and column[picture] != value:
                raise DataError(
                    f"{path} says both {column[picture]!r} and {value!r} in {name} about one picture "
                    f"(line {line + 2}); keep one of the lines"
                )
            column[picture] = value or column[picture]
    missing = len(part) - len(np.unique(joined.positions))
    if missing and not allow_missing:
        raise DataError(
            f"{path} misses {missing:,} of {len(part):,} pictures ({joined.describe()}); "
            "pass --allow-missing to measure the others"
        )
    if missing == len(part):
        raise DataError(f"{path} names no picture of {part.name} ({joined.describe()})")
    for name, column in values.items():
        if (kinds := len(set(column) - {""})) > MOST_GROUPS:
            raise DataError(
                f"column {name} of {path} has {kinds} different values, expected at most {MOST_GROUPS}: put them "
                "into bands, or name the column to use with --group-by"
            )
    return Grouping({name: column.tolist() for name, column in values.items()}, len(part), missing)


def measure_groups(probs: np.ndarray, part: Dataset, grouping: Grouping) -> list[Breakdown]:
    """Measure every group of every column.

    Args:
        probs: `(N, K)` probabilities, columns in the order of `part.labels`.
        part: the pictures.
        grouping: what `read_groups` gave for the same pictures.

    Raises:
        ModelError: `probs` holds NaN, or rows that do not sum to 1.
        DataError: there is no picture, or the lengths differ.
    """
    probs, targets = probabilities.check_probs(probs, part.targets)
    result = []
    for column, names in grouping.columns.items():
        values = np.asarray(names, dtype=object)
        members = {name: np.flatnonzero(values == name) for name in sorted(set(names) - {""})}
        groups = tuple(_measure(name, probs[rows], targets[rows], part.labels) for name, rows in members.items())
        enough = {name: rows for name, rows in members.items() if len(rows) >= FEWEST}
        gaps = _gaps(probs.argmax(axis=1), targets, enough, part.labels)
        result.append(Breakdown(column, groups, gaps, missing=int((values == "").sum())))
    return result


def _measure(name: str, probs: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> Group:
    confusion = metrics.confusion_matrix(targets, probs.argmax(axis=1), len(labels))
    counts = metrics.support(confusion)
    support = dict(zip(labels, counts.tolist(), strict=True))
    if len(targets) < FEWEST:
        return Group(name, len(targets), support)
    found = metrics.recall(confusion)
    right = int(np.trace(confusion))
    return Group(
        name,
        len(targets),
        support,
        accuracy=right / len(targets),
        accuracy_ci95=intervals.wilson_interval(right, len(targets)),
        macro_f1=float(metrics.macro_f1(confusion)),
        ece=metrics.ece(probs, targets),
        recall={
            label: float(share) if count >= FEWEST else None
            for label, share, count in zip(labels, found, counts, strict=True)
        },
    )


def _gaps(
    predicted: np.ndarray, targets: np.ndarray, members: Mapping[str, np.ndarray], labels: Sequence[str]
) -> tuple[Gap, ...]:
    """Return the largest gap in accuracy, in macro-F1 and in the recall of a label, over all pairs of groups."""
    cells = {name: metrics.cells(targets[rows], predicted[rows], len(labels)) for name, rows in members.items()}
    gaps = [_widest([figure], cells) for figure in FIGURES]
    recalls = [_recall_of(k, label) for k, label in enumerate(labels)]
    enough = {
        figure.name: {name for name, own in cells.items() if own[:, k].sum() >= FEWEST}
        for k, figure in enumerate(recalls)
    }
    gaps.append(_widest(recalls, cells, enough))
    return tuple(gap for gap in gaps if gap is not None)


def _widest(
    figures: Sequence[_Figure],
    cells: Mapping[str, np.ndarray],
    enough: Mapping[str, set[str]] | None = None,
) -> Gap | None:
    """Return the widest gap of several figures between two groups; its interval allows for all that were looked at.

    Args:
        figures: what to compare.
        cells: group to `(n, K, K)`.
        enough: figure to the groups that have enough pictures for it; by default all.
    """
    found = []
    for figure in figures:
        scores = {
            name: float(figure.score(own.sum(axis=0)))
            for name, own in cells.items()
            if enough is None or name in enough[figure.name]
        }
        for first, second in combinations(scores, 2):
            best, worst = (first, second) if scores[first] >= scores[second] else (second, first)
            found.append((scores[best] - scores[worst], figure, best, worst))
    if not found:
        return None
    value, figure, best, worst = max(found, key=lambda entry: entry[0])
    interval = _difference_interval(cells[best], cells[worst], figure, level=1 - 0.05 / len(found))
    return Gap(figure.name, best, worst, value, interval, len(found))


def _recall_of(k: int, label: str) -> _Figure:
    return _Figure(
        f"recall of {label}",
        lambda confusion: metrics.recall(confusion)[..., k],
        lambda confusion: (confusion[k, k], confusion[k].sum()),
    )


def _difference_interval(first: np.ndarray, second: np.ndarray, figure: _Figure, *, level: float) -> Interval:
    """Return the interval of a figure's difference between two groups that share no picture.

    No resampling shows the far ends that a level near 1 asks for. Of shares the ends come from the Wilson intervals
    of both (Newcombe 1998, Statistics in Medicine 17, method 10), of other figures from the bootstrap's standard error.
    """
    totals = [own.sum(axis=0) for own in (first, second)]
    if figure.counts is None:
        return _normal_interval(first, second, figure.score, level)
    shares, ends = [], []
    for right, count in map(figure.counts, totals):
        shares.append(right / count)
        ends.append(intervals.wilson_interval(int(right), int(count), level=level))
    difference, ((low_1, high_1), (low_2, high_2)) = float(shares[0] - shares[1]), ends
    return (
        difference - float(np.hypot(shares[0] - low_1, high_2 - shares[1])),
        difference + float(np.hypot(high_1 - shares[0], shares[1] - low_2)),
    )


def _normal_interval(first: np.ndarray, second: np.ndarray, score: Score, level: float) -> Interval:
    rows = np.zeros((len(first) + len(second), 2, *first.shape[1:]))  # (N, 2, K, K)
    rows[: len(first), 0] = first
    rows[len(first) :, 1] = second

    def difference(sums: np.ndarray) -> np.ndarray:
        change: np.ndarray = score(sums[:, 0]) - score(sums[:, 1])
        return change

    low, high = intervals.bootstrap_interval(rows, difference, resamples=RESAMPLES, level=0.95)
    widened = NormalDist().inv_cdf((1 + level) / 2) / NormalDist().inv_cdf(0.975)
    value, half = float(difference(rows.sum(axis=0)[None])[0]), widened * (high - low) / 2
    return value - half, value + half
