"""Images in parquet: our columns (`image` bytes, `label`, `usage`) and Hugging Face's (`image` struct)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fervit.data.dataset import SPLITS, Dataset
from fervit.data.labelling.values import LABEL_COLUMNS, NAME_COLUMNS, check_labels_named, column_labels, row_place
from fervit.data.listing import Listing, ReadOptions, assemble
from fervit.data.readers.parquet_pages import check_pages
from fervit.data.source_files import one_line
from fervit.data.splits import SUBJECT_COLUMNS, USAGE_COLUMNS, USAGES, split_ids_of
from fervit.errors import DataError, MissingExtra
from fervit.files import name_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

IMAGE_COLUMNS = ("image", "img")
BATCH_ROWS = 512
BATCH_BYTES = 512_000_000  # of a batch whose rows are all as large as its dictionary
OWN_METADATA = b"fervit"  # key of what `write_parquet` notes: all labels, also those that no image has


def read_parquet(path: Path, store: Path, options: ReadOptions) -> Dataset:
    """Read encoded images with their labels (numbers or names) and usage.

    Numbers are named by a column of names (`label_name`) or by the class names in Hugging Face's metadata. Without a
    usage or split column, see `make_splits`. A column `subject` or `person` says who is on the image.

    Raises:
        DataError: it is no parquet file, lacks a column, has no rows, or a label or usage is unknown.
    """
    parquet = import_parquet("reading parquet")
    from pyarrow import ArrowException

    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            columns = {name.strip().lower(): name for name in file.schema_arrow.names}
            image = _column(path, columns, IMAGE_COLUMNS)
            label = _label_column(path, file, columns)
            usage = next((columns[name] for name in USAGE_COLUMNS if name in columns), None)
            if not file.metadata.num_rows:
                raise DataError(f"{path} has no rows")
            split_ids = None if usage is None else split_ids_of(_values(file, usage), str(path))
            classes = _classes(file, label)
            labels = column_labels(
                _values(file, label), str(path), label, classes=classes, convention=options.convention
            )
            saved = _saved_labels(file)
            labels = replace(labels, declared=labels.declared or saved)
            if not options.rules and options.need_labels:
                check_labels_named(labels, classes, str(path))
            listing = Listing(
                name_of(path.name),
                str(path),
                labels,
                split_ids,
                _sources(file, columns),
                as_saved=bool(saved),
                subjects=_texts(file, columns, SUBJECT_COLUMNS),
                groups=None if options.grouping is None else _texts(file, columns, (options.grouping.column,)),
                cropped=bool(saved),
            )
            dataset = assemble(listing, lambda: _contents(path, file, image), store, options)
            return _with_votes(dataset, path, file, columns, saved)
    except (ArrowException, OSError) as error:
        raise not_parquet(path, error) from error


def _with_votes(
    dataset: Dataset, path: Path, file: "ParquetFile", columns: dict[str, str], saved: tuple[str, ...]
) -> Dataset:
    """Return the data set with the column `votes`: a list for each row, in the order of the labels that fervit noted.

    Raises:
        DataError: a row's votes are no numbers from 0 up, one for each label.
    """
    if "votes" not in columns or not saved:
        return dataset
    rows = _values(file, columns["votes"])
    try:
        votes = np.array([[0.0] * len(saved) if row is None else row for row in rows], dtype=np.float32)
    except (TypeError, ValueError):
        votes = np.empty(0, np.float32)
    if votes.shape != (len(rows), len(saved)) or not (np.isfinite(votes).all() and (votes >= 0).all()):
        raise DataError(
            f"{path}: expected {len(saved)} numbers from 0 up in each row of the column {columns['votes']}, one for "
            f"each of {', '.join(saved)}"
        )
    sums = votes.sum(axis=1, keepdims=True)
    votes = np.divide(votes, sums, out=np.zeros_like(votes), where=sums > 0)[dataset.rows]
    ordered = np.zeros((len(votes), len(dataset.labels)), np.float32)
    for place, name in enumerate(dataset.labels):
        if name in saved:
            ordered[:, place] = votes[:, saved.index(name)]
    return replace(dataset, votes=ordered)


def write_parquet(dataset: Dataset, path: Path) -> None:
    """Write `image` (PNG bytes), `label`, `label_name`, `usage` and `filename`."""
    import io

    import pyarrow
    from PIL import Image

    parquet = import_parquet("writing parquet")

    def encode(image: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
        return buffer.getvalue()

    usages = [USAGES[SPLITS[split]] for split in dataset.split_ids]
    columns = {
        "image": pyarrow.array([encode(image) for image in dataset.images], type=pyarrow.binary()),
        "label": pyarrow.array(dataset.targets.astype(np.int8)),
        "label_name": pyarrow.array([dataset.labels[target] for target in dataset.targets]),
        "usage": pyarrow.array(usages),
        "filename": pyarrow.array([f"{usage}_{row:07d}.png" for row, usage in enumerate(usages)]),
    }
    table = pyarrow.table(columns).replace_schema_metadata({OWN_METADATA: json.dumps({"labels": dataset.labels})})
    parquet.write_table(table, path, compression="none")  # PNG is compressed already


def import_parquet(feature: str) -> ModuleType:
    """Return `pyarrow.parquet`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(feature, "train") from error
    parquet: ModuleType = pyarrow.parquet
    return parquet


