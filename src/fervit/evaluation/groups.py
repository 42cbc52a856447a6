"""How errors spread over people: figures of every group of a csv column, and the gap between groups.

Nothing is claimed about fewer than `FEWEST` images: such groups are listed with their number alone, and so is the
recall of an expression that fewer images of a group show.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypedDict

import numpy as np

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.data.join import KEY_COLUMNS, Joined, join, read_table
from fervit.errors import DataError, unknown
from fervit.evaluation import intervals, metrics
from fervit.evaluation.intervals import FEWEST, Interval, Proportion

MOST_GROUPS = 24
"""Values of a column; one with more is a measurement rather than a grouping."""
RESAMPLES = 2000

Score = Callable[[np.ndarray], np.ndarray]
"""Confusion matrices `(..., K, K)` to figures `(...)`."""
Counts = Callable[[np.ndarray], Proportion]
"""A confusion matrix `(K, K)` to the proportion that a figure is."""


@dataclass(frozen=True)
class Figure:
    """What groups are compared in; a proportion has `counts`, of which exact intervals are known."""

    name: str
    score: Score
    counts: Counts | None = None


FIGURES = (
    Figure("accuracy", metrics.accuracy, lambda matrix: Proportion(int(np.trace(matrix)), int(matrix.sum()))),
    Figure("macro-F1", metrics.macro_f1),
)


class GroupJson(TypedDict):
    """`Group` in report.json."""

    name: str
    n: int
    enough: bool
    accuracy: float | None
    accuracy_ci95: list[float] | None
    macro_f1: float | None
    ece: float | None
    recall: dict[str, float | None] | None
    support: dict[str, int]


class GapJson(TypedDict):
    """`Gap` in report.json."""

    figure: str
    best: str
    worst: str
    value: float
    interval: list[float]
    pairs: int
    beyond_chance: bool


class BreakdownJson(TypedDict):
    """`Breakdown` in report.json."""

    column: str
    missing: int
    groups: list[GroupJson]
    gaps: list[GapJson]
    sentences: list[str]


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which group every image belongs to.

    Attributes:
        columns: column name to N group names; "" where the file says nothing about an image.
        n: images in all.
        missing: images that no line of the file names.
    """

    columns: Mapping[str, Sequence[str]]
    n: int
    missing: int


@dataclass(frozen=True, eq=False)
class Group:
    """Figures of one group; everything but `name`, `n` and `support` is None below `FEWEST` images.

    Attributes:
        name: the value in the column.
        n: images.
        support: images of each label.
        accuracy: correct predictions among the images.
        macro_f1: mean F1 over the labels that occur.
        ece: expected calibration error.
        recall: label to recall, None for a label with fewer than `FEWEST` images.
    """

    name: str
    n: int
    support: dict[str, int]
    accuracy: Proportion | None = None
    macro_f1: float | None = None
    ece: float | None = None
    recall: dict[str, float | None] | None = None

    def to_dict(self) -> GroupJson:
        """Return the JSON object."""
        return {
            "name": self.name,
            "n": self.n,
            "enough": self.accuracy is not None,
            "accuracy": self.accuracy.value if self.accuracy else None,
            "accuracy_ci95": list(self.accuracy.ci95) if self.accuracy else None,
            "macro_f1": self.macro_f1,
            "ece": self.ece,
            "recall": self.recall,
            "support": self.support,
        }

    @classmethod
    def from_dict(cls, data: GroupJson) -> "Group":
        """Read what `to_dict` returned."""
        accuracy = None if data["accuracy"] is None else Proportion.from_value(data["accuracy"], data["n"])
        return cls(data["name"], data["n"], data["support"], accuracy, data["macro_f1"], data["ece"], data["recall"])


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

    def to_dict(self) -> GapJson:
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

    @classmethod
    def from_dict(cls, data: GapJson) -> "Gap":
        """Read what `to_dict` returned."""
        low, high = data["interval"]
        return cls(data["figure"], data["best"], data["worst"], data["value"], (low, high), data["pairs"])


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
            return [f"no gap is claimed: fewer than two groups have {FEWEST} images"]
        return [gap.sentence for gap in self.gaps]

    def to_dict(self) -> BreakdownJson:
        """Return the JSON object."""
        return {
            "column": self.column,
            "missing": self.missing,
            "groups": [group.to_dict() for group in self.groups],
            "gaps": [gap.to_dict() for gap in self.gaps],
            "sentences": self.sentences,
        }

    @classmethod
    def from_dict(cls, data: BreakdownJson) -> "Breakdown":
        """Read what `to_dict` returned."""
        groups, gaps = map(Group.from_dict, data["groups"]), map(Gap.from_dict, data["gaps"])
        return cls(data["column"], tuple(groups), tuple(gaps), data["missing"])


