"""Bring the labels of a data set and of models together, and say how they are matched."""

import logging
from collections.abc import Collection, Sequence

import numpy as np

from fervit.data.dataset import Dataset
from fervit.data.labelling.apply import relabel
from fervit.data.labelling.values import order_labels
from fervit.errors import DataError
from fervit.label_rules import MAP_HINT, NUMBERED
from fervit.labels import FER7, canonical, find_places, likely_typo, spelt_differently, way_out

MOST_LEFT_OUT = 0.5  # of the images; where more have labels that no model knows, the labels were misunderstood

log = logging.getLogger(__name__)


def match_models(dataset: Dataset, *models: Sequence[str]) -> Dataset:
    """Return the data set with the labels that models are measured in.

    Where all its labels are FER2013's, those of FER2013's seven that a model has besides are added: what a model
    predicts of them is wrong, and is counted as such. Other labels that only a model has are not added; their
    probability is distributed (`evaluation.prediction`). Labels that match in spite of their spelling are logged.

    Args:
        dataset: what is measured on.
        models: the labels of each model.

    Raises:
        DataError: there is one label, so that whatever a model predicts would be right.
    """
    own = {canonical(name) for name in dataset.labels}
    more = {canonical(name): name for labels in reversed(models) for name in reversed(labels)}
    added = [name for key, name in more.items() if key in FER7 and key not in own] if own <= set(FER7) else []
    if len(dataset.labels) + len(added) == 1:
        raise DataError(
            f"{dataset.name} has one label, {dataset.labels[0]}, so that whatever a model predicts is correct: "
            "expected images of two or more expressions"
        )
    for said in dict.fromkeys(spelt_differently(labels, dataset.labels) for labels in models):
        if said:
            log.warning("%s: labels of the data and of the model are matched by their meaning: %s", dataset.name, said)
    return dataset.with_labels(order_labels([*dataset.labels, *added])) if added else dataset


def leave_out_unknown(part: Dataset, *models: Sequence[str]) -> tuple[Dataset, dict[str, int]]:
    """Return the images whose labels all models know, and how many of each other label are left out.

    Nothing is left out where that would hide a mistake, so that predicting `part` is refused: numbers in place of
    names, a label that is almost the name of an expression, or unknown labels on more than half of the images.

    Args:
        part: what is measured on.
        models: the labels of each model.
    """
    places = zip(*(find_places(labels, part.labels) for labels in models), strict=True)
    known = np.array([None not in found for found in places], dtype=bool)  # (K,)
    gone = ~known[part.targets]
    counts = np.bincount(part.targets[gone], minlength=len(part.labels))
    left_out = {name: int(count) for name, count in zip(part.labels, counts, strict=True) if count}
    numbered = any(all(NUMBERED.fullmatch(name) for name in labels) for labels in (left_out, *models))
    if not left_out or numbered or any(map(likely_typo, left_out)) or gone.mean() > MOST_LEFT_OUT:
        return part, {}
    kept = tuple(name for name in part.labels if name not in left_out)
    matrix = np.array([[old == new for new in kept] for old in part.labels], dtype=bool)
    return relabel(part, kept, matrix), left_out


def explain_missing(missing: Collection[str], dataset_labels: Sequence[str], model_labels: Sequence[str]) -> str:
    """Return what to do about labels of a data set that a model lacks, for the end of a message."""
    if all(NUMBERED.fullmatch(name) for name in missing):
        return f"name the data's numbers with {MAP_HINT}"
    if all(NUMBERED.fullmatch(name) for name in model_labels):
        pairs = ",".join(f"{name}={number}" for name, number in zip(dataset_labels, model_labels, strict=False))
        return f"the model's labels are numbers, so give the data's labels these names: --label-map {pairs}"
    return way_out(missing)
