"""Images in parquet: our columns (`image` bytes, `label`, `usage`) and Hugging Face's (`image` struct)."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fervit.data.dataset import SPLITS, Dataset
from fervit.data.listing import USAGES, Listing, assemble, split_ids_of
from fervit.data.source_files import one_line
from fervit.errors import DataError, MissingExtra
from fervit.labels import FER7

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "emotion", "expression")
USAGE_COLUMNS = ("usage", "split")
BATCH_ROWS = 512


def read_parquet(path: Path, store: Path, size_px: int | None = None) -> Dataset:
    """Read encoded images with their labels (integers or names) and usage.

    Integers are named by the file's `label_name` column or by the class names in Hugging Face's metadata,
    else they are FER2013's. Without a usage or split column, see `Listing.split_ids`.

    Raises:
        DataError: it is no parquet file, lacks a column, has no rows, or a label or usage is unknown.
    """
    parquet = import_parquet("reading parquet")
    from pyarrow import ArrowException

    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            columns = {name.strip().lower(): name for name in file.schema_arrow.names}
            image = _column(path, columns, IMAGE_COLUMNS)
            label = _column(path, columns, LABEL_COLUMNS)
            usage = next((columns[name] for name in USAGE_COLUMNS if name in columns), None)
            if not file.metadata.num_rows:
                raise DataError(f"{path} has no rows")
            names = _label_names(path, file, label, columns)
            listing = Listing(
                name=path.name,
                where=str(path),
                names=names,
                split_ids=None if usage is None else split_ids_of(_values(file, usage), str(path)),
                sources=[str(v) for v in _values(file, columns["filename"])]
                if "filename" in columns
                else [f"row {row}" for row in range(1, len(names) + 1)],
            )
            return assemble(listing, lambda: _contents(file, image), store, size_px)
    except (ArrowException, OSError) as error:
        raise not_parquet(path, error) from error


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
    parquet.write_table(pyarrow.table(columns), path, compression="none")  # PNG is compressed already


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


def _contents(file: "ParquetFile", column: str) -> Iterator[bytes]:
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
        for value in batch.column(0).to_pylist():
            data = value.get("bytes") if isinstance(value, dict) else value
            yield data if isinstance(data, bytes) else b""


def _label_names(path: Path, file: "ParquetFile", column: str, columns: dict[str, str]) -> list[str]:
    values: list[int | str] = []
    for row, value in enumerate(_values(file, column), start=1):
        if not isinstance(value, int | str):
            raise DataError(f"{path}, row {row}: the label is {value!r}, expected a number or a name")
        values.append(value)
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) == len(values):
        return texts
    if "label_name" in columns:
        return [str(name) for name in _values(file, columns["label_name"])]
    classes = _classes(file, column) or FER7
    names = []
    for row, value in enumerate(values, start=1):
        if not isinstance(value, int) or not 0 <= value < len(classes):
            raise DataError(
                f"{path}, row {row}: label {value!r}, expected 0 to {len(classes) - 1} "
                f"({', '.join(classes)}); other labels need their names (a label_name column)"
            )
        names.append(classes[value])
    return names


def _classes(file: "ParquetFile", column: str) -> tuple[str, ...]:
    """Return the class names that `datasets` writes into a parquet file's metadata, if there are any."""
    raw = (file.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        return tuple(json.loads(raw)["info"]["features"][column]["names"]) if raw else ()
    except (KeyError, TypeError, ValueError):
        return ()
