"""Calibration: temperature scaling, and a bias per class beside the temperature, fitted on validation data.

Bias-corrected temperature scaling: Alexandari, Kundaje & Shrikumar 2020 (arXiv 1901.06852). Both are affine in the
logits, so they fold into the classifier's last layer and every runtime returns calibrated probabilities. The bias also
undoes a shift of the class frequencies between the training targets and the labels, such as FER+ votes bring (they say
`neutral` where FER2013 says `sad` or `fear`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fervit.evaluation.metrics import nll
from fervit.probabilities import check_rows, log_softmax, softmax

TEMPERATURES = (0.05, 20.0)  # where the search stops when no finite temperature is best
RIDGE = 1e-6  # the bias is free up to a constant; this picks the small one
ITERATIONS = 100
TOLERANCE = 1e-10
SMALLEST_STEP = 2.0**-20
FOLDS = 5
FEWEST = 2 * FOLDS  # images; fewer cannot be cross-validated
SLACK = 0.005  # nats by which a fit may be worse for images that it has not seen; below, it is nothing but noise
SIMPLER = {"bcts": ("bcts", "temperature", "none"), "temperature": ("temperature", "none"), "none": ("none",)}
"""What may be fitted in place of a method that does not hold in cross-validation, in this order."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A calibration that was fitted and cross-validated on the same images.

    Attributes:
        method: what was fitted, which is simpler than what was asked for where that does not hold.
        temperature: of `softmax(logits / temperature + bias)`.
        bias: `(K,)`.
        unseen: `(N, K)` the images' logits, each calibrated by a fit to the other folds.
        note: why another method than the one asked for was fitted; "" where it is that one.
    """

    method: str
    temperature: float
    bias: np.ndarray
    unseen: np.ndarray
    note: str = ""


def fit_checked(logits: np.ndarray, targets: np.ndarray, method: str) -> Fit:
    """Fit a calibration, or a simpler one where that is better for images that it has not seen.

    With few images, a bias per class learns them by heart: the accuracy on them rises, and on others it falls.

    Args:
        logits: `(N, K)` of validation images.
        targets: `(N,)` class indices.
        method: `bcts`, `temperature` or `none`, see `calibrate`.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    logits = np.asarray(logits, np.float64)
    methods = SIMPLER[method] if len(targets) >= FEWEST else ("none",)
    unseen = {name: cross_calibrated(logits, targets, name) for name in methods}
    losses = {name: nll(softmax(values), targets) for name, values in unseen.items()}
    best = min(losses.values())
    fitted = next((name for name in methods if losses[name] <= best + SLACK), "none")
    note = "" if fitted == method else _note(method, fitted, len(targets), losses)
    return Fit(fitted, *calibrate(logits, targets, fitted), unseen[fitted], note)


def _note(method: str, fitted: str, count: int, losses: Mapping[str, float]) -> str:
    """Return why `fitted` took the place of a method; `losses` are what methods come to in cross-validation."""
    why = f"NLL in {FOLDS}-fold cross-validation: {', '.join(f'{name} {loss:.3f}' for name, loss in losses.items())}"
    if count < FEWEST:
        why = f"they are fewer than {FEWEST}"
    instead = "the model is not calibrated" if fitted == "none" else f"{fitted} is fitted instead"
    return f"calibration = {method} does not hold on the {count:,} images of the validation split ({why}): {instead}"


def cross_calibrated(logits: np.ndarray, targets: np.ndarray, method: str) -> np.ndarray:
    """Return `(N, K)` calibrated logits, each by what was fitted to the images of the other folds.

    Args:
        logits: `(N, K)`, of `FOLDS` images or more.
        targets: `(N,)` class indices.
        method: see `calibrate`.
    """
    if method == "none":
        return logits
    fold = np.random.default_rng(0).permutation(len(targets)) % FOLDS
    unseen = np.empty_like(logits)
    for k in range(FOLDS):
        temperature, bias = calibrate(logits[fold != k], targets[fold != k], method)
        unseen[fold == k] = logits[fold == k] / temperature + bias
    return unseen


