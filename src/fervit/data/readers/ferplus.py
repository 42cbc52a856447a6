"""FER+ votes (Barsoum et al. 2016): ten crowd votes per FER2013 image, joined by csv row order."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.dataset import Dataset
from fervit.data.readers.parquet import import_parquet, not_parquet
from fervit.data.source_files import find_columns, open_csv
from fervit.data.splits import split_ids_of
from fervit.errors import DataError
from fervit.labels import FERPLUS8, mapping_matrix
from fervit.licences import KNOWN, as_text, union

VOTE_COLUMNS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
FACE_COLUMNS = 8  # the first eight are expressions, in FERPLUS8's order


def join_votes(dataset: Dataset, path: Path, labels: Sequence[str]) -> Dataset:
    """Return `dataset` with `votes`: FER+ counts mapped to its labels and normalised to sum to 1.

    Votes for contempt, unknown and not-a-face are dropped; an image with no other vote gets an all-zero row.

    Args:
        dataset: FER2013 in csv row order, whole.
        path: `fer2013new.csv`, or a parquet file with the same ten columns.
        labels: the names of its labels, where the data set itself has numbers.

    Raises:
        DataError: the file is missing or malformed, or its rows are not those of the data set.
    """
    counts = votes_of(dataset, path)
    mapped = counts[:, :FACE_COLUMNS] @ mapping_matrix(FERPLUS8, labels)
    sums = mapped.sum(axis=1, keepdims=True)
    votes = np.divide(mapped, sums, out=np.zeros_like(mapped), where=sums > 0)
    licences = union(dataset.licences, [KNOWN["ferplus"]])
    return replace(dataset, votes=votes.astype(np.float32), licence=as_text(licences))


def votes_of(dataset: Dataset, path: Path) -> np.ndarray:
    """Return the counts of votes for each image of a data set, `(N, 10)`, in the order of `VOTE_COLUMNS`.

    Args:
        dataset: FER2013 in csv row order, whole.
        path: `fer2013new.csv`, or a parquet file with the same ten columns.

    Raises:
        DataError: the file is missing or malformed, or its rows are not those of the data set.
    """
    if not path.is_file():
        raise DataError(f"no FER+ votes at {path}")
    read = _read_parquet if path.suffix.lower() in (".parquet", ".pq") else _read_csv
    counts, usages = read(path)
    total = len(dataset) + len(dataset.skipped)
    if len(counts) != total:
        raise DataError(f"{path} has {len(counts)} rows of votes, {dataset.name} has {total} images; expected as many")
    if (split_ids_of(usages, str(path))[dataset.rows] != dataset.split_ids).any():
        raise DataError(f"{path} and {dataset.name} disagree on Usage: the rows are not in the same order")
    own: np.ndarray = counts[dataset.rows]
    return own


def _read_parquet(path: Path) -> tuple[np.ndarray, list[str]]:
    parquet = import_parquet("reading parquet")
    from pyarrow import ArrowException

    try:
        table = parquet.read_table(path)
    except (ArrowException, OSError) as error:
        raise not_parquet(path, error) from error
    order = find_columns(path, table.column_names, ("Usage", *VOTE_COLUMNS))
    usage, *votes = (table.column(position) for position in order)
    counts = np.stack([column.to_numpy().astype(np.float64) for column in votes], axis=1)
    return _checked(path, counts), usage.to_pylist()


def _read_csv(path: Path) -> tuple[np.ndarray, list[str]]:
    counts: list[list[float]] = []
    usages: list[str] = []
    with open_csv(path) as reader:
        order = find_columns(path, next(reader, None), ("Usage", *VOTE_COLUMNS))
        for cells in reader:
            if not cells:
                continue
            try:
                counts.append([float(cells[column]) for column in order[1:]])
                usages.append(cells[order[0]])
            except (ValueError, IndexError) as error:
                raise DataError(f"{path}, line {reader.line_num}: expected ten counts of votes") from error
    return _checked(path, np.array(counts, dtype=np.float64).reshape(-1, len(VOTE_COLUMNS))), usages


def _checked(path: Path, counts: np.ndarray) -> np.ndarray:
    if not len(counts):
        raise DataError(f"{path} has no rows of votes")
    wrong = np.flatnonzero(~(np.isfinite(counts).all(axis=1) & (counts >= 0).all(axis=1)))
    if len(wrong):
        raise DataError(f"{path}, row {int(wrong[0]) + 1}: expected counts of votes from 0 up")
    return counts
