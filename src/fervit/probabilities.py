"""Probabilities in numpy: softmax, checks, and the floor inside logarithms."""

import numpy as np

from fervit.errors import DataError, ModelError

SMALLEST_PROB = float(np.finfo(np.float64).eps)  # floor inside logarithms, as in scikit-learn's log_loss


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return `(..., K)` float64 probabilities, whatever the logits' size.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    probs: np.ndarray = np.exp(log_softmax(check_finite(logits, "logits")))
    return probs


def check_probs(probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `(N, K)` float64 probabilities and `(N,)` int64 targets that fit each other.

    Raises:
        ModelError: a probability is NaN or infinite, negative, or a row does not sum to 1.
        DataError: there is no picture, the lengths differ, or a target is no column of `probs`.
    """
    probs, targets = check_rows(probs, targets, "probabilities")
    sums = probs.sum(axis=1)
    if probs.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        worst = int(np.abs(sums - 1).argmax())
        raise ModelError(
            f"expected probabilities that sum to 1 in every row, got {sums[worst]:.4g} in row {worst} "
            f"and a smallest value of {probs.min():.4g}; apply softmax to logits first"
        )
    return probs, targets


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of `softmax(logits)`, of the same shape."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def check_finite(values: np.ndarray, what: str) -> np.ndarray:
    """Return `values` as float64.

    Raises:
        ModelError: one of them is NaN or infinite; the message names the first row.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))
        raise ModelError(
            f"the model's {what} are not finite in {len(np.unique(bad[:, 0]))} of {len(values)} rows "
            f"(first: row {bad[0, 0]}); the weights are broken: train or export again"
        )
    return values


def check_rows(values: np.ndarray, targets: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return `(N, K)` float64 values and `(N,)` int64 targets that fit each other.

    Raises:
        ModelError: a value is NaN or infinite.
        DataError: there is none, the shapes do not fit, or a target is no class.
    """
    values, targets = np.asarray(values, np.float64), np.asarray(targets, np.int64)
    if values.ndim != 2 or targets.shape != values.shape[:1]:
        raise DataError(f"expected {what} (N, K) and targets (N,), got shapes {values.shape} and {targets.shape}")
    if not len(targets):
        raise DataError(f"no pictures to measure: {what} and targets are empty")
    if not 0 <= targets.min() <= targets.max() < values.shape[1]:
        raise DataError(f"targets lie in {targets.min()}..{targets.max()}, expected 0..{values.shape[1] - 1}")
    return check_finite(values, what), targets


def log_probs(probs: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities, with `SMALLEST_PROB` in place of smaller ones: logits of a model."""
    logs: np.ndarray = np.log(np.asarray(probs, np.float64).clip(SMALLEST_PROB))
    return logs


def soften(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Return `(..., K)` float64 probabilities whose logarithms were divided by a temperature; above 1 is softer."""
    return softmax(log_probs(probs) / temperature)
