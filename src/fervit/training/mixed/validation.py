"""The figures of a run on its validation images: over all of them, and of every data set."""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

import numpy as np

from fervit.data.mixtures.mixture import Mixture
from fervit.evaluation.metrics import confusion_matrix, macro_f1, nll
from fervit.probabilities import softmax

FIGURES: tuple[Literal["accuracy", "macro_f1", "loss"], ...] = ("accuracy", "macro_f1", "loss")
MEAN = "mean_accuracy"


class Figures(TypedDict):
    """Accuracy and macro-F1, both 0..1, and the mean negative log-likelihood in nats.

    Attributes:
        mean_accuracy: the mean of the data sets' accuracies, each counting alike; where there are several.
    """

    accuracy: float
    macro_f1: float
    loss: float
    mean_accuracy: NotRequired[float]


class SourceFigures(Figures):
    """The figures on one of several data sets.

    Attributes:
        name: the data set's.
        n: its validation images.
    """

    name: str
    n: int


def figures_of(logits: np.ndarray, targets: np.ndarray) -> Figures:
    """Return accuracy, macro-F1 and loss of `(N, K)` logits."""
    predicted = logits.argmax(axis=1)
    return {
        "accuracy": float((predicted == targets).mean()),
        "macro_f1": float(macro_f1(confusion_matrix(targets, predicted, logits.shape[1]))),
        "loss": nll(softmax(logits), targets),
    }


def mixed_figures(logits: np.ndarray, validation: Mixture) -> tuple[Figures, list[SourceFigures]]:
    """Return the figures over all validation images, and those of every data set where there are several.

    Args:
        logits: `(N, K)`, a row for each image of the mixture.
        validation: the images with their targets.
    """
    figures = figures_of(logits, validation.targets)
    if len(validation.parts) == 1:
        return figures, []
    sources: list[SourceFigures] = [
        {"name": name, "n": len(part), **figures_of(own, part.targets)}
        for name, part, own in zip(validation.part_names, validation.parts, validation.cut(logits), strict=True)
    ]
    figures["mean_accuracy"] = float(np.mean([source["accuracy"] for source in sources]))
    return figures, sources


def score_of(figures: Mapping[str, object], prefix: str = "") -> float:
    """Return what decides which epoch is the best: the mean accuracy over the data sets, or that of the only one."""
    return float(str(figures.get(f"{prefix}{MEAN}", figures.get(f"{prefix}accuracy"))))


def columns_of(figures: Figures, sources: list[SourceFigures]) -> dict[str, float]:
    """Return the figures as columns of `metrics.csv`: `eval_accuracy`, and `eval_accuracy:NAME` of each data set."""
    columns = {f"eval_{name}": figures[name] for name in FIGURES}
    if "mean_accuracy" in figures:
        columns[f"eval_{MEAN}"] = figures["mean_accuracy"]
    for source in sources:
        columns |= {f"eval_{name}:{source['name']}": source[name] for name in FIGURES}
    return columns
