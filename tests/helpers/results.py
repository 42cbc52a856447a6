"""Result files of `fervit predict`, read back."""

import csv
import io
import json
from pathlib import Path


def json_rows(text: str) -> list[dict[str, object]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def sources(table: Path) -> list[str]:
    """Return the source of every row of a result file."""
    return sources_of(table.read_bytes(), table.suffix)


def sources_of(data: bytes, suffix: str) -> list[str]:
    """Return the source of every row of a result file's bytes."""
    if suffix == ".json":
        return [str(row["source"]) for row in json_rows(data.decode())]
    if suffix == ".csv":
        return [row["source"] for row in csv.DictReader(io.StringIO(data.decode(), newline=""))]
    import pyarrow.parquet

    return list(pyarrow.parquet.read_table(io.BytesIO(data)).column("source").to_pylist())
