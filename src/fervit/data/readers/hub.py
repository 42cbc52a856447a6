"""Data sets on the Hugging Face Hub, streamed once into the cache."""

import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fervit.data.cache import cached
from fervit.data.cache.space import last_stored
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.decode import MAX_BYTES
from fervit.data.labelling.values import LABEL_COLUMNS, NAME_COLUMNS, check_labels_named, column_labels
from fervit.data.listing import Listing, ReadOptions, assemble
from fervit.data.readers.parquet import IMAGE_COLUMNS
from fervit.data.readers.spool import Spool
from fervit.data.source_files import one_line
from fervit.data.splits import find_split
from fervit.errors import DataError, MissingExtra
from fervit.files import read_regular

if TYPE_CHECKING:
    from datasets import IterableDataset

log = logging.getLogger(__name__)

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TIMEOUT_S = 10.0


def read_hub(repo: str, options: ReadOptions) -> Dataset:
    """Read a Hub data set with one Image and one label column; train, validation and test become our splits.

    Streamed once, then opened from the cache as long as its revision stays. Offline, the revision that was
    cached last is used.

    Raises:
        DataError: the Hub cannot be reached, or it has no such data set, or its columns do not fit.
        MissingExtra: the package `datasets` is not installed.
    """
    slug = repo.replace("/", "--")
    try:
        revision = _revision(repo)
    except ConnectionError as error:
        cached_revision = last_stored(f"hub-{slug}-")
        if cached_revision is None:
            raise DataError(
                f"{repo!r} is no file or folder here, and the Hugging Face Hub, where a data set may have "
                f"that name, cannot be reached ({error}); connect, or pass a local copy"
            ) from error
        revision = cached_revision
        log.warning("the Hub cannot be reached: using the cached revision %s of %s", revision, repo)
    key = f"hub-{slug}-{revision}{options.key}"
    return cached(key, lambda store: stream(repo, revision, store, options), name=repo)


def stream(repo: str, revision: str | None, store: Path, options: ReadOptions) -> Dataset:
    """Stream all splits of a data set (a Hub id, or a local folder as `datasets` reads it) into `store`."""
    spool = Spool(store / "encoded.bin")
    values: list[object] = []
    split_ids: list[int] = []
    sources: list[str] = []
    column = ""
    classes: tuple[str, ...] = ()
    with warnings.catch_warnings(), spool.writing():
        warnings.simplefilter("ignore")  # the user can do nothing about those of `datasets`
        for row in _rows(repo, revision):
            spool.append(row.image)
            values.append(row.label)
            split_ids.append(row.split_id)
            sources.append(row.source)
            column, classes = row.column, row.classes
    if not values:
        raise DataError(f"{repo} has no rows")
    labels = column_labels(
        values, repo, column, place=lambda k: sources[k], classes=classes, convention=options.convention
    )
    if not options.rules and options.need_labels:
        check_labels_named(labels, classes, repo)
    listing = Listing(repo, repo, labels, np.array(split_ids, dtype=np.int8), sources)
    dataset = assemble(listing, spool.contents, store, options)
    spool.path.unlink()
    return dataset


@dataclass(frozen=True)
class Row:
    """One row of a Hub data set.

    Attributes:
        image: encoded.
        label: as the label column has it.
        split_id: index into `SPLITS`.
        source: the row's name, for messages.
        column: the label column's name.
        classes: the names of its numbers, where it has some.
    """

    image: bytes
    label: object
    split_id: int
    source: str
    column: str
    classes: tuple[str, ...]


def _rows(repo: str, revision: str | None) -> Iterator[Row]:
    """Yield the rows of all splits.

    Raises:
        DataError: the data set cannot be streamed, or its splits, columns or labels do not fit.
        MissingExtra: the package `datasets` is not installed.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtra("reading Hub data sets", "download") from error
    try:
        for split_name, rows in load_dataset(repo, revision=revision, streaming=True, trust_remote_code=False).items():
            yield from _rows_of_split(repo, split_name, rows)
    except DataError:
        raise
    except Exception as error:  # `datasets` and its file systems raise exceptions of any type
        raise DataError(f"{repo} cannot be streamed from the Hub ({one_line(error)})") from error


def _rows_of_split(repo: str, split_name: str, rows: "IterableDataset") -> Iterator[Row]:
    from datasets import Image

    split = find_split(split_name)
    if split is None:
        raise DataError(f"{repo}: split {split_name!r} is none of train, validation, test")
    image, label, classes = _columns(repo, rows)
    for number, row in enumerate(rows.cast_column(image, Image(decode=False)), start=1):
        source = f"{split_name} row {number}"
        data = row[image]["bytes"] or _read_local(row[image]["path"])
        yield Row(data, row[label], SPLITS.index(split), source, label, classes)


def _revision(repo: str) -> str:
    """Return the commit of a data set's main branch; `ConnectionError` when the Hub cannot be reached."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    except ImportError as error:
        raise MissingExtra("reading Hub data sets", "download") from error
    try:
        return str(HfApi().dataset_info(repo, timeout=TIMEOUT_S).sha)
    except OfflineModeIsEnabled as error:
        raise ConnectionError("HF_HUB_OFFLINE is set") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403, 404):  # the Hub returns 401 for what does not exist
            raise DataError(
                f"{repo!r} is no file or folder here, and the Hub has no such data set, or it is private or "
                "gated (then log in: hf auth login)"
            ) from error
        raise ConnectionError(f"the Hub returned status {status}") from error
    except Exception as error:  # by version those of httpx, of requests or of sockets
        raise ConnectionError(one_line(error)) from error


def _columns(repo: str, rows: "IterableDataset") -> tuple[str, str, tuple[str, ...]]:
    """Return the image column, the label column and the class names, empty when labels are texts."""
    from datasets import ClassLabel, Image

    features: dict[str, object] = rows.features or next(iter(rows.take(1)), {})
    image = [name for name, feature in (rows.features or {}).items() if isinstance(feature, Image)]
    image = image or [name for name in features if name.lower() in IMAGE_COLUMNS]
    label = [name for name, feature in (rows.features or {}).items() if isinstance(feature, ClassLabel)]
    columns = {name.lower(): name for name in features}
    known = [columns[name] for name in (*NAME_COLUMNS, *LABEL_COLUMNS) if name in columns]
    label = label or [name for name in known if _is_text(rows, name)] or known
    if not image or not label:
        raise DataError(f"{repo} needs an Image and a ClassLabel column; it has {', '.join(features) or 'none'}")
    classes = tuple(getattr((rows.features or {}).get(label[0]), "names", None) or ())
    return image[0], label[0], classes


def _is_text(rows: "IterableDataset", column: str) -> bool:
    """Return whether a column is known to hold texts."""
    feature: object = (rows.features or {}).get(column)
    return "string" in str(getattr(feature, "dtype", ""))


def _read_local(path: str | None) -> bytes:
    try:
        return read_regular(Path(path), limit=MAX_BYTES) if path else b""
    except OSError:
        return b""
