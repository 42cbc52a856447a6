"""Predictions for a whole data set: in batches, with test-time augmentation, columns in the order of the data's labels.

Test-time augmentation averages the probabilities of several views of an image.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

from fervit.data.dataset import Dataset
from fervit.data.labelling.matching import explain_missing
from fervit.errors import ConfigError, DataError, ModelError, unknown
from fervit.labels import find_places, mapping_matrix
from fervit.types import Classifier, check_labels

BATCHES_PER_STEP = 4  # batches between two calls of `progress`
CROP_FRACTION = 0.9  # of the side, in five_crops: 224 px of 256 (Krizhevsky et al. 2012, section 4.1) is 0.875

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of images in all."""


class PredictOptions(TypedDict, total=False):
    """How a data set is predicted: what every function takes by keyword that passes it on to `predict_dataset`.

    Attributes:
        tta: None (the default), or a key of `TTA`.
        batch_size: images at once; 64 by default.
        progress: see `Progress`; by default nothing is called.
    """

    tta: str | None
    batch_size: int
    progress: Progress | None


class SeenOptions(PredictOptions, total=False):
    """How a data set is predicted, how its faces are found, and where the models run.

    Attributes:
        detect: True, or a detector's name, where the images are whole photos; False by default.
        device: where the models run, as for `fervit.load`; `auto` by default.
    """

    detect: bool | str
    device: str


def flip(crops: np.ndarray) -> list[np.ndarray]:
    """Return images and their mirror images, of `(B, H, W, C)`."""
    return [crops, np.ascontiguousarray(crops[:, :, ::-1])]


def five_crops(crops: np.ndarray) -> list[np.ndarray]:
    """Return the four corners and the centre of images, `CROP_FRACTION` of their sides, of `(B, H, W, C)`.

    They are smaller, and the model's own resizing scales them up, so that images are interpolated once.
    """
    height, width = crops.shape[1:3]
    tall, wide = max(1, round(CROP_FRACTION * height)), max(1, round(CROP_FRACTION * width))
    bottom, right = height - tall, width - wide
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [crops[:, y : y + tall, x : x + wide] for y, x in corners]


def flip_five_crops(crops: np.ndarray) -> list[np.ndarray]:
    """Return the five crops of images and of their mirror images, of `(B, H, W, C)`."""
    return [view for flipped in flip(crops) for view in five_crops(flipped)]


TTA: dict[str, Callable[[np.ndarray], list[np.ndarray]]] = {
    "flip": flip,
    "five_crops": five_crops,
    "flip_five_crops": flip_five_crops,
}
"""Test-time augmentation: from images to the views whose probabilities are averaged."""


def check_tta(tta: str | None) -> None:
    """Raise `ConfigError` unless `tta` is None or a key of `TTA`."""
    if tta is not None and tta not in TTA:
        raise ConfigError(unknown("test-time augmentation", tta, TTA))


def progress_after(before: int, total: int, progress: Progress) -> Progress:
    """Return what reports the progress of one part of the work, after `before` of `total`, as that of the whole."""
    return lambda done, _: progress(before + done, total)


def predict_dataset(
    classifier: Classifier,
    dataset: Dataset,
    *,
    tta: str | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return `(N, K)` float64 probabilities of every image, columns in the order of the data's labels.

    Args:
        classifier: anything with `.spec` and `.probs(crops, batch_size=)`.
        dataset: the images.
        tta: None, or a key of `TTA`: the mean of the probabilities of several views of each image.
        batch_size: images at once.
        progress: called with images done and images in all.

    Raises:
        ModelError: the labels do not fit (see `label_mapping`), or the probabilities have the wrong shape.
        ConfigError: unknown `tta`.
    """
    check_tta(tta)
    matrix = label_mapping(classifier.spec.labels, dataset)
    count, step = len(dataset), batch_size * BATCHES_PER_STEP
    parts = []
    for start in range(0, count, step):
        crops = dataset.images[start : start + step]  # (B, H, W, C)
        views = [crops] if tta is None else TTA[tta](crops)
        parts.append(sum(_predict(classifier, view, batch_size) for view in views) / len(views))
        if progress is not None:
            progress(min(start + step, count), count)
    return _to_data_labels(np.concatenate(parts), matrix) if parts else np.empty((0, len(dataset.labels)))


def label_mapping(labels: Sequence[str], dataset: Dataset) -> np.ndarray | None:
    """Return the matrix from the model's labels to the data's, matched by name; None when they are the same.

    The model may have them in another order, in another spelling, or have more; it must have every label that occurs
    in `dataset`.

    Raises:
        ModelError: the model lacks a label that occurs; the message names both lists.
    """
    places = find_places(labels, dataset.labels)
    if places == list(range(len(labels))):
        return None
    if missing := sorted(dataset.labels[k] for k in np.unique(dataset.targets) if places[k] is None):
        hint = explain_missing(missing, dataset.labels, labels)
        check_labels(labels, dataset.labels, f"the model cannot predict {', '.join(missing)}", hint)
    try:
        return mapping_matrix(labels, dataset.labels)
    except DataError as error:  # an empty data set passes the check above, as no label occurs in it
        raise ModelError(str(error)) from error


def _predict(classifier: Classifier, crops: np.ndarray, batch_size: int) -> np.ndarray:
    probs = np.asarray(classifier.probs(crops, batch_size=batch_size), np.float64)
    expected = (len(crops), len(classifier.spec.labels))
    if probs.shape != expected:
        raise ModelError(f"the model returned shape {probs.shape}, expected {expected} (images, labels)")
    return probs


def _to_data_labels(probs: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Bring columns to the data's labels; the probability of dropped labels is distributed in proportion."""
    if matrix is None:
        return probs
    mapped = probs @ matrix
    sums = mapped.sum(axis=1, keepdims=True)
    # A row that is all on a label that the data lacks says nothing about the others: they get equal probabilities.
    uniform = matrix.any(axis=0) / matrix.any(axis=0).sum()
    result: np.ndarray = np.where(sums > 0, mapped / np.where(sums > 0, sums, 1), uniform)
    return result
