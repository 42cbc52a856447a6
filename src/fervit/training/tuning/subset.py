"""A smaller training split with the same mix of labels, for searches at a small budget."""

import logging

import numpy as np

from fervit.data.dataset import SPLITS, TRAIN, Dataset

logger = logging.getLogger(__name__)


def with_fewer_training_images(dataset: Dataset, fraction: float, *, seed: int = 0) -> Dataset:
    """Return a data set with a random, stratified part of its train split; the other splits stay whole.

    Of every label's training images, `fraction` is kept, rounded, and one at least; how many are is logged.
    """
    if fraction >= 1:
        return dataset
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
