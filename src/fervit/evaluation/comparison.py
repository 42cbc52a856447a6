"""Two models on the same pictures: is one better, or does chance explain the difference?

McNemar's test looks at the pictures that only one of the two got right; the paired bootstrap gives the difference
in accuracy and macro-F1 with its interval. Both keep the pairing, which comparing two intervals throws away.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.errors import DataError
from fervit.evaluation import intervals, metrics
from fervit.evaluation.intervals import FEWEST, Interval
from fervit.evaluation.measurement import predict_dataset
from fervit.types import Classifier

EXACT_UP_TO = 1000  # disagreements; beyond, the corrected chi-square is the same to three digits and quicker
LEVEL = 0.05
RESAMPLES = 2000


@dataclass(frozen=True)
class McNemar:
    """Test that two models are equally often right: `statistic`, two-sided `p`, and whether `p` is exact.

    The statistic of the exact test is the smaller count of disagreements, that of the other chi-square with one
    degree of freedom and Edwards' correction.
    """

    statistic: float
    p: float
    exact: bool


@dataclass(frozen=True)
class Comparison:
    """What two models did with the same pictures; differences are B minus A.

    Attributes:
        names: of A and B.
        dataset: name of the data set.
        split: the split.
        both: pictures that both got right.
        only: pictures that only A, and only B, got right.
        neither: pictures that both got wrong.
        macro_f1: of A and B.
        accuracy_ci95: paired bootstrap interval of the difference in accuracy.
        macro_f1_ci95: the same of macro-F1.
        test: McNemar's test.
        agreement: share of pictures with the same answer.
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

    @property
    def count(self) -> int:
        """Number of pictures."""
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
        found = f"{points:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}, p = {_p(self.test.p)}"
        if self.count < FEWEST:
            return f"not distinguishable: {self.count} faces are too few to tell {a} from {b} ({found})"
        if not self.distinguishable:
            return f"not distinguishable: chance explains the difference between {a} and {b} ({found})"
        better, worse = (b, a) if points > 0 else (a, b)
        return f"{better} is better than {worse} in accuracy ({b} minus {a}: {found})"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
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


def mcnemar(only_a: int, only_b: int, *, exact: bool | None = None) -> McNemar:
    """Test whether two models are right equally often, from the pictures that only one got right.

    Args:
        only_a: pictures that only the first got right.
        only_b: pictures that only the second got right.
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
    dataset: Dataset,
    *,
    split: str,
    names: tuple[str, str] | None = None,
    tta: str | None = None,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Ask two models about the same split and compare their answers.

    Args:
        first: model A; anything with `.spec` and `.probs(crops, batch_size=)`.
        second: model B.
        dataset: the data set; both models must know its labels.
        split: which part of it.
        names: what to call the two; by default what their specs say.
        tta: test-time augmentation of both, or None.
        batch_size: pictures at once.
        progress: called with pictures done and pictures in all, over both models.

    Raises:
        DataError: the split is unknown or empty.
        ModelError: a model's labels do not fit, or its answers are not probabilities.
    """
    part = dataset.split(split)
    both, probs = 2 * len(part), []
    for k, model in enumerate((first, second)):
        offset = k * len(part)
        step = None if progress is None else (lambda done, _, offset=offset: progress(offset + done, both))
        probs.append(predict_dataset(model, part, tta=tta, batch_size=batch_size, progress=step))
    names = names or (first.spec.name or "A", second.spec.name or "B")
    if names[0] == names[1]:
        names = (f"{names[0]} (A)", f"{names[1]} (B)")
    return compare_probs(probs[0], probs[1], part, names=names, split=split)


def compare_probs(
    first: np.ndarray, second: np.ndarray, part: Dataset, *, names: tuple[str, str], split: str = ""
) -> Comparison:
    """Compare the probabilities of two models for the pictures of `part`, `(N, K)` each.

    Raises:
        ModelError: a row holds NaN or does not sum to 1.
        DataError: the numbers of pictures differ, or there is none.
    """
    answers = []
    for probs in (first, second):
        checked, targets = probabilities.check_probs(probs, part.targets)
        answers.append(checked.argmax(axis=1))
    right = np.stack([answer == targets for answer in answers], axis=1)  # (N, 2)
    classes = len(part.labels)
    pair = np.stack([metrics.cells(targets, answer, classes) for answer in answers], axis=1)  # (N, 2, K, K)
    confusions = pair.sum(axis=0)

    def difference(sums: np.ndarray) -> np.ndarray:
        scores = metrics.macro_f1(sums)
        change: np.ndarray = scores[..., 1] - scores[..., 0]
        return change

    hits = right[:, 1].astype(np.float64) - right[:, 0]
    count = len(targets)
    only = int((right[:, 0] & ~right[:, 1]).sum()), int((right[:, 1] & ~right[:, 0]).sum())
    f1 = metrics.macro_f1(confusions)
    return Comparison(
        names=names,
        dataset=part.name,
        split=split,
        both=int(right.all(axis=1).sum()),
        only=only,
        neither=int((~right).all(axis=1).sum()),
        macro_f1=(float(f1[0]), float(f1[1])),
        accuracy_ci95=intervals.bootstrap_interval(hits, lambda sums: sums / count, resamples=RESAMPLES),
        macro_f1_ci95=intervals.bootstrap_interval(pair, difference, resamples=RESAMPLES),
        test=mcnemar(*only),
        agreement=float((answers[0] == answers[1]).mean()),
    )


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
