"""Classifiers whose predictions are known, and images that make them predict what a test wants."""

from collections.abc import Sequence

import numpy as np

from fervit.data import Dataset
from fervit.labels import FER7
from fervit.types import ModelSpec, Preprocess

PREPROCESS = Preprocess(48, (0.5,) * 3, (0.5,) * 3)


class FakeClassifier:
    """Reads the prediction out of the first pixel: value 10 * k means label k; looks only at the left edge."""

    def __init__(self, labels: Sequence[str] = FER7, *, confidence: float = 0.9):
        self.spec = ModelSpec("fake", PREPROCESS, labels=tuple(labels), name="fake-7")
        self.confidence = confidence
        self.batches: list[tuple[int, int]] = []

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        self.batches.append((len(crops), batch_size))
        classes = len(self.spec.labels)
        rest = (1 - self.confidence) / (classes - 1)
        predicted = np.array([crop[0, 0, 0] // 10 for crop in crops], dtype=int).reshape(-1)
        return np.where(np.eye(classes, dtype=bool)[predicted], self.confidence, rest)


def labelled_images(
    predicted: Sequence[int] | np.ndarray,
    targets: Sequence[int] | np.ndarray,
    *,
    splits: Sequence[int] | None = None,
    votes: np.ndarray | None = None,
) -> Dataset:
    """Return images whose first pixel makes `FakeClassifier` predict `predicted`; all other pixels are unique."""
    count = len(predicted)
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.asarray(predicted) * 10
    split_ids = np.full(count, 1) if splits is None else np.asarray(splits)
    return Dataset(
        name="made",
        labels=FER7,
        images=images,
        targets=np.asarray(targets, np.int64),
        split_ids=split_ids.astype(np.int8),
        rows=np.arange(count),
        data_hash="ab" * 32,
        votes=votes,
    )


class Oracle:
    """Recognises the faces it has seen clean, and predicts neutral for what has changed by more than `patience`."""

    spec = ModelSpec(arch="oracle", preprocess=PREPROCESS, name="oracle")

    def __init__(self, dataset: Dataset, patience: float):
        self.faces = dataset.images.astype(np.float32)
        self.targets, self.patience = dataset.targets, patience

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        predicted = np.full(len(crops), 6)
        for k, crop in enumerate(crops):
            distance = np.abs(self.faces - crop).mean(axis=(1, 2, 3))
            if distance.min() <= self.patience:
                predicted[k] = self.targets[distance.argmin()]
        probs: np.ndarray = 0.3 * np.eye(7)[predicted] + 0.1
        return probs
