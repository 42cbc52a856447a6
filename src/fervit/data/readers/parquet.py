"""Images in parquet: our columns (`image` bytes, `label`, `usage`) and Hugging Face's (`image` struct)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fervit.data.conversion.columns import METADATA, SOURCE, VOTES, Part, labels_of, licence_text, parts_in
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.labelling.values import LABEL_COLUMNS, NAME_COLUMNS, check_labels_named, column_labels, row_place
from fervit.data.listing import Listing, ReadOptions, assemble
from fervit.data.readers.parquet_pages import check_pages
from fervit.data.source_files import one_line
from fervit.data.splits import SUBJECT_COLUMNS, USAGE_COLUMNS, USAGES, split_ids_of
from fervit.errors import DataError, MissingExtra, unknown
from fervit.files import name_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

IMAGE_COLUMNS = ("image", "img")
BATCH_ROWS = 512
BATCH_BYTES = 512_000_000  # of a batch whose rows are all as large as its dictionary


def read_parquet(path: Path, store: Path, options: ReadOptions) -> Dataset:
    """Read encoded images with their labels (numbers or names) and usage.

    Numbers are named by a column of names (`label_name`) or by the class names in Hugging Face's metadata. Without a
    usage or split column, see `make_splits`. A column `subject` or `person` says who is on the image. What `fervit data
    convert` wrote besides is read, too: votes, licences, and of several data sets the one that `options.part` names.

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
            rows = part_rows(path, file, columns, options.part)
            split_ids = None if usage is None else split_ids_of(_values(file, usage, rows), str(path))
            classes = _classes(file, label)
            labels = column_labels(
                _values(file, label, rows), str(path), label, classes=classes, convention=options.convention
            )
            saved = labels_of(file, options.part)
            labels = replace(labels, declared=labels.declared or saved)
            if not options.rules and options.need_labels:
                check_labels_named(labels, classes, str(path))
            name = options.part or name_of(path.name)
            grouping = options.grouping
            listing = Listing(
                name,
                str(path),
                labels,
                split_ids,
                _sources(file, columns, rows),
                notes=_several(file, options.part),
                as_saved=bool(saved),
                subjects=_texts(file, columns, SUBJECT_COLUMNS, rows),
                licence=licence_text(file, columns, name, rows),
                groups=None if grouping is None else _texts(file, columns, (grouping.column,), rows),
                cropped=bool(saved),
            )
            dataset = assemble(listing, lambda: _contents(path, file, image, rows), store, options)
            return _with_votes(dataset, path, file, columns, rows)
    except (ArrowException, OSError) as error:
        raise not_parquet(path, error) from error


def _with_votes(
    dataset: Dataset, path: Path, file: "ParquetFile", columns: dict[str, str], numbers: np.ndarray
) -> Dataset:
    """Return the data set with the column `votes`: a list for each row, in the order of the labels that fervit noted.

    Raises:
        DataError: a row's votes are no numbers from 0 up, one for each label.
    """
    saved = labels_of(file)
    if VOTES not in columns or not saved:
        return dataset
    rows = _values(file, columns[VOTES], numbers)
    try:
        votes = np.array([[0.0] * len(saved) if row is None else row for row in rows], dtype=np.float32)
    except (TypeError, ValueError):
        votes = np.empty(0, np.float32)
    if votes.shape != (len(rows), len(saved)) or not (np.isfinite(votes).all() and (votes >= 0).all()):
        raise DataError(
            f"{path}: expected {len(saved)} numbers from 0 up in each row of the column {columns[VOTES]}, one for "
            f"each of {', '.join(saved)}"
        )
    if not votes.any():
        return dataset
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
    noted = {"labels": dataset.labels, "licence": dataset.licence}
    table = pyarrow.table(columns).replace_schema_metadata({METADATA: json.dumps(noted)})
    parquet.write_table(table, path, compression="none")  # PNG is compressed already


def parts_of(path: str | Path) -> tuple[Part, ...]:
    """Return the data sets that a parquet file holds; nothing where it is none of fervit's, or cannot be read."""
    parquet = import_parquet("reading parquet")
    from pyarrow import ArrowException

    try:
        with parquet.ParquetFile(path) as file:
            return parts_in(file)
    except (ArrowException, OSError):  # what is wrong with it is said where it is read
        return ()


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


def _values(file: "ParquetFile", column: str, rows: np.ndarray) -> list[object]:
    values: list[object] = file.read(columns=[column])[column].take(rows).to_pylist()
    return values


def part_rows(path: Path, file: "ParquetFile", columns: dict[str, str], part: str | None) -> np.ndarray:
    """Return the numbers of the rows of one of a file's data sets, or of all.

    Raises:
        DataError: it holds no such data set.
    """
    every = np.arange(file.metadata.num_rows)
    if part is None:
        return every
    names = _values(file, columns[SOURCE], every) if SOURCE in columns else []
    if part not in names:
        held = sorted(map(str, dict.fromkeys(names)))
        raise DataError(f"{path}: {unknown('data set in it', part, held)}" if held else f"{path} is no mixture")
    return np.flatnonzero([name == part for name in names])


def _several(file: "ParquetFile", part: str | None) -> tuple[str, ...]:
    """Return in words that several data sets are read as one; nothing where they are not."""
    names = [each.name for each in parts_in(file)]
    if part is not None or len(names) < 2:
        return ()
    return (
        f"it holds {len(names)} data sets ({', '.join(names)}), which are read as one, with all images of one size; "
        "training keeps each as it is, and load_dataset(part=...) takes one of them",
    )


def _contents(path: Path, file: "ParquetFile", column: str, wanted: np.ndarray) -> Iterator[bytes]:
    """Yield the encoded images of ascending rows; as few are unpacked at once as their dictionary is large.

    Raises:
        DataError: see `check_pages`.
    """
    import pyarrow

    dictionary = check_pages(path, file.metadata, column)
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, dictionary)))
    ends = np.cumsum([file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)])
    for group, within in enumerate(np.split(wanted, np.searchsorted(wanted, ends[:-1]))):
        chosen = within - (ends[group - 1] if group else 0)
        start = 0
        for batch in file.iter_batches(batch_size=rows, columns=[column], row_groups=[group]) if len(chosen) else ():
            here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
            start += len(batch)
            for value in batch.column(0).take(pyarrow.array(here)).to_pylist():
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


def _sources(file: "ParquetFile", columns: dict[str, str], rows: np.ndarray) -> list[str]:
    if "filename" in columns:
        return [str(value) for value in _values(file, columns["filename"], rows)]
    return [row_place(row) for row in rows.tolist()]


def _texts(
    file: "ParquetFile", columns: dict[str, str], choices: Sequence[str | None], rows: np.ndarray
) -> list[str] | None:
    """Return the first of some columns that the file has, as texts that are empty where there is no value.

    None where there is no such column, or no value in it at all.
    """
    column = next((columns[name] for name in choices if name in columns), None)
    values = [] if column is None else _values(file, column, rows)
    texts = ["" if value is None else str(value).strip() for value in values]
    return texts if any(texts) else None


def _classes(file: "ParquetFile", column: str) -> tuple[str, ...]:
    """Return the class names that `datasets` writes into a parquet file's metadata, if there are any."""
    raw = (file.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        return tuple(json.loads(raw)["info"]["features"][column]["names"]) if raw else ()
    except (KeyError, TypeError, ValueError):
        return ()
