"""Decode once: a memory-mapped uint8 cache of data sets, keyed by content hash."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fervit.data.dataset import Dataset
from fervit.errors import DataError, reason

log = logging.getLogger(__name__)

VERSION = 3  # of the cache's layout; part of every key
BUILDING = ".building-"  # prefix of folders that are being filled
LITTER_AGE_S = 86_400


def cache_folder() -> Path:
    """Return where decoded data sets are kept: `FERVIT_CACHE`, else the user's cache folder."""
    if folder := os.environ.get("FERVIT_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "fervit"


def content_hash(images: np.ndarray, targets: np.ndarray, split_ids: np.ndarray) -> str:
    """Return the hex digest that identifies decoded data whatever file form it came in."""
    digest = hashlib.sha256(f"{images.shape}".encode())
    for array in (images, targets.astype("<i8"), split_ids.astype("i1")):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cannot_write(path: Path, error: OSError) -> DataError:
    """Return the error for a cache file that cannot be written, with the way out."""
    return DataError(
        f"cannot write the decoded data set to {path.parent} ({reason(error)}); "
        "free some space or set FERVIT_CACHE to another folder"
    )


def cached(key: str, build: Callable[[Path], Dataset], *, name: str | None = None) -> Dataset:
    """Return the data set stored under `key`, or build and store it.

    Images come back memory-mapped, the small arrays in memory. A half-written entry is never seen: it is
    built beside its place and renamed. An entry that was damaged is built again.

    Args:
        key: names the entry; two sources with the same content share it.
        build: makes the data set; may write its images to `images.npy` in the folder it is handed.
        name: name of the data set, where the entry may have been made from a file of another name.

    Raises:
        DataError: the cache folder cannot be written (the message names the way to move it).
    """
    entry = cache_folder() / f"v{VERSION}-{key}"
    if (entry / "meta.json").is_file():
        try:
            return _open(entry, name)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            log.warning("%s is damaged; decoding again", entry)
            shutil.rmtree(entry, ignore_errors=True)
    _build(entry, build)
    return _open(entry, name)


def _build(entry: Path, build: Callable[[Path], Dataset]) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        _remove_litter(entry.parent)
        folder = Path(tempfile.mkdtemp(dir=entry.parent, prefix=BUILDING))
    except OSError as error:
        raise cannot_write(entry, error) from error
    try:
        dataset = build(folder)
        try:
            _store(folder, dataset)
            del dataset  # closes the memory map: Windows renames no folder with an open file
            _publish(folder, entry)
        except OSError as error:
            raise cannot_write(entry, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_litter(cache: Path) -> None:
    """Delete what builds that were killed left behind more than a day ago."""
    for folder in cache.glob(f"{BUILDING}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > LITTER_AGE_S:
                shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, entry: Path) -> None:
    try:
        folder.rename(entry)
    except OSError:
        if not (entry / "meta.json").is_file():  # else another process was faster
            raise


def _store(folder: Path, dataset: Dataset) -> None:
    if not (folder / "images.npy").is_file():
        np.save(folder / "images.npy", dataset.images)
    arrays = {"targets": dataset.targets, "split_ids": dataset.split_ids, "rows": dataset.rows}
    if dataset.votes is not None:
        arrays["votes"] = dataset.votes
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    meta = {
        "name": dataset.name,
        "labels": dataset.labels,
        "data_hash": dataset.data_hash,
        "sources": None if dataset.sources is None else list(dataset.sources),
        "skipped": list(dataset.skipped),
    }
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def _open(entry: Path, name: str | None) -> Dataset:
    meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
    with np.load(entry / "arrays.npz") as arrays:
        small = {key: arrays[key] for key in arrays.files}
    return Dataset(
        name=name or meta["name"],
        labels=tuple(meta["labels"]),
        images=np.load(entry / "images.npy", mmap_mode="r"),
        data_hash=meta["data_hash"],
        sources=meta["sources"],
        skipped=tuple(meta.get("skipped", ())),
        **small,
    )
