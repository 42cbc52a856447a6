"""Rows of `fervit predict`, wherever they lie: tables in files, data frames, results, or rows themselves."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from fervit.errors import DataError, FervitError, MissingExtra, quoted, reason
from fervit.files import as_path
from fervit.inference.results import FrameResult, ImageResult, Skipped
from fervit.inference.rows import json_rows

Row = Mapping[str, object]
SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")
"""Tables that can be read, by the ending of their name."""
BATCH = 8192  # rows of a Parquet file in memory at once


def tables_of(source: object) -> list[tuple[str, Iterator[Row]]]:
    """Return the tables of whatever a user gave, each with its name.

    Args:
        source: a table's path or several; a pandas or polars data frame; or an iterable of flat rows, or of the
            results of `Recognizer.video`.

    Raises:
        DataError: it is something else, or a file cannot be read; files are opened when their rows are asked for.
    """
    if isinstance(source, str | Path):
        return [_file(as_path(source, "a table", DataError))]
    if (records := _records(source)) is not None:
        return [("the data frame", records)]
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise DataError(f"expected tables of fervit predict, a data frame, rows or results, got {quoted(source)}")
    if isinstance(source, list | tuple) and source and all(_is_table(item) for item in source):
        return [table for item in source for table in tables_of(item)]
    return [("the rows", flat_rows(source))]


def _is_table(item: object) -> bool:
    return isinstance(item, str | Path) or hasattr(item, "to_dicts") or hasattr(item, "to_dict")


def _records(source: object) -> Iterator[Row] | None:
    """Return the rows of a pandas or polars data frame; None for anything else."""
    if hasattr(source, "iter_rows") and hasattr(source, "columns"):  # polars
        return cast("Iterator[Row]", source.iter_rows(named=True))
    if hasattr(source, "itertuples") and hasattr(source, "columns"):  # pandas
        names = [str(name) for name in source.columns]
        return (dict(zip(names, row, strict=True)) for row in source.itertuples(index=False, name=None))
    return None


def flat_rows(items: Iterable[object]) -> Iterator[Row]:
    """Yield flat rows of results, of rows of JSON lines, or of flat rows.

    Raises:
        DataError: something else is among them.
    """
    for item in items:
        if isinstance(item, ImageResult | FrameResult | Skipped):
            yield from (_unnested(row) for row in json_rows(item))
        elif isinstance(item, Mapping):
            yield _unnested(item)
        else:
            raise DataError(f"expected rows of fervit predict, got {quoted(item)} among them")


def _unnested(row: Row) -> Row:
    """Return a row of JSON lines as a flat one."""
    probs = row.get("probs")
    if not isinstance(probs, Mapping):
        return row
    return {**{key: value for key, value in row.items() if key != "probs"}, **{f"p_{k}": p for k, p in probs.items()}}


def _file(path: Path) -> tuple[str, Iterator[Row]]:
    readers = {".csv": _csv, ".json": _json, ".jsonl": _json, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"expected a table whose name ends in {', '.join(SUFFIXES)}, got {quoted(str(path))}")
    return str(path), _reading(path, reader(path))


def _reading(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows; what goes wrong within becomes one line."""
    try:
        yield from rows
    except FervitError:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, csv.Error) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(f"{path} is no table of fervit predict: {reason(error)}") from error


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # a spreadsheet's own CSV may begin with a mark
        reader = csv.DictReader(file)
        if not {"source", "time_s"} <= set(reader.fieldnames or ()):
            found = ", ".join(map(str, reader.fieldnames or ())) or "none"
            raise DataError(
                f"{path} is no table of fervit predict: expected columns source, time_s, track ..., got {quoted(found)}"
            )
        yield from reader


def _json(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            row = json.loads(line) if line.strip() else None
            if row is None:
                continue
            if not isinstance(row, dict) or "source" not in row:
                raise DataError(f"{path} is no table of fervit predict: line {number} is no object with a source")
            yield _unnested(row)


def _parquet(path: Path) -> Iterator[Row]:
    if find_spec("pyarrow") is None:
        raise MissingExtra("Parquet", "video")
    import pyarrow.parquet

    with path.open("rb") as opened, pyarrow.parquet.ParquetFile(opened) as file:
        for batch in file.iter_batches(BATCH):
            yield from batch.to_pylist()


def number(value: object) -> float | None:
    """Return a cell as a number; None where it is empty, as CSV, pandas and JSON each write it.

    Raises:
        ValueError: it is something else.
    """
    if value is None or value == "":
        return None
    found = float(cast("float", value))
    return None if math.isnan(found) else found


def text(value: object) -> str | None:
    """Return a cell as text; None where it is empty.

    >>> text("happy"), text(""), text(float("nan")), text(3.0)
    ('happy', None, None, '3')
    """
    if value is None or value == "" or value != value:  # NaN is unlike itself
        return None
    if isinstance(value, float) and value.is_integer():  # pandas makes floats of whole numbers beside empty cells
        return str(int(value))
    return str(value)
