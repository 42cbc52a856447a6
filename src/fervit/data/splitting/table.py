"""Write down which split each image is in, and read it again: what `fervit data split` and `--splits` do."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.cache import content_hash
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.source_files import find_column, find_columns, open_csv
from fervit.data.splits import split_ids_of
from fervit.errors import ConfigError, DataError, reason
from fervit.files import replacing

COLUMNS = ("row", "filename", "label", "split")


def write_splits(dataset: Dataset, path: Path) -> None:
    """Write a line for each image: row in the source, file name, label, split, and the person where that is known.

    Raises:
        DataError: the file cannot be written.
    """
    subjects = dataset.subjects
    try:
        with (
            replacing(path) as beside,
            beside.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*COLUMNS, *(["subject"] if subjects is not None else [])))
            for k in range(len(dataset)):
                writer.writerow(
                    (
                        int(dataset.rows[k]),
                        "" if dataset.sources is None else dataset.sources[k],
                        dataset.labels[dataset.targets[k]],
                        SPLITS[dataset.split_ids[k]],
                        *([subjects[k]] if subjects is not None else []),
                    )
                )
    except OSError as error:
        raise DataError(f"cannot write {path} ({reason(error)})") from error


def check_one_source(splits: object, count: int) -> None:
    """Refuse a file of splits, where there is one, for several data sets.

    Raises:
        ConfigError: there are several.
    """
    if splits is not None and count > 1:
        raise ConfigError(
            "--splits is about one data set; with several, write the splits of each with its images: fervit data split "
            "SOURCE --out FILE.parquet"
        )


def apply_splits(dataset: Dataset, path: Path) -> Dataset:
    """Return a data set with the splits that a file says.

    Images are found by their file names where both sides have them and no two are the same, so that images may come
    and go; else by their rows in the source.

    Args:
        dataset: as it was read.
        path: a csv file with the columns `split` and `filename`, or `split` and `row`, as `write_splits` makes it.

    Raises:
        DataError: the file cannot be read, or says nothing about one of the images.
    """
    names, rows, split_ids = _read(path)
    sources = dataset.sources
    by_name = sources is not None and names is not None and len(set(names)) == len(names)
    if by_name and sources is not None and names is not None and len(set(sources)) == len(sources):
        known: dict[object, int] = dict(zip(names, split_ids.tolist(), strict=True))
        keys: list[object] = list(sources)
    elif rows is not None:
        known = dict(zip(rows, split_ids.tolist(), strict=True))
        keys = dataset.rows.tolist()
    else:
        raise DataError(
            f"{path} names images that {dataset.name} does not tell apart; expected a column row, or file names of "
            "which no two are the same"
        )
    missing = [key for key in keys if key not in known]
    if missing:
        raise DataError(
            f"{path} says nothing about {len(missing):,} of the {len(dataset):,} images of {dataset.name}, the first "
            f"is {missing[0]}: write it again with fervit data split"
        )
    made = np.array([known[key] for key in keys], dtype=np.int8)
    notes = [f"the splits are those of {path.name}: " + _counts(made)]
    if gone := len(known) - len(keys):
        notes.append(f"{gone:,} images of {path.name} are not here, or cannot be read")
    # What was said about drawing splits is no longer so.
    kept = tuple(note for note in dataset.notes if "hash of their content" not in note)
    return replace(
        dataset,
        split_ids=made,
        drawn_splits=False,
        data_hash=content_hash(dataset.images, dataset.targets, made),
        notes=(*kept, *notes),
    )


def _counts(split_ids: np.ndarray) -> str:
    counts = np.bincount(split_ids, minlength=len(SPLITS))
    return ", ".join(f"{name} {count:,}" for name, count in zip(SPLITS, counts.tolist(), strict=True) if count)


def _read(path: Path) -> tuple[list[str] | None, list[int] | None, np.ndarray]:
    """Return the names and the rows that a file has, each or None, and the splits.

    Raises:
        DataError: a column is missing, or a cell is malformed.
    """
    names: list[str] = []
    rows: list[int] = []
    values: list[str] = []
    lines: list[int] = []
    with open_csv(path) as reader:
        header = next(reader, None)
        (split,) = find_columns(path, header, ("split",))
        name, row = find_column(header or (), ("filename",)), find_column(header or (), ("row",))
        if name is None and row is None:
            raise DataError(f"{path} has neither a column filename nor row; expected what fervit data split writes")
        for cells in reader:
            if not cells:
                continue
            if len(cells) <= max(split, name or 0, row or 0):
                raise DataError(f"{path}, line {reader.line_num}: {len(cells)} columns, expected {len(header or ())}")
            lines.append(reader.line_num)
            values.append(cells[split])
            names += [] if name is None else [cells[name]]
            if row is not None:
                if not cells[row].strip().isdecimal():
                    raise DataError(
                        f"{path}, line {reader.line_num}: expected a row, a number from 0, got {cells[row]!r}"
                    )
                rows.append(int(cells[row]))
    split_ids = split_ids_of(values, str(path), lambda k: f"line {lines[k]}")
    return (names if name is not None and all(names) else None), (rows if row is not None else None), split_ids
