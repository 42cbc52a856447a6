"""Entries of the cache: memory-mapped uint8 data sets and small arrays, keyed by content and verified when opened."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fervit.data.cache.space import (
    BUILDING,
    META,
    VERSION,
    cache_limit,
    cannot_write,
    mark_used,
    remove,
    remove_litter,
    trim,
)
from fervit.data.dataset import Codes, Dataset
from fervit.errors import DataError, reason
from fervit.files import cache_folder, file_digest, replacing

log = logging.getLogger(__name__)
Kept = TypeVar("Kept")

DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, DataError)
"""What reading a damaged entry may raise."""
ATTEMPTS = 3  # to build an entry and to open it: another process may remove it in between
BLOCKS, BLOCK_BYTES = 64, 16_384  # of a file whose hash is sampled: 1 MB, read in a millisecond

_opened: set[Path] = set()
"""Entries that this process has opened, and may have mapped into memory."""


def content_hash(images: np.ndarray, targets: np.ndarray, split_ids: np.ndarray) -> str:
    """Return the hex digest that identifies decoded data whatever file form it came in."""
    digest = hashlib.sha256(f"{images.shape}".encode())
    for array in (images, targets.astype("<i8"), split_ids.astype("i1")):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cached(key: str, build: Callable[[Path], Dataset], *, name: str | None = None) -> Dataset:
    """Return the data set stored under `key`, or build and store it.

    Images come back memory-mapped, the small arrays in memory. A half-written entry is never seen: it is
    built beside its place and renamed. An entry that is damaged or was changed is built again.

    Args:
        key: names the entry; two sources with the same content share it.
        build: makes the data set; may write its images to `images.npy` in the folder it is handed.
        name: name of the data set, where the entry may have been made from a file of another name.

    Raises:
        DataError: the cache folder cannot be written (the message names the way to move it).
        ConfigError: `FERVIT_CACHE_LIMIT` is no size.
    """

    def store(folder: Path) -> dict[str, object]:
        dataset = build(folder)
        try:
            return _store(folder, dataset)
        except OSError as error:
            raise cannot_write(folder, error) from error

    return _kept(key, store, lambda entry, meta: _load(entry, meta, name))


def cached_array(kind: str, key: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array stored under `kind` and `key`, or compute and store it.

    Args:
        kind: what it is, in words joined by hyphens, such as `soft-targets`.
        key: a digest of all that it depends on.
        build: computes it.

    Raises:
        DataError: the cache folder cannot be written.
        ConfigError: `FERVIT_CACHE_LIMIT` is no size.
    """

    def store(folder: Path) -> dict[str, object]:
        array = build()
        try:
            np.save(folder / "array.npy", array, allow_pickle=False)
        except OSError as error:
            raise cannot_write(folder, error) from error
        return {"what": f"{kind.replace('-', ' ')}, {len(array):,} rows"}

    def load(entry: Path, _: Mapping[str, Any]) -> np.ndarray:
        array: np.ndarray = np.load(entry / "array.npy", allow_pickle=False)
        return array

    return _kept(f"{kind}-{key}", store, load)


def _kept(
    key: str, store: Callable[[Path], dict[str, object]], load: Callable[[Path, Mapping[str, Any]], Kept]
) -> Kept:
    """Return what is stored under `key`, verified; or have it stored, and return that.

    Args:
        key: the entry's name.
        store: fills a folder, and returns what `META` says about it.
        load: reads the entry's folder, given `META`.
    """
    cache_limit()  # a mistake in it is reported before anything is decoded
    entry = cache_folder() / f"v{VERSION}-{key}"
    for _ in range(ATTEMPTS):
        if not os.path.lexists(entry):
            _build(entry, store)
        try:
            meta = _verified(entry)
            result = load(entry, meta)
        except FileNotFoundError:
            if not os.path.lexists(entry):  # another process removed it, to stay below the limit
                continue
            _set_aside(entry, "a file is missing")
        except DAMAGE as error:
            _set_aside(entry, reason(error))
        else:
            _opened.add(entry)
            mark_used(entry)
            return result
    raise DataError(f"{entry} does not stay in the cache: another process removes it; raise FERVIT_CACHE_LIMIT")


def _set_aside(entry: Path, why: str) -> None:
    """Make place for an entry to be built again.

    Raises:
        DataError: it cannot be deleted.
    """
    log.warning("%s is damaged (%s): it is made again", entry, why)
    try:
        remove(entry)
    except OSError as error:
        raise cannot_write(entry, error) from error


