"""Two models on the same images: is one better, or does chance explain the difference?

McNemar's test looks at the images that only one of the two classified correctly; the paired bootstrap gives the
difference in accuracy and macro-F1 with its interval. Both keep the pairing, which comparing two intervals throws away.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NotRequired, TypedDict, Unpack

import numpy as np

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.errors import DataError
from fervit.evaluation import intervals, metrics
from fervit.evaluation.intervals import FEWEST, Interval
from fervit.evaluation.parts import choose_split, find_part, say_split
from fervit.evaluation.prediction import PredictOptions, predict_dataset, progress_after
from fervit.formatting import p_value
from fervit.types import Classifier

EXACT_UP_TO = 1000
"""Disagreements; beyond, the corrected chi-square is the same to three digits and quicker."""
LEVEL = 0.05
RESAMPLES = 2000


class CorrectJson(TypedDict):
    """How many images which of the two models classified correctly."""

    both: int
    only_a: int
    only_b: int
    neither: int


class McNemarJson(TypedDict):
    """`McNemar` in what `fervit compare --json` writes."""

    statistic: float
    p: float
    exact: bool


class ComparisonJson(TypedDict):
    """`Comparison` in what `fervit compare --json` writes."""

    a: str
    b: str
    dataset: str
    split: str
    n: int
    accuracy: list[float]
    accuracy_difference: float
    accuracy_difference_ci95: list[float]
    macro_f1: list[float]
    macro_f1_difference: float
    macro_f1_difference_ci95: list[float]
    right: CorrectJson
    same_answer: float
    mcnemar: McNemarJson
    distinguishable: bool
    verdict: str
    left_out_labels: NotRequired[dict[str, int]]


@dataclass(frozen=True)
class McNemar:
    """Test that two models are equally often correct: `statistic`, two-sided `p`, and whether `p` is exact.

    The statistic of the exact test is the smaller count of disagreements, that of the other chi-square with one
    degree of freedom and Edwards' correction.
    """

    statistic: float
    p: float
    exact: bool


@dataclass(frozen=True)
class Comparison:
    """What two models predict for the same images; differences are B minus A.

    Attributes:
        names: of A and B.
        dataset: name of the data set.
        split: the split.
        both: images that both classify correctly.
        only: images that only A, and only B, classifies correctly.
        neither: images that both classify wrongly.
        macro_f1: of A and B.
        accuracy_ci95: paired bootstrap interval of the difference in accuracy.
        macro_f1_ci95: the same of macro-F1.
        test: McNemar's test.
        agreement: fraction of images for which both predict the same.
        left_out: label that a model does not know to the number of its images, which are not compared.
    """

    names: tuple[str, str]
    dataset: str
    split: str
    both: int
    only: tuple[int, int]
    neither: int
    macro_f1: tuple[float, float]
    accuracy_ci95: Interval
    macro_f1_ci95: Interval
    test: McNemar
    agreement: float
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of images."""
        return self.both + sum(self.only) + self.neither

    @property
    def accuracy(self) -> tuple[float, float]:
        """Accuracy of A and of B."""
        return (self.both + self.only[0]) / self.count, (self.both + self.only[1]) / self.count

    @property
    def distinguishable(self) -> bool:
        """Whether the difference in accuracy is more than chance explains, by test and by interval."""
        low, high = self.accuracy_ci95
        return self.count >= FEWEST and self.test.p < LEVEL and not low <= 0 <= high

    @property
    def verdict(self) -> str:
        """What follows, in one sentence."""
        a, b = self.names
        points = 100 * (self.accuracy[1] - self.accuracy[0])
        low, high = (100 * end for end in self.accuracy_ci95)
        found = f"{points:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}, p = {p_value(self.test.p)}"
        if self.count < FEWEST:
            return f"not distinguishable: {self.count} faces are too few to tell {a} from {b} ({found})"
        if not self.distinguishable:
            return f"not distinguishable: chance explains the difference between {a} and {b} ({found})"
        better, worse = (b, a) if points > 0 else (a, b)
        return f"{better} is better than {worse} in accuracy ({b} minus {a}: {found})"

    def to_dict(self) -> ComparisonJson:
        """Return the JSON object."""
        data: ComparisonJson = {
            "a": self.names[0],
            "b": self.names[1],
            "dataset": self.dataset,
            "split": self.split,
            "n": self.count,
            "accuracy": list(self.accuracy),
            "accuracy_difference": self.accuracy[1] - self.accuracy[0],
            "accuracy_difference_ci95": list(self.accuracy_ci95),
            "macro_f1": list(self.macro_f1),
            "macro_f1_difference": self.macro_f1[1] - self.macro_f1[0],
            "macro_f1_difference_ci95": list(self.macro_f1_ci95),
            "right": {"both": self.both, "only_a": self.only[0], "only_b": self.only[1], "neither": self.neither},
            "same_answer": self.agreement,
            "mcnemar": {"statistic": self.test.statistic, "p": self.test.p, "exact": self.test.exact},
            "distinguishable": self.distinguishable,
            "verdict": self.verdict,
        }
        if self.left_out:
            data["left_out_labels"] = dict(self.left_out)
        return data

    @classmethod
    def from_dict(cls, data: ComparisonJson) -> "Comparison":
        """Read what `to_dict` returned."""
        correct, (f1_a, f1_b) = data["right"], data["macro_f1"]
        (low, high), (f1_low, f1_high) = data["accuracy_difference_ci95"], data["macro_f1_difference_ci95"]
        return cls(
            names=(data["a"], data["b"]),
            dataset=data["dataset"],
            split=data["split"],
            both=correct["both"],
            only=(correct["only_a"], correct["only_b"]),
            neither=correct["neither"],
            macro_f1=(f1_a, f1_b),
            accuracy_ci95=(low, high),
            macro_f1_ci95=(f1_low, f1_high),
            test=McNemar(**data["mcnemar"]),
            agreement=data["same_answer"],
            left_out=data.get("left_out_labels", {}),
        )


