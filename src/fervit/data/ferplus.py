"""FER+ votes (Barsoum et al. 2016): ten crowd votes per FER2013 picture, joined by csv row order."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.dataset import Dataset
from fervit.errors import DataError
from fervit.labels import FERPLUS8, mapping_matrix

VOTE_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def join_votes(dataset: Dataset, path: Path) -> Dataset:
    """Return `dataset` with `votes`: FER+ counts mapped to its labels and normalised to sum to 1.

    Votes for contempt, unknown and not-a-face are dropped; a picture with no other vote gets an all-zero row.
    """
    import pyarrow.parquet as parquet

    table = parquet.read_table(path)
    counts = np.stack([table[name].to_numpy().astype(np.float64) for name in VOTE_COLUMNS], axis=1)
    if dataset.rows.max() >= len(counts):
        raise DataError(f"{path} has {len(counts)} rows of votes, {dataset.name} needs {int(dataset.rows.max()) + 1}")
    mapped = counts[dataset.rows, :8] @ mapping_matrix(FERPLUS8, dataset.labels)
    total = mapped.sum(axis=1, keepdims=True)
    votes = np.divide(mapped, total, out=np.zeros_like(mapped), where=total > 0)
    return replace(dataset, votes=votes.astype(np.float32))
