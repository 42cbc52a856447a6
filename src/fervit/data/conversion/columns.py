"""What a converted file says beside images, labels and splits: sources, licences, votes; and its data sets apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fervit.licences import Licence, as_text, read_licences, union

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

METADATA = b"fervit"  # key of what is noted of the file as a whole
SOURCE, VOTES = "source", "votes"
LICENCE_COLUMNS = ("licence", "license")


@dataclass(frozen=True)
class Part:
    """One of the data sets in a converted file.

    Attributes:
        name: as the column `source` has it.
        labels: its own, which may be fewer than the file's.
        weight: how often training draws its images, relative to their number.
    """

    name: str
    labels: tuple[str, ...]
    weight: float = 1.0


def metadata_of(labels: Sequence[str], parts: Sequence[Part]) -> dict[bytes, str]:
    """Return what is noted of a file as a whole: all labels, in the order of the votes, and its data sets."""
    entries = [{"name": part.name, "labels": list(part.labels), "weight": part.weight} for part in parts]
    return {METADATA: json.dumps({"labels": list(labels), "parts": entries}, ensure_ascii=False)}


def noted(file: "ParquetFile") -> Mapping[str, object]:
    """Return what fervit noted of a file; nothing where it did not write it."""
    raw = (file.schema_arrow.metadata or {}).get(METADATA)
    try:
        values = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def labels_of(file: "ParquetFile", part: str | None = None) -> tuple[str, ...]:
    """Return the labels that fervit noted of a file, or of one of its data sets; nothing where it noted none."""
    for each in parts_in(file):
        if each.name == part:
            return each.labels
    labels = noted(file).get("labels")
    return tuple(map(str, labels)) if isinstance(labels, list) else ()


def parts_in(file: "ParquetFile") -> tuple[Part, ...]:
    """Return the data sets that a converted file holds; nothing where it is none."""
    entries = noted(file).get("parts")
    try:
        return tuple(
            Part(str(entry["name"]), tuple(map(str, entry["labels"])), float(entry["weight"]))
            for entry in (entries if isinstance(entries, list) else [])
        )
    except (KeyError, TypeError, ValueError):
        return ()


def licence_text(file: "ParquetFile", columns: Mapping[str, str], name: str, rows: np.ndarray | None = None) -> str:
    """Return the licences of a file's images as `Dataset.licence` has them: each different one of its column.

    Args:
        file: the file.
        columns: its columns' names by their lower case.
        name: of the data set, for licences without a source.
        rows: `(N,)` that count; None for all.
    """
    column = next((columns[key] for key in LICENCE_COLUMNS if key in columns), None)
    if column is None:
        return str(noted(file).get("licence") or "")
    by_source = SOURCE in columns and bool(parts_in(file))  # elsewhere, a source may be an image
    wanted = [column, *([columns[SOURCE]] if by_source else [])]
    table = file.read(columns=wanted)
    if rows is not None:
        table = table.take(rows)
    groups = table.group_by(wanted, use_threads=False).aggregate([]).to_pylist()
    found: list[Licence] = []
    for group in groups:
        source = str(group[columns[SOURCE]]) if by_source else name
        found += read_licences(str(group[column] or ""), source)
    return as_text(union(found))
