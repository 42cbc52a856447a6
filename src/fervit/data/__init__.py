"""Data sets of labelled face crops: `load()` reads every form that fervit knows into one `Dataset`."""

from pathlib import Path

from fervit.data.cache import cached, file_digest
from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.errors import DataError

__all__ = ["PRIVATE_TEST", "PUBLIC_TEST", "SPLITS", "TRAIN", "Dataset", "load"]


def load(source: str | Path, *, votes: str | Path | None = None) -> Dataset:
    """Load a data set; decoded once, then opened from a memory-mapped cache.

    Args:
        source: a parquet file.
        votes: FER+ votes to join.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"no data set at {path}")
    from fervit.data.fer2013 import read_parquet

    dataset = cached(file_digest(path)[:32], lambda: read_parquet(path))
    if votes is not None:
        from fervit.data.ferplus import join_votes

        dataset = join_votes(dataset, Path(votes))
    return dataset
