"""What a training run learns from: which images, and the soft target and the weight of each."""

import numpy as np

from fervit.config.training import TrainConfig
from fervit.data.audit import duplicate_groups
from fervit.data.dataset import Dataset
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.errors import DataError
from fervit.training.teachers import LiveTeacher


def training_rows(train: Dataset | Mixture, config: TrainConfig, *, leaks: np.ndarray | None = None) -> np.ndarray:
    """Return the indices of the images to learn from: all but those that the recipe leaves out.

    `drop_not_a_face` is about the parts of a mixture that have FER+ votes, and `drop_conflicts` about identical images
    of one part.

    Args:
        train: the train split.
        config: the recipe.
        leaks: `(N,)` bool, images that stand in an evaluation split, see `TrainConfig.drop_leaks`.

    Raises:
        DataError: there is one label, `drop_not_a_face` without FER+ votes, or nothing is left.
    """
    train_set = as_mixture(train)
    occurring = np.unique(train_set.targets)
    voted = any(part.votes is not None for part in train_set.parts)
    if len(train_set.labels) == 1 or (len(occurring) == 1 and not voted):
        raise DataError(
            f"{train_set.name} has one label, {train_set.labels[occurring[0]]}, and nothing can be learned from that: "
            "expected images of two or more expressions, in folders train/angry/x.jpg, train/happy/x.jpg, ..."
        )
    kept = np.ones(len(train_set), bool) if leaks is None else ~leaks
    if config.drop_not_a_face:
        if all(part.votes is None for part in train_set.parts):
            raise DataError("drop_not_a_face needs FER+ votes: give --votes FILE")
        kept &= np.concatenate(
            [np.ones(len(p), bool) if p.votes is None else p.votes.sum(axis=1) > 0 for p in train_set.parts]
        )
    if config.drop_conflicts:
        kept &= ~np.concatenate([conflicting(part) for part in train_set.parts])
    if not kept.any():
        raise DataError(
            f"{train_set.name}: no training image is left after drop_not_a_face, drop_conflicts and drop_leaks"
        )
    return np.flatnonzero(kept)


def conflicting(dataset: Dataset) -> np.ndarray:
    """Return `(N,)` booleans: images whose identical copies have another label (57 groups in FER2013)."""
    groups = duplicate_groups(dataset.images)
    low, high = (np.full(groups.max() + 1, start) for start in (len(dataset.labels), -1))
    np.minimum.at(low, groups, dataset.targets)
    np.maximum.at(high, groups, dataset.targets)
    result: np.ndarray = (low != high)[groups]
    return result


def make_targets(
    dataset: Dataset | Mixture, config: TrainConfig, teacher: np.ndarray | LiveTeacher | None = None
) -> np.ndarray:
    """Return `(N, K)` float32 rows that sum to 1: labels, FER+ votes, a teacher and smoothing mixed as configured.

    `teacher` is `(N, K)`, a teacher's probabilities for the same images, as `teachers.soft_targets` makes them. A
    live teacher predicts only while the student trains: the rows then hold everything else, and the trainer mixes the
    teacher's predictions in.

    Raises:
        DataError: `votes_weight` without votes, or `teacher_weight` without a teacher.
    """
    classes, parts = len(dataset.labels), as_mixture(dataset).parts
    if config.votes_weight and all(part.votes is None for part in parts):
        raise DataError("votes_weight needs FER+ votes: give --votes FILE, or --set votes_weight=0")
    targets = np.concatenate([_with_votes(part, config.votes_weight) for part in parts])
    if config.teacher_weight:
        if teacher is None:
            raise DataError("teacher_weight needs a teacher: use `fervit distill TEACHER`, or --set teacher_weight=0")
        if isinstance(teacher, np.ndarray):
            targets = (1 - config.teacher_weight) * targets + config.teacher_weight * teacher
    smooth = config.label_smoothing
    result: np.ndarray = ((1 - smooth) * targets + smooth / classes).astype(np.float32)
    return result


def _with_votes(dataset: Dataset, weight: float) -> np.ndarray:
    """Return `(N, K)` rows that sum to 1: labels, mixed with FER+ votes where an image has any."""
    targets: np.ndarray = np.eye(len(dataset.labels))[dataset.targets]
    if not weight or dataset.votes is None:
        return targets
    voted = dataset.votes.sum(axis=1, keepdims=True) > 0
    mixed = (1 - weight) * targets + weight * dataset.votes
    result: np.ndarray = np.where(voted, mixed, targets)
    return result


def class_frequencies(targets: np.ndarray, classes: int) -> np.ndarray:
    """Return `(K,)`: the fraction of the images that are of each class; a class without any counts as one image."""
    counts = np.maximum(np.bincount(targets, minlength=classes), 1)
    result: np.ndarray = counts / counts.sum()
    return result


def class_weights(targets: np.ndarray, classes: int, beta: float) -> np.ndarray:
    """Return `(K,)` loss weights by the effective number of images, with a mean of 1 over the images.

    Cui et al. 2019, arXiv 1901.05555: weight (1 - beta) / (1 - beta ** n). At 0 all are 1; toward 1 they become the
    inverse of the class's count.
    """
    counts = np.maximum(np.bincount(targets, minlength=classes), 1)
    weights = (1 - beta) / (1 - beta ** counts.astype(np.float64))
    result: np.ndarray = weights / weights[targets].mean()
    return result
