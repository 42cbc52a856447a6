"""The weights of an ensemble's members, chosen from the probabilities of all of them; numpy only."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fervit.errors import ConfigError, unknown
from fervit.evaluation.calibration import fit_temperature
from fervit.probabilities import SMALLEST_PROB, log_probs, soften

FITTED, UNIFORM, GREEDY = "fitted", "uniform", "greedy"
WEIGHTS, SELECT = (FITTED, UNIFORM), (GREEDY,)
GAP = 1e-6  # nats that fitted weights may be away from the best ones
MOST_STEPS = 20_000  # of expectation maximisation; a second or two
LEAST_WEIGHT = 0.005  # a member below it costs time at every face and hardly changes a prediction
ROUNDS = 50  # of greedy selection, whose weights come in steps of 2 %
FOLDS = 5

Choose = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From `(M, N, K)` probabilities and `(N,)` targets to `(M,)` weights that sum to 1."""


@dataclass(frozen=True)
class Weighting:
    """How the members of an ensemble are chosen and weighted.

    Attributes:
        weights: `fitted` minimises the ensemble's negative log-likelihood, `uniform` gives equal ones; None is
            `fitted`, or, after greedy selection, how often each member was selected.
        select: `greedy` takes members from the pool one by one as long as they help; None takes all.

    Raises:
        ConfigError: one of the two is unknown.
    """

    weights: str | None = None
    select: str | None = None

    def __post_init__(self) -> None:
        for kind, name, choices in (("weights", self.weights, WEIGHTS), ("selection", self.select, SELECT)):
            if name is not None and name not in choices:
                raise ConfigError(unknown(kind, name, choices))

    def __str__(self) -> str:
        if self.select is None:
            return f"soft vote ({self.weights or FITTED} weights)"
        return f"soft vote ({self.select} selection, {self.weights or 'counted'} weights)"

    @property
    def uses_data(self) -> bool:
        """Whether the weights depend on the data; equal weights of all members do not."""
        return (self.weights, self.select) != (UNIFORM, None)

    def fit(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return `(M,)` weights that sum to 1, for `(M, N, K)` probabilities and `(N,)` targets."""
        if self.select is None:
            return self._weigh(probs, targets)
        weights = select_greedily(probs, targets)
        kept = np.flatnonzero(weights)
        if self.weights is not None:
            weights[kept] = self._weigh(probs[kept], targets)
        return weights

    def _weigh(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if self.weights == UNIFORM:
            return np.full(len(probs), 1 / len(probs))
        weights = fit_weights(probs, targets)
        weights[weights < LEAST_WEIGHT] = 0
        kept: np.ndarray = weights / weights.sum()
        return kept


def mix(probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean `(N, K)` of `(M, N, K)` probabilities, weighted by `(M,)` weights."""
    mixed: np.ndarray = np.tensordot(weights, probs, axes=1)
    return mixed


def likelihoods(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the `(..., N)` probabilities of the true classes, at least `SMALLEST_PROB`, of `(..., N, K)` ones."""
    found: np.ndarray = probs[..., np.arange(len(targets)), targets].clip(SMALLEST_PROB)
    return found


def fit_weights(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the `(M,)` weights on the simplex whose mixture has the smallest negative log-likelihood.

    The problem is convex in the weights. Solved by expectation maximisation, which multiplies each weight by the
    mean of its member's likelihood over the mixture's; the log of the largest of these means bounds how far the
    likelihood is from the best (Cover 1984, IEEE Trans. Inf. Theory 30, 369-373), and below `GAP` it stops.

    Args:
        probs: `(M, N, K)` of the members.
        targets: `(N,)` class indices.
    """
    truth = likelihoods(probs, targets)  # (M, N)
    weights = np.full(len(truth), 1 / len(truth))
    for _ in range(MOST_STEPS):
        gains = truth @ (1 / (weights @ truth)) / len(targets)
        if np.log(gains.max()) < GAP:
            break
        weights = weights * gains
    result: np.ndarray = weights / weights.sum()
    return result


def select_greedily(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return `(M,)` weights: how often forward selection takes each member, over all that it takes.

    Caruana et al. 2004 ("Ensemble selection from libraries of models", section 2): start empty, add the member
    that leaves the plain mean with the smallest negative log-likelihood, again and again, with replacement, and
    take the best of the ensembles on the way.

    Args:
        probs: `(M, N, K)` of the pool.
        targets: `(N,)` class indices.
    """
    truth = likelihoods(probs, targets)  # (M, N)
    counts, total = np.zeros(len(truth)), np.zeros(len(targets))
    best, weights = np.inf, counts
    for taken in range(1, ROUNDS + 1):
        losses = -np.log((total + truth) / taken).mean(axis=1)
        added = int(losses.argmin())
        counts[added] += 1
        total = total + truth[added]
        if losses[added] < best - GAP:
            best, weights = losses[added], counts / taken
    return weights


def temperature_of(probs: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature that calibrates `(N, K)` probabilities, see `calibration.fit_temperature`."""
    return fit_temperature(log_probs(probs), targets)


def cross_fitted(probs: np.ndarray, targets: np.ndarray, choose: Choose, *, folds: int = FOLDS) -> np.ndarray:
    """Return `(N, K)` of an ensemble whose weights and temperature were, for every face, chosen without its fold.

    Args:
        probs: `(M, N, K)` of the members.
        targets: `(N,)` class indices.
        choose: how weights are chosen.
        folds: how many parts the faces are divided into, at random, always in the same way.
    """
    fold = np.random.default_rng(0).permutation(len(targets)) % folds
    fair: np.ndarray = np.empty_like(probs[0])
    for k in range(folds):
        own, others = fold == k, fold != k
        others = others if others.any() else own  # a single face has no others
        weights = choose(probs[:, others], targets[others])
        temperature = temperature_of(mix(probs[:, others], weights), targets[others])
        fair[own] = soften(mix(probs[:, own], weights), temperature)
    return fair