def not_parquet(path: Path, error: Exception) -> DataError:
    """Build the error for a file that pyarrow cannot read."""
    return DataError(f"{path} is not a parquet file that can be read ({one_line(error)})")


def _column(path: Path, columns: dict[str, str], choices: tuple[str, ...]) -> str:
    for name in choices:
        if name in columns:
            return columns[name]
    raise DataError(f"{path} lacks the column {' or '.join(choices)}; it has {', '.join(columns.values())}")


def _values(file: "ParquetFile", column: str) -> list[object]:
    values: list[object] = file.read(columns=[column])[column].to_pylist()
    return values


def _contents(path: Path, file: "ParquetFile", column: str) -> Iterator[bytes]:
    """Yield the encoded images; as few are unpacked at once as their dictionary is large.

    Raises:
        DataError: see `check_pages`.
    """
    dictionary = check_pages(path, file.metadata, column)
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, dictionary)))
    for batch in file.iter_batches(batch_size=rows, columns=[column]):
        for value in batch.column(0).to_pylist():
            data = value.get("bytes") if isinstance(value, dict) else value
            yield data if isinstance(data, bytes) else b""


def _label_column(path: Path, file: "ParquetFile", columns: dict[str, str]) -> str:
    """Return the column to read labels from: where one holds names, numbers do not count.

    Raises:
        DataError: there is none.
    """
    own = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
    named = [columns[name] for name in NAME_COLUMNS if name in columns and _is_text(file, columns[name])]
    texts = [columns[name] for name in LABEL_COLUMNS if name in columns and _is_text(file, columns[name])]
    if own is not None and not named and (own in texts or _classes(file, own)):
        return own
    return next(iter([*named, *texts]), None) or _column(path, columns, LABEL_COLUMNS)


def _is_text(file: "ParquetFile", column: str) -> bool:
    """Return whether a column holds texts, also as categories."""
    return "string" in str(file.schema_arrow.field(column).type)


def _sources(file: "ParquetFile", columns: dict[str, str]) -> list[str]:
    if "filename" in columns:
        return [str(value) for value in _values(file, columns["filename"])]
    return [row_place(row) for row in range(file.metadata.num_rows)]


def _texts(file: "ParquetFile", columns: dict[str, str], choices: Sequence[str | None]) -> list[str] | None:
    """Return the first of some columns that the file has, as texts that are empty where there is no value; or None."""
    column = next((columns[name] for name in choices if name in columns), None)
    if column is None:
        return None
    texts = ["" if value is None else str(value).strip() for value in _values(file, column)]
    return texts if any(texts) else None


def _classes(file: "ParquetFile", column: str) -> tuple[str, ...]:
    """Return the class names that `datasets` writes into a parquet file's metadata, if there are any."""
    raw = (file.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        return tuple(json.loads(raw)["info"]["features"][column]["names"]) if raw else ()
    except (KeyError, TypeError, ValueError):
        return ()


def _saved_labels(file: "ParquetFile") -> tuple[str, ...]:
    """Return the labels that `write_parquet` noted, or nothing."""
    raw = (file.schema_arrow.metadata or {}).get(OWN_METADATA)
    try:
        return tuple(str(name) for name in json.loads(raw)["labels"]) if raw else ()
    except (KeyError, TypeError, ValueError):
        return ()
