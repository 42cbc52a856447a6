"""What an ensemble or a soup is worth: its figures on public_test beside those of its members."""

from dataclasses import dataclass

import numpy as np

from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.ensemble.members import Members
from fervit.ensemble.weights import FOLDS, likelihoods
from fervit.evaluation import intervals
from fervit.evaluation.comparison import Comparison, compare_probs
from fervit.evaluation.measurement import measure
from fervit.reports.card_ensemble import EnsembleLine

FIGURES = ("n", "accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95", "balanced_accuracy", "ece", "nll")


@dataclass(frozen=True, eq=False)
class ModelFigures(EnsembleLine):
    """The figures of a member, or of all members combined.

    Attributes:
        name: what to call it.
        weight: of the member, 0..1; None for all members combined.
        accuracy: fraction of correct predictions, 0..1, and its 95 % interval.
        nll: mean negative log-likelihood in nats, and its 95 % interval.
        probs: `(N, K)` what it predicts on public_test.
    """

    probs: np.ndarray


@dataclass(frozen=True, eq=False)
class Choice:
    """What was made of the members, and what it is worth on public_test.

    Attributes:
        kind: such as `soft vote (fitted weights)` or `greedy soup`.
        dataset: the data set's name.
        members: the figures of each that was given, in that order; those left out have weight 0.
        mix: the ensemble, as it was written.
        fair: the ensemble with weights that were chosen without the face; None where nothing was chosen.
        comparison: the best member against `fair`, or `mix` where nothing was chosen.
    """

    kind: str
    dataset: str
    members: tuple[ModelFigures, ...]
    mix: ModelFigures
    fair: ModelFigures | None
    comparison: Comparison

    @property
    def lines(self) -> tuple[ModelFigures, ...]:
        """All lines of the table."""
        return (*self.members, self.mix, *(() if self.fair is None else (self.fair,)))

    @property
    def better(self) -> bool:
        """Whether it is better than its best member by more than chance explains."""
        return self.comparison.distinguishable and self.comparison.accuracy[1] > self.comparison.accuracy[0]

    @property
    def verdict(self) -> str:
        """What follows, in one sentence."""
        found = self.comparison.verdict
        return found if self.better else f"it is not better than its best member in accuracy: {found}"


def compare_with_best_member(
    kind: str, part: Dataset, members: Members, probs: np.ndarray, fair: np.ndarray | None = None
) -> Choice:
    """Measure the members and what was made of them, and compare the best member with it.

    Args:
        kind: what was made.
        part: public_test.
        members: with their weights.
        probs: `(N, K)` predictions of what was made.
        fair: `(N, K)` what `cross_fitted` returns, or None where nothing was chosen.
    """
    given = zip(members.names, map(float, members.weights), members.probs, strict=True)
    alone = [measure_figures(name, weight, own, part.targets) for name, weight, own in given]
    best = max(alone, key=lambda member: (member.accuracy[0], -member.nll[0]))
    whole = measure_figures(kind, None, probs, part.targets)
    without_face = None
    if fair is not None:
        name = f"the same, chosen without the face ({FOLDS} folds)"
        without_face = measure_figures(name, None, fair, part.targets)
    compared = without_face or whole
    comparison = compare_probs(best.probs, compared.probs, part, names=(best.name, f"the {kind}"), split=PUBLIC_TEST)
    return Choice(kind, part.name, tuple(alone), whole, without_face, comparison)


def measure_figures(name: str, weight: float | None, probs: np.ndarray, targets: np.ndarray) -> ModelFigures:
    """Return accuracy and negative log-likelihood of `(N, K)` probabilities, each with its interval."""
    count = len(targets)
    correct = int((probs.argmax(axis=1) == targets).sum())
    losses = -np.log(likelihoods(probs, targets))
    accuracy = (correct / count, *intervals.wilson_interval(correct, count))
    nll = (float(losses.mean()), *intervals.bootstrap_interval(losses, lambda sums: sums / count))
    return ModelFigures(name, weight, accuracy, nll, probs)


def spec_metrics(probs: np.ndarray, part: Dataset) -> dict[str, dict[str, object]]:
    """Return the `metrics` of a `ModelSpec`: what `(N, K)` probabilities are worth on public_test."""
    report = dict(measure(probs, part, model="").to_dict())
    return {PUBLIC_TEST: {key: report[key] for key in FIGURES}}
