"""Soft votes in numpy: which members, and with which weights, given the probabilities of all of them."""

from collections.abc import Callable

import numpy as np

from fervit import probabilities
from fervit.errors import ConfigError, unknown
from fervit.evaluation.calibration import fit_temperature
from fervit.probabilities import log_probs, soften

FITTED, UNIFORM, GREEDY = "fitted", "uniform", "greedy"
WEIGHTS, SELECT = (FITTED, UNIFORM), (GREEDY,)
GAP = 1e-6  # nats that fitted weights may be away from the best ones
MOST_STEPS = 20_000  # of expectation maximisation; a second or two
LEAST_WEIGHT = 0.005  # a member below it costs its time and changes no answer worth it
ROUNDS = 50  # of greedy selection; shares come in steps of 2 %
FOLDS = 5

Choose = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From `(M, N, K)` probabilities and `(N,)` targets to `(M,)` weights that sum to 1."""


def chooser(weights: str | None, select: str | None) -> Choose:
    """Return how weights are chosen, see `ensemble.ensemble`.

    Raises:
        ConfigError: there is no such way.
    """
    for kind, name, choices in (("weights", weights, WEIGHTS), ("selection", select, SELECT)):
        if name is not None and name not in choices:
            raise ConfigError(unknown(kind, name, choices))

    def weigh(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if weights == UNIFORM:
            return np.full(len(probs), 1 / len(probs))
        shares = fit_weights(probs, targets)
        shares[shares < LEAST_WEIGHT] = 0
        kept: np.ndarray = shares / shares.sum()
        return kept

    def choose(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        if select is None:
            return weigh(probs, targets)
        shares = select_greedily(probs, targets)
        kept = np.flatnonzero(shares)
        if weights is not None:
            shares[kept] = weigh(probs[kept], targets)
        return shares

    return choose


def mix(probs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the soft vote `(N, K)` of `(M, N, K)` probabilities by `(M,)` weights."""
    mixed: np.ndarray = np.tensordot(weights, probs, axes=1)
    return mixed


def fit_weights(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the `(M,)` weights on the simplex whose mixture has the smallest negative log-likelihood.

    The problem is convex in the weights. Solved by expectation maximisation, which multiplies each weight by the
    mean of its member's likelihood over the mixture's; the log of the largest of these means bounds how far the
    likelihood is from the best (Cover 1984, IEEE Trans. Inf. Theory 30, 369-373), and below `GAP` it stops.

    Args:
        probs: `(M, N, K)` of the members.
        targets: `(N,)` class indices.
    """
    truth = probs[:, np.arange(len(targets)), targets].clip(probabilities.SMALLEST_PROB)  # (M, N)
    weights = np.full(len(truth), 1 / len(truth))
    for _ in range(MOST_STEPS):
        gains = truth @ (1 / (weights @ truth)) / len(targets)
        if np.log(gains.max()) < GAP:
            break
        weights = weights * gains
    result: np.ndarray = weights / weights.sum()
    return result


def select_greedily(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return how often forward selection takes each member, as `(M,)` shares.

    Caruana et al. 2004 ("Ensemble selection from libraries of models", section 2): start empty, add the member
    that leaves the plain mean with the smallest negative log-likelihood, again and again, with replacement, and
    take the best of the ensembles on the way.

    Args:
        probs: `(M, N, K)` of the pool.
        targets: `(N,)` class indices.
    """
    truth = probs[:, np.arange(len(targets)), targets].clip(probabilities.SMALLEST_PROB)  # (M, N)
    counts, total = np.zeros(len(truth)), np.zeros(len(targets))
    best, shares = np.inf, counts
    for taken in range(1, ROUNDS + 1):
        losses = -np.log((total + truth) / taken).mean(axis=1)
        added = int(losses.argmin())
        counts[added] += 1
        total = total + truth[added]
        if losses[added] < best - GAP:
            best, shares = losses[added], counts / taken
    return shares


def cross_fitted(probs: np.ndarray, targets: np.ndarray, choose: Choose, *, folds: int = FOLDS) -> np.ndarray:
    """Return the `(N, K)` vote whose weights and temperature were, for every face, chosen on other folds than its own.

    Args:
        probs: `(M, N, K)` of the members.
        targets: `(N,)` class indices.
        choose: how weights are chosen.
        folds: parts; faces are dealt to them at random, always in the same way.
    """
    fold = np.random.default_rng(0).permutation(len(targets)) % folds
    fair: np.ndarray = np.empty_like(probs[0])
    for k in range(folds):
        own, others = fold == k, fold != k
        others = others if others.any() else own  # a single face has no others
        weights = choose(probs[:, others], targets[others])
        temperature = fit_temperature(log_probs(mix(probs[:, others], weights)), targets[others])
        fair[own] = soften(mix(probs[:, own], weights), temperature)
    return fair