def mcnemar(only_a: int, only_b: int, *, exact: bool | None = None) -> McNemar:
    """Test whether two models are correct equally often, from the images that only one classified correctly.

    Args:
        only_a: images that only the first classified correctly.
        only_b: images that only the second classified correctly.
        exact: binomial instead of corrected chi-square; by default where it is quick.

    Raises:
        DataError: a count is negative.
    """
    if only_a < 0 or only_b < 0:
        raise DataError(f"expected counts from 0 up, got {only_a} and {only_b}")
    total, less = only_a + only_b, min(only_a, only_b)
    if exact if exact is not None else total <= EXACT_UP_TO:
        below = sum(math.comb(total, k) for k in range(less + 1))
        p = min(1.0, 2 * below / 2**total)  # integers: no rounding before the division
        return McNemar(float(less), p, exact=True)
    if not total:
        return McNemar(0.0, 1.0, exact=False)
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / total  # the correction must not overshoot a tie
    return McNemar(statistic, math.erfc(math.sqrt(statistic / 2)), exact=False)  # chi-square, 1 degree of freedom


def compare(
    first: Classifier,
    second: Classifier,
    dataset: Dataset | tuple[Dataset, Dataset],
    *,
    split: str | None,
    names: tuple[str, str] | None = None,
    strict_labels: bool = False,
    **options: Unpack[PredictOptions],
) -> Comparison:
    """Predict the same split with two models and compare their predictions.

    Args:
        first: model A; anything with `.spec` and `.probs(crops, batch_size=)`.
        second: model B.
        dataset: the whole data set.
        split: which part of it; None as for `evaluate`.
        names: what to call the two; by default what their specs say.
        strict_labels: refuse images whose label a model does not know, instead of leaving them out.
        options: `tta`, `batch_size` and `progress` (of both models together), see `PredictOptions`.

    Raises:
        DataError: the split is unknown or empty.
        ModelError: a model's labels do not fit, or it does not return probabilities.
        ConfigError: unknown `tta`.
    """
    specs = [first.spec, second.spec]
    dataset, second_dataset = dataset if isinstance(dataset, tuple) else (dataset, dataset)
    chosen = choose_split(dataset, split, specs)
    say_split(dataset, chosen, split)
    part = find_part(dataset, specs, split=chosen, strict_labels=strict_labels)
    other = part
    if second_dataset is not dataset:
        other = find_part(second_dataset, specs, split=chosen, strict_labels=strict_labels)
    if not np.array_equal(part.images.rows, other.images.rows):
        raise DataError(f"{dataset.name} has other images for model B than for model A; expected the same in one order")
    progress, count = options.get("progress"), len(part.images)
    probs = []
    for k, (model, seen) in enumerate(((first, part), (second, other))):
        if progress is not None:
            options["progress"] = progress_after(k * count, 2 * count, progress)
        probs.append(predict_dataset(model, seen.images, **options))
    names = names or (first.spec.name or "A", second.spec.name or "B")
    if names[0] == names[1]:
        names = (f"{names[0]} (A)", f"{names[1]} (B)")
    result = compare_probs(probs[0], probs[1], part.images, names=names, split=chosen)
    return replace(result, left_out=part.left_out)


def compare_probs(
    first: np.ndarray, second: np.ndarray, part: Dataset, *, names: tuple[str, str], split: str = ""
) -> Comparison:
    """Compare the probabilities of two models for the images of `part`, `(N, K)` each.

    Raises:
        ModelError: a row holds NaN or does not sum to 1.
        DataError: the numbers of images differ, or there is none.
    """
    predictions = []
    for probs in (first, second):
        checked, targets = probabilities.check_probs(probs, part.targets)
        predictions.append(checked.argmax(axis=1))
    correct = np.stack([predicted == targets for predicted in predictions], axis=1)  # (N, 2)
    classes = len(part.labels)
    pair = np.stack([metrics.cells(targets, predicted, classes) for predicted in predictions], axis=1)  # (N, 2, K, K)
    confusions = pair.sum(axis=0)

    def difference(sums: np.ndarray) -> np.ndarray:
        scores = metrics.macro_f1(sums)
        change: np.ndarray = scores[..., 1] - scores[..., 0]
        return change

    gains = correct[:, 1].astype(np.float64) - correct[:, 0]
    count = len(targets)
    only = int((correct[:, 0] & ~correct[:, 1]).sum()), int((correct[:, 1] & ~correct[:, 0]).sum())
    f1 = metrics.macro_f1(confusions)
    return Comparison(
        names=names,
        dataset=part.name,
        split=split,
        both=int(correct.all(axis=1).sum()),
        only=only,
        neither=int((~correct).all(axis=1).sum()),
        macro_f1=(float(f1[0]), float(f1[1])),
        accuracy_ci95=intervals.bootstrap_interval(gains, lambda sums: sums / count, resamples=RESAMPLES),
        macro_f1_ci95=intervals.bootstrap_interval(pair, difference, resamples=RESAMPLES),
        test=mcnemar(*only),
        agreement=float((predictions[0] == predictions[1]).mean()),
    )
