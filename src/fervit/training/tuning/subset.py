"""A smaller training split with the same mix of labels, for searches at a small budget."""

import dataclasses
import logging

import numpy as np

from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.data.mixtures.mixture import Mixture

logger = logging.getLogger(__name__)


def with_fewer_training_images(data: Dataset | Mixture, fraction: float, *, seed: int = 0) -> Dataset | Mixture:
    """Return data with a random, stratified part of the train split of each data set; other splits stay whole.

    Of every label's training images, `fraction` is kept, rounded, and one at least; how many are is logged.
    """
    if fraction >= 1:
        return data
    if isinstance(data, Mixture):
        parts = tuple(_with_fewer(part, fraction, seed) for part in data.parts)
        return dataclasses.replace(data, parts=parts)
    return _with_fewer(data, fraction, seed)


def _with_fewer(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    is_train = dataset.split_ids == SPLITS.index(TRAIN)
    kept, rng = ~is_train, np.random.default_rng(seed)
    for label in range(len(dataset.labels)):
        rows = np.flatnonzero(is_train & (dataset.targets == label))
        if len(rows):
            kept[rng.permutation(rows)[: max(1, round(fraction * len(rows)))]] = True
    logger.warning(
        "%s: every trial learns from the same %s of %s training images (fraction %g, stratified by label)",
        dataset.name,
        f"{int((kept & is_train).sum()):,}",
        f"{int(is_train.sum()):,}",
        fraction,
    )
    return dataset.take(kept)