def read_groups(
    part: Dataset, path: str | Path, *, columns: Sequence[str] = (), allow_missing: bool = False
) -> Grouping:
    """Read which group every image of a split belongs to.

    Args:
        part: the images that are measured.
        path: a csv file that names images (see `fervit.data.join`) beside one or more columns of groups.
        columns: which columns to take; by default all that do not name images.
        allow_missing: go on when images are not in the file; they are left out.

    Raises:
        DataError: the file cannot be read or joined, has no column of groups or `columns` names an unknown one, a
            column has too many values, two lines disagree about an image, or images are missing and
            `allow_missing` is not set (the message says how many).
    """
    table = read_table(path)
    wanted = _group_columns(table[0], path, columns)
    joined = join(part, table, where=str(path))
    values = _values(table, joined, wanted, path, count=len(part))
    missing = len(part) - len(np.unique(joined.positions))
    if missing and not allow_missing:
        raise DataError(
            f"{path} misses {missing:,} of {len(part):,} images ({joined.describe()}); "
            "pass --allow-missing to measure the others"
        )
    if missing == len(part):
        raise DataError(f"{path} names no image of {part.name} ({joined.describe()})")
    for name, column in values.items():
        if (kinds := len(set(column) - {""})) > MOST_GROUPS:
            raise DataError(
                f"column {name} of {path} has {kinds} different values, expected at most {MOST_GROUPS}: put them "
                "into bands, or name the column to use with --group-by"
            )
    return Grouping({name: column.tolist() for name, column in values.items()}, len(part), missing)


def _group_columns(first_line: Mapping[str, str], path: str | Path, columns: Sequence[str]) -> list[str]:
    """Return the columns of groups to read, checked against the table's own."""
    have = [name for name in first_line if name and name not in KEY_COLUMNS]
    wanted = [name.strip().lower() for name in columns] or have
    for name in wanted:
        if name not in have:
            raise DataError(unknown(f"column of groups in {path}", name, have or ("none",)))
    if not wanted:
        raise DataError(
            f"{path} has no column of groups beside {', '.join(first_line)}; add one, such as age or gender"
        )
    return wanted


def _values(
    table: Sequence[Mapping[str, str]], joined: Joined, wanted: Sequence[str], path: str | Path, *, count: int
) -> dict[str, np.ndarray]:
    """Return `(count,)` group names of each wanted column, "" where the table is silent."""
    values = {name: np.full(count, "", dtype=object) for name in wanted}
    for image, line in zip(joined.positions, joined.lines, strict=True):
        for name, column in values.items():
            value = table[line][name]
            if column[image] and value and column[image] != value:
                raise DataError(
                    f"{path} says both {column[image]!r} and {value!r} in {name} about one image "
                    f"(line {line + 2}); keep one of the lines"
                )
            column[image] = value or column[image]
    return values


def measure_groups(probs: np.ndarray, part: Dataset, grouping: Grouping) -> tuple[Breakdown, ...]:
    """Measure every group of every column.

    Args:
        probs: `(N, K)` probabilities, columns in the order of `part.labels`.
        part: the images.
        grouping: what `read_groups` returned for the same images.

    Raises:
        ModelError: `probs` holds NaN, or rows that do not sum to 1.
        DataError: there is no image, or the lengths differ.
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
    return tuple(result)


def _measure(name: str, probs: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> Group:
    confusion = metrics.confusion_matrix(targets, probs.argmax(axis=1), len(labels))
    counts = metrics.support(confusion)
    support = dict(zip(labels, counts.tolist(), strict=True))
    if len(targets) < FEWEST:
        return Group(name, len(targets), support)
    recalls = zip(labels, metrics.recall(confusion), counts, strict=True)
    return Group(
        name,
        len(targets),
        support,
        accuracy=Proportion(int(np.trace(confusion)), len(targets)),
        macro_f1=float(metrics.macro_f1(confusion)),
        ece=metrics.ece(probs, targets),
        recall={label: float(recall) if count >= FEWEST else None for label, recall, count in recalls},
    )


def _gaps(
    predicted: np.ndarray, targets: np.ndarray, members: Mapping[str, np.ndarray], labels: Sequence[str]
) -> tuple[Gap, ...]:
    """Return the largest gap in accuracy, in macro-F1 and in the recall of a label, over all pairs of groups."""
    cells = {name: metrics.cells(targets[rows], predicted[rows], len(labels)) for name, rows in members.items()}
    gaps = [widest_gap([figure], cells) for figure in FIGURES]
    recalls = [recall_figure(k, label) for k, label in enumerate(labels)]
    enough = {
        figure.name: {name for name, own in cells.items() if own[:, k].sum() >= FEWEST}
        for k, figure in enumerate(recalls)
    }
    gaps.append(widest_gap(recalls, cells, enough))
    return tuple(gap for gap in gaps if gap is not None)


def widest_gap(
    figures: Sequence[Figure],
    cells: Mapping[str, np.ndarray],
    enough: Mapping[str, set[str]] | None = None,
) -> Gap | None:
    """Return the widest gap of several figures between two groups; its interval allows for all that were looked at.

    Args:
        figures: what to compare.
        cells: group to `(n, K, K)`, what `metrics.cells` returns.
        enough: figure to the groups that have enough images for it; by default all.
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


def recall_figure(k: int, label: str) -> Figure:
    """Return the recall of label number `k` as a figure to compare groups in."""
    return Figure(
        f"recall of {label}",
        lambda confusion: metrics.recall(confusion)[..., k],
        lambda confusion: Proportion(int(confusion[k, k]), int(confusion[k].sum())),
    )


def _difference_interval(first: np.ndarray, second: np.ndarray, figure: Figure, *, level: float) -> Interval:
    """Return the interval of a figure's difference between two groups that have no image in common."""
    if figure.counts is None:
        return intervals.bootstrap_difference_interval(first, second, figure.score, resamples=RESAMPLES, level=level)
    return intervals.newcombe_interval(figure.counts(first.sum(axis=0)), figure.counts(second.sum(axis=0)), level=level)