def _build(entry: Path, store: Callable[[Path], dict[str, object]]) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        remove_litter()
        folder = Path(tempfile.mkdtemp(dir=entry.parent, prefix=BUILDING))
    except OSError as error:
        raise cannot_write(entry, error) from error
    try:
        meta = store(folder)
        try:
            meta["files"] = {path.name: _fingerprint(path) for path in folder.iterdir()}
            (folder / META).write_text(json.dumps(meta), encoding="utf-8")
            _publish(folder, entry)
        except OSError as error:
            raise cannot_write(entry, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    trim({*_opened, entry})


def _publish(folder: Path, entry: Path) -> None:
    try:
        folder.rename(entry)
    except OSError:
        if not (entry / META).is_file():  # else another process was faster
            remove(entry)
            folder.rename(entry)


def _fingerprint(path: Path) -> dict[str, object]:
    """Return what a file of an entry is verified by: quickly by size, time and a sample, and wholly by its digest."""
    status = path.stat()
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sample": _sample(path, status.st_size),
        "sha256": file_digest(path),
    }


def _sample(path: Path, size: int) -> str:
    """Return the hex digest of blocks that are spread evenly over a file; of a small file, of all of it."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for block in range(BLOCKS):
            file.seek(max(0, size - BLOCK_BYTES) * block // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()


def _verified(entry: Path) -> dict[str, Any]:
    """Return what `META` says of an entry whose files are those that were stored.

    Size and sample are always compared. A file whose time differs was copied, or changed: all of it is read.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: it is not what was stored.
    """
    meta: dict[str, Any] = json.loads((entry / META).read_text(encoding="utf-8"))
    files: dict[str, dict[str, Any]] = meta["files"]
    moved = False
    for name, known in files.items():
        path = entry / name
        status = path.stat()
        if status.st_size != known["size"] or _sample(path, status.st_size) != known["sample"]:
            raise ValueError(f"{name} was changed")
        if status.st_mtime_ns != known["mtime_ns"]:
            if file_digest(path) != known["sha256"]:
                raise ValueError(f"{name} was changed")
            known["mtime_ns"], moved = status.st_mtime_ns, True
    if moved:
        with contextlib.suppress(OSError), replacing(entry / META) as beside:
            beside.write_text(json.dumps(meta), encoding="utf-8")
    return meta


def _store(folder: Path, dataset: Dataset) -> dict[str, object]:
    """Write a data set's arrays; return what `META` says about it."""
    if not (folder / "images.npy").is_file():
        np.save(folder / "images.npy", dataset.images)
    arrays = {"targets": dataset.targets, "split_ids": dataset.split_ids, "rows": dataset.rows}
    if dataset.votes is not None:
        arrays["votes"] = dataset.votes
    if dataset.face_counts is not None:
        arrays["face_counts"] = dataset.face_counts
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    return {
        "what": f"{dataset.name}, {len(dataset):,} images",
        "name": dataset.name,
        "labels": dataset.labels,
        "data_hash": dataset.data_hash,
        "sources": None if dataset.sources is None else list(dataset.sources),
        "skipped": list(dataset.skipped),
        "notes": list(dataset.notes),
        "codes": [dict(dataset.codes.names), dict(dataset.codes.nameless), dataset.codes.counted_by],
        "subjects": None if dataset.subjects is None else list(dataset.subjects),
        "licence": dataset.licence,
        "drawn_splits": dataset.drawn_splits,
        "detector": dataset.detector,
    }


def _load(entry: Path, meta: Mapping[str, Any], name: str | None) -> Dataset:
    with np.load(entry / "arrays.npz") as arrays:
        small = {key: arrays[key] for key in arrays.files}
    return Dataset(
        name=name or meta["name"],
        labels=tuple(meta["labels"]),
        images=np.load(entry / "images.npy", mmap_mode="r"),
        data_hash=meta["data_hash"],
        sources=meta["sources"],
        skipped=tuple(meta["skipped"]),
        notes=tuple(meta["notes"]),
        codes=Codes(*meta["codes"]),
        subjects=meta.get("subjects"),  # an entry from before there were any has none
        licence=meta.get("licence", ""),
        drawn_splits=meta["drawn_splits"],
        detector=meta.get("detector", ""),
        **small,
    )
