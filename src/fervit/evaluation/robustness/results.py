"""What a measurement of robustness found: figures under every corruption, of jittered boxes and of named subsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from fervit.errors import DataError
from fervit.evaluation import intervals
from fervit.evaluation.intervals import Interval, Proportion, as_interval
from fervit.files import read_json


class CleanJson(TypedDict):
    """The accuracy without corruption in robustness.json."""

    accuracy: float
    accuracy_ci95: list[float]


class ConditionJson(TypedDict):
    """`Condition` in robustness.json."""

    kind: str
    severity: int
    accuracy: float
    accuracy_ci95: list[float]
    relative_accuracy: float | None
    changed_answers: float


class SubsetFiguresJson(TypedDict):
    """`SubsetFigures` in robustness.json."""

    n: int
    accuracy: float
    accuracy_ci95: list[float]
    macro_f1: float
    macro_f1_ci95: list[float]
    ece: float
    accuracy_votes: float | None


class SubsetJson(TypedDict):
    """`Subset` in robustness.json."""

    name: str
    joined: str
    inside: SubsetFiguresJson
    outside: SubsetFiguresJson | None


class RobustnessJson(TypedDict):
    """`Robustness` in what `fervit robustness --json` writes, and in report.json."""

    model: str
    dataset: str
    split: str
    n: int
    n_split: int
    clean: CleanJson
    mean_corruption_score: float | None
    mean_corruption_score_ci95: list[float] | None
    conditions: list[ConditionJson]
    jitter: list[ConditionJson]
    unchanged: list[str]
    subsets: list[SubsetJson]
    mean_relative: dict[str, float]
    summary: str


@dataclass(frozen=True)
class Condition:
    """Predictions under one corruption at one severity.

    Attributes:
        kind: key of `CORRUPTIONS` or `JITTERS`.
        severity: 1..5.
        correct: correct predictions.
        changed: predictions that differ from those for the clean images.
        count: images.
    """

    kind: str
    severity: int
    correct: int
    changed: int
    count: int

    @property
    def accuracy(self) -> float:
        """Fraction of correct predictions."""
        return self.correct / self.count

    @property
    def accuracy_ci95(self) -> Interval:
        """Wilson interval of the accuracy."""
        return intervals.wilson_interval(self.correct, self.count)

    @property
    def changed_fraction(self) -> float:
        """Fraction of predictions that differ from those for the clean images."""
        return self.changed / self.count

    @classmethod
    def from_dict(cls, data: ConditionJson, count: int) -> "Condition":
        """Read a row of what `Robustness.to_dict` returned, of `count` images."""
        correct, changed = round(data["accuracy"] * count), round(data["changed_answers"] * count)
        return cls(data["kind"], data["severity"], correct, changed, count)


@dataclass(frozen=True)
class SubsetFigures:
    """Figures of some images of a split.

    Attributes:
        accuracy: correct predictions among the images.
        macro_f1: mean F1 over the labels that occur.
        macro_f1_ci95: its bootstrap interval.
        ece: expected calibration error.
        accuracy_votes: accuracy against the FER+ majority; None without votes.
    """

    accuracy: Proportion
    macro_f1: float
    macro_f1_ci95: Interval
    ece: float
    accuracy_votes: float | None = None

    def to_dict(self) -> SubsetFiguresJson:
        """Return the JSON object."""
        return {
            "n": self.accuracy.count,
            "accuracy": self.accuracy.value,
            "accuracy_ci95": list(self.accuracy.ci95),
            "macro_f1": self.macro_f1,
            "macro_f1_ci95": list(self.macro_f1_ci95),
            "ece": self.ece,
            "accuracy_votes": self.accuracy_votes,
        }

    @classmethod
    def from_dict(cls, data: SubsetFiguresJson) -> "SubsetFigures":
        """Read what `to_dict` returned."""
        low, high = data["macro_f1_ci95"]
        accuracy = Proportion.from_value(data["accuracy"], data["n"])
        return cls(accuracy, data["macro_f1"], (low, high), data["ece"], data["accuracy_votes"])


@dataclass(frozen=True)
class Subset:
    """A named list of images against the split's others.

    Attributes:
        name: what the user called it.
        joined: how its lines matched, in words.
        inside: figures of its images.
        outside: the same figures of all other images of the split; None when there are none.
    """

    name: str
    joined: str
    inside: SubsetFigures
    outside: SubsetFigures | None

    def to_dict(self) -> SubsetJson:
        """Return the JSON object."""
        return {
            "name": self.name,
            "joined": self.joined,
            "inside": self.inside.to_dict(),
            "outside": self.outside.to_dict() if self.outside else None,
        }

    @classmethod
    def from_dict(cls, data: SubsetJson) -> "Subset":
        """Read what `to_dict` returned."""
        outside = None if data["outside"] is None else SubsetFigures.from_dict(data["outside"])
        return cls(data["name"], data["joined"], SubsetFigures.from_dict(data["inside"]), outside)


@dataclass(frozen=True)
class Robustness:
    """What was measured: one model, a sample of one split, every corruption at every severity.

    Attributes:
        model: the model's name.
        dataset: the data set's name.
        split: the split.
        total: images of the split.
        clean: correct predictions without corruption, among the images that were corrupted.
        conditions: corruptions, in order of kind and severity.
        jitters: the same for the detector's box.
        unchanged: kinds that leave these images as they are (grayscale of grey ones), and so were not measured.
        score: mean over all conditions of accuracy relative to clean images, 0..1 and a little more.
        score_ci95: its paired bootstrap interval.
        subsets: see `Subset`.
    """

    model: str
    dataset: str
    split: str
    total: int
    clean: Proportion
    conditions: tuple[Condition, ...]
    jitters: tuple[Condition, ...]
    unchanged: tuple[str, ...]
    score: float | None
    score_ci95: Interval | None
    subsets: tuple[Subset, ...] = ()

    def relative(self, condition: Condition) -> float | None:
        """Return a condition's accuracy relative to the clean one; None when no clean prediction was correct."""
        return condition.correct / self.clean.correct if self.clean.correct else None

    @property
    def mean_relative(self) -> dict[str, float]:
        """Each corruption's accuracy relative to clean images, averaged over severities."""
        return self.relative_of(self.conditions)

    def relative_of(self, conditions: Sequence[Condition]) -> dict[str, float]:
        """Return the accuracy relative to clean images of each kind of these conditions, averaged over severities."""
        result: dict[str, list[float]] = {}
        for condition in conditions:
            if (relative := self.relative(condition)) is not None:
                result.setdefault(condition.kind, []).append(relative)
        return {kind: sum(values) / len(values) for kind, values in result.items()}

    @property
    def summary(self) -> str:
        """What was found, in plain words."""
        clean = f"{100 * self.clean.value:.1f} % correct on {self.clean.count:,} clean faces"
        if self.score is None or self.score_ci95 is None:
            return f"{clean}; no corruption was measured."
        low, high = self.score_ci95
        worst = sorted(self.mean_relative.items(), key=lambda pair: pair[1])
        names = " and ".join(f"{name} ({100 * relative:.0f} %)" for name, relative in worst[:2])
        return (
            f"{clean}; over all corruptions {100 * self.score:.1f} % of that stays "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}). Worst: {names}."
        )

    def to_dict(self) -> RobustnessJson:
        """Return the JSON object; fractions are 0..1."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "split": self.split,
            "n": self.clean.count,
            "n_split": self.total,
            "clean": {"accuracy": self.clean.value, "accuracy_ci95": list(self.clean.ci95)},
            "mean_corruption_score": self.score,
            "mean_corruption_score_ci95": list(self.score_ci95) if self.score_ci95 else None,
            "conditions": [self._row(condition) for condition in self.conditions],
            "jitter": [self._row(condition) for condition in self.jitters],
            "unchanged": list(self.unchanged),
            "subsets": [subset.to_dict() for subset in self.subsets],
            "mean_relative": self.mean_relative,
            "summary": self.summary,
        }

    def _row(self, condition: Condition) -> ConditionJson:
        return {
            "kind": condition.kind,
            "severity": condition.severity,
            "accuracy": condition.accuracy,
            "accuracy_ci95": list(condition.accuracy_ci95),
            "relative_accuracy": self.relative(condition),
            "changed_answers": condition.changed_fraction,
        }

    @classmethod
    def from_dict(cls, data: RobustnessJson) -> "Robustness":
        """Read what `to_dict` returned.

        Raises:
            KeyError: a part is missing.
        """
        count = data["n"]
        return cls(
            model=data["model"],
            dataset=data["dataset"],
            split=data["split"],
            total=data["n_split"],
            clean=Proportion.from_value(data["clean"]["accuracy"], count),
            conditions=tuple(Condition.from_dict(row, count) for row in data["conditions"]),
            jitters=tuple(Condition.from_dict(row, count) for row in data["jitter"]),
            unchanged=tuple(data["unchanged"]),
            score=data["mean_corruption_score"],
            score_ci95=as_interval(data["mean_corruption_score_ci95"]),
            subsets=tuple(map(Subset.from_dict, data["subsets"])),
        )


def read_robustness(path: str | Path) -> Robustness:
    """Read what `fervit robustness --json` wrote.

    Raises:
        DataError: it is missing, or something else.
    """
    data = read_json(path)
    try:
        return Robustness.from_dict(data)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not what `fervit robustness --json FILE` writes") from error
