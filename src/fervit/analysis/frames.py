"""Tables of a study as data frames and as files."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fervit.errors import ConfigError, MissingExtra, quoted
from fervit.files import cannot_write, replacing
from fervit.formatting import csv_table

SUFFIXES = (".csv", ".json", ".parquet")
"""Files of statistics, by the ending of their name."""
Record = Mapping[str, object]


TABLES = ("per_person", "wide", "per_video", "episodes", "transitions")
"""The tables of a study."""
FIGURES = ("fraction", "mean_prob", "seconds", "episodes", "episode_mean_s", "first_s")
"""What the wide form has of each expression."""


def columns_of_table(table: str, expressions: Sequence[str]) -> dict[str, type]:
    """Return the names and types of the columns of one of `TABLES`."""
    names: dict[str, type] = {"source": str, "person": str}
    floats = dict.fromkeys
    if table == "per_person":
        names |= {"track": str, "expression": str}
        names |= floats(("mean_prob", "mean_prob_lower", "mean_prob_upper", "fraction", "lower", "upper"), float)
        names |= {"seconds": float, "episodes": int, "episode_mean_s": float, "first_s": float}
        return names | floats(("visible_s", "visible_fraction", "video_s"), float)
    if table == "wide":
        names |= {"track": str} | floats(("video_s", "visible_s", "visible_fraction"), float)
        columns = [(figure, expression) for figure in FIGURES for expression in expressions]
        return names | {f"{figure}_{name}": int if figure == "episodes" else float for figure, name in columns}
    if table == "per_video":
        names = {"source": str, "video_s": float, "frames": int, "people": int, "face_s": float}
        names |= {"visible_fraction": float, "gap_s": float, "cuts": int}
        return names | {f"fraction_{name}": float for name in expressions} | {"error": str}
    if table == "episodes":
        return names | {"expression": str} | floats(("start_s", "end_s", "seconds", "mean_prob"), float)
    return names | {"from": str, "to": str, "count": int, "probability": float}


def as_frame(rows: Sequence[Record], columns: Mapping[str, type]) -> Any:
    """Return rows as a data frame of pandas, or of polars where that alone is installed; else as they are."""
    if find_spec("pandas") is not None:
        return import_module("pandas").DataFrame(rows, columns=list(columns))
    if find_spec("polars") is not None:
        return import_module("polars").DataFrame(rows, schema=dict(columns))
    return list(rows)


def check_statistics(path: str | Path) -> Path:
    """Return the path of a file for statistics.

    Raises:
        ConfigError: its name ends in none of `SUFFIXES`.
        MissingExtra: Parquet is wanted and pyarrow is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"expected statistics to end in {', '.join(SUFFIXES)}, got {quoted(str(path))}")
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise MissingExtra("Parquet", "video")
    return path


def write_csv(path: str | Path, rows: Sequence[Record], columns: Mapping[str, type]) -> None:
    """Write rows as CSV.

    Raises:
        ConfigError: the file cannot be written.
    """
    write_text(path, csv_table(list(columns), [[row[name] for name in columns] for row in rows]))


def write_json(path: str | Path, content: Record) -> None:
    """Write an object as JSON.

    Raises:
        ConfigError: the file cannot be written.
    """
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_parquet(path: str | Path, rows: Sequence[Record], columns: Mapping[str, type]) -> None:
    """Write rows as Parquet.

    Raises:
        MissingExtra: pyarrow is not installed.
        ConfigError: the file cannot be written.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtra("Parquet", "video")
    import pyarrow
    import pyarrow.parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
    table = pyarrow.Table.from_pylist([dict(row) for row in rows], schema)
    try:
        with replacing(Path(path)) as beside:
            pyarrow.parquet.write_table(table, beside)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text, whole or not at all.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        with replacing(Path(path)) as beside:
            beside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise cannot_write(path, error) from error