def calibrate(logits: np.ndarray, targets: np.ndarray, method: str) -> tuple[float, np.ndarray]:
    """Return the temperature and the `(K,)` bias of `softmax(logits / temperature + bias)`.

    Args:
        logits: `(N, K)` of validation images.
        targets: `(N,)` class indices.
        method: `bcts` fits both, `temperature` that alone, `none` neither (1 and zeros).

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    if method == "bcts":
        return fit_bcts(logits, targets)
    return fit_temperature(logits, targets) if method == "temperature" else 1.0, np.zeros(logits.shape[1])


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature T at which `softmax(logits / T)` has the smallest negative log-likelihood.

    The likelihood is convex in 1 / T, so the root of its derivative is bisected. Where no finite T is best
    (every prediction correct, or worse than chance) the nearer end of `TEMPERATURES` is returned.

    Args:
        logits: `(N, K)`.
        targets: `(N,)` class indices.

    Raises:
        ModelError: a logit is NaN or infinite.
        DataError: there is no image, or the two do not fit each other.
    """
    logits, targets = check_rows(logits, targets, "logits")
    truth = logits[np.arange(len(targets)), targets].mean()
    low, high = np.log(TEMPERATURES)
    for _ in range(60):
        middle = (low + high) / 2
        expected = (np.exp(log_softmax(logits / np.exp(middle))) * logits).sum(axis=1).mean()
        if expected > truth:  # the likelihood falls as 1 / T grows, so this T makes the model overconfident
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def fit_bcts(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return `(temperature, bias (K,))` that minimise the NLL of `softmax(logits / temperature + bias)`.

    The problem is convex in the inverse temperature and the bias; solved by damped Newton steps.

    Args:
        logits: `(N, K)` of validation images.
        targets: `(N,)` class indices.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    logits = np.asarray(logits, np.float64)
    classes = logits.shape[1]
    one_hot = np.eye(classes)[targets]
    point = np.zeros(1 + classes)  # inverse temperature, then the bias
    point[0] = 1.0
    loss = _loss(point, logits, one_hot)
    for _ in range(ITERATIONS):
        gradient, hessian = _derivatives(point, logits, one_hot)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (new := _loss(point - size * step, logits, one_hot)) > loss and size > SMALLEST_STEP:
            size /= 2
        if loss - new < TOLERANCE:
            break
        point, loss = point - size * step, new
    return 1 / float(point[0]), point[1:] - point[1:].mean()


def _loss(point: np.ndarray, logits: np.ndarray, one_hot: np.ndarray) -> float:
    if point[0] <= 0:
        return np.inf
    scores = logits * point[0] + point[1:]
    highest = scores.max(axis=1, keepdims=True)
    log_total = highest[:, 0] + np.log(np.exp(scores - highest).sum(axis=1))
    return float((log_total - (scores * one_hot).sum(axis=1)).mean() + RIDGE * (point[1:] ** 2).sum() / 2)


def _derivatives(point: np.ndarray, logits: np.ndarray, one_hot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count, classes = logits.shape
    probs = softmax(logits * point[0] + point[1:])
    error = probs - one_hot
    gradient = np.concatenate([[(error * logits).sum()], error.sum(axis=0)]) / count
    gradient[1:] += RIDGE * point[1:]
    mean_logit = (probs * logits).sum(axis=1, keepdims=True)
    centred = probs * (logits - mean_logit)  # (N, K): covariance of the score's slope with each class
    hessian = np.empty((1 + classes, 1 + classes))
    hessian[0, 0] = (centred * logits).sum() / count + RIDGE
    hessian[0, 1:] = hessian[1:, 0] = centred.sum(axis=0) / count
    hessian[1:, 1:] = np.diag(probs.mean(axis=0)) - probs.T @ probs / count + RIDGE * np.eye(classes)
    return gradient, hessian
