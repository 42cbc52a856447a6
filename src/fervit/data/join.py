"""Tables about images (subset lists, groups of people): csv files joined to a `Dataset`, carefully.

A table names images by `row` (the source's row number, from 0, as `Dataset.rows` has it) or by a file name. File
names are not unique in FER2013, so that a `usage` or `split` column narrows them to a split, and a label column
to one of two images of a name. A name that still fits several images joins none of them, and is counted.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from fervit.data.dataset import SPLITS, Dataset
from fervit.data.source_files import open_csv
from fervit.data.splits import find_split
from fervit.errors import DataError, unknown
from fervit.labels import canonical

ROW_COLUMNS = ("row",)
NAME_COLUMNS = ("filename", "file_name", "file", "image", "path", "source", "name")
SPLIT_COLUMNS = ("usage", "split")
LABEL_COLUMNS = ("label", "label_name", "fer2013_label", "expression", "emotion")
KEY_COLUMNS = frozenset({*ROW_COLUMNS, *NAME_COLUMNS, *SPLIT_COLUMNS, *LABEL_COLUMNS})

Find = Callable[[Mapping[str, str]], list[int]]
"""Positions of the images that a line of a table may mean."""


@dataclass(frozen=True, eq=False)
class Joined:
    """Which lines of a table name which images.

    Attributes:
        positions: `(M,)` int64 positions in the data set, one for each line that names exactly one.
        lines: `(M,)` int64 numbers of these lines, from 0.
        elsewhere: lines about a split that the data set has no image of.
        missing: lines whose image is not there.
        ambiguous: lines that fit several images.
    """

    positions: np.ndarray
    lines: np.ndarray
    elsewhere: int
    missing: int
    ambiguous: int

    def describe(self) -> str:
        """Return the counts in words, such as `605 lines matched, 2 without an image`."""
        parts = [f"{len(self.positions):,} matched"]
        for count, words in (
            (self.missing, "without an image here"),
            (self.ambiguous, "with a name of several images (left out)"),
            (self.elsewhere, "about other splits"),
        ):
            if count:
                parts.append(f"{count:,} {words}")
        return ", ".join(parts)


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Read a csv file with a header: one object a line, column names in lower case, blanks stripped.

    Raises:
        DataError: it is missing, not a csv file, or has no lines.
    """
    path = Path(path)
    with open_csv(path) as reader:
        header = [name.strip().lower() for name in next(reader, [])]
        rows = [
            dict(itertools.zip_longest(header, (cell.strip() for cell in cells[: len(header)]), fillvalue=""))
            for cells in reader
            if cells
        ]
    if not rows:
        raise DataError(f"{path} has no lines; expected a csv file with a header and a line for each image")
    return rows


def join(dataset: Dataset, table: Sequence[Mapping[str, str]], *, where: str) -> Joined:
    """Find the image that each line of a table names.

    Args:
        dataset: the images, whole or one split.
        table: what `read_table` gave.
        where: the table's name, for messages.

    Raises:
        DataError: the table names no images (no `row` and no file name column), or it names them by file name
            and the data set has none; or a row number or split is malformed.
    """
    candidates = _candidates(dataset, table, where)
    positions, lines, counts = [], [], {"elsewhere": 0, "missing": 0, "ambiguous": 0}
    for number, row in enumerate(table):
        found = candidates(row)
        if found is None:
            counts["elsewhere"] += 1
        elif len(found) == 1:
            positions.append(found[0])
            lines.append(number)
        else:
            counts["ambiguous" if found else "missing"] += 1
    return Joined(np.array(positions, np.int64), np.array(lines, np.int64), **counts)


def read_subset(dataset: Dataset, path: str | Path) -> tuple[np.ndarray, Joined]:
    """Return the positions of the images that a csv list names, `(n,)` int64 in order, each once.

    Raises:
        DataError: see `read_table` and `join`; or no image of the list is in the data set.
    """
    joined = join(dataset, read_table(path), where=str(path))
    if not len(joined.positions):
        raise DataError(f"{path} names no image of {dataset.name} ({joined.describe()})")
    return np.unique(joined.positions), joined


def _candidates(
    dataset: Dataset, table: Sequence[Mapping[str, str]], where: str
) -> Callable[[Mapping[str, str]], list[int] | None]:
    """Return a function from a line to the images that it may mean, None for a split that the data set lacks."""
    find = _finder(dataset, table[0], where)
    split_column = _first_of(SPLIT_COLUMNS, table[0])
    label_column = _first_of(LABEL_COLUMNS, table[0])
    present = set(np.unique(dataset.split_ids).tolist())

    def candidates(row: Mapping[str, str]) -> list[int] | None:
        found = find(row)
        if split_column is not None and row[split_column]:
            split_id = _split_id(row[split_column], where)
            if split_id not in present:
                return None
            found = [k for k in found if dataset.split_ids[k] == split_id]
        if len(found) > 1 and label_column is not None:
            label = canonical(row[label_column])
            found = [k for k in found if canonical(dataset.labels[dataset.targets[k]]) == label] or found
        return found

    return candidates


def _finder(dataset: Dataset, columns: Mapping[str, str], where: str) -> Find:
    """Return a function that finds a line's images by row number or, without such a column, by file name."""
    by_row, by_name = _first_of(ROW_COLUMNS, columns), _first_of(NAME_COLUMNS, columns)
    if by_row is not None:
        return _by_row(dataset, by_row, where)
    if by_name is None:
        raise DataError(f"{where} names no images: expected a column row or filename, it has {', '.join(columns)}")
    if dataset.sources is None:
        raise DataError(
            f"{where} names images by {by_name}, but {dataset.name} holds no file names: add a column `row` (row "
            "number from 0), or load the data from parquet or a folder"
        )
    return _by_name(dataset, by_name)


def _first_of(names: Sequence[str], columns: Mapping[str, str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _by_row(dataset: Dataset, column: str, where: str) -> Find:
    places = {int(row): k for k, row in enumerate(dataset.rows)}

    def find(row: Mapping[str, str]) -> list[int]:
        text = row[column]
        if not (text.isascii() and text.isdigit()):
            raise DataError(f"{where}: {column} is {text[:20]!r}, expected a row number from 0 up")
        return [places[int(text)]] if int(text) in places else []

    return find


def _by_name(dataset: Dataset, column: str) -> Find:
    exact: dict[str, list[int]] = defaultdict(list)
    short: dict[str, list[int]] = defaultdict(list)
    for k, source in enumerate(dataset.sources or ()):
        exact[source].append(k)
        short[PurePath(source).name].append(k)

    def find(row: Mapping[str, str]) -> list[int]:
        name = row[column].replace("\\", "/")
        return exact.get(name) or short.get(PurePath(name).name) or []

    return find


def _split_id(text: str, where: str) -> int:
    split = find_split(text)
    if split is None:
        raise DataError(f"{where}: {unknown('split', text[:30], SPLITS)}")
    return SPLITS.index(split)
