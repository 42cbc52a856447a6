"""Decode once: a memory-mapped uint8 cache of data sets, keyed by content hash."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fervit.data.dataset import Dataset
from fervit.errors import DataError

VERSION = 1  # of the cache's layout; part of every key


def cache_folder() -> Path:
    """Return where decoded data sets are kept: `FERVIT_CACHE`, else the user's cache folder."""
    if folder := os.environ.get("FERVIT_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "fervit"


def file_digest(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(images: np.ndarray, targets: np.ndarray, split_ids: np.ndarray) -> str:
    """Return the hex digest that identifies decoded data whatever file form it came in."""
    digest = hashlib.sha256(f"{images.shape}".encode())
    for array in (images, targets.astype("<i8"), split_ids.astype("i1")):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def cached(key: str, build: Callable[[], Dataset]) -> Dataset:
    """Return the data set stored under `key`, or build and store it.

    Pictures come back memory-mapped, the small arrays in memory. A half-written entry is never seen: it is
    built beside its place and renamed.

    Raises:
        DataError: the cache folder cannot be written (the message names the way to move it).
    """
    entry = cache_folder() / f"v{VERSION}-{key}"
    if not (entry / "meta.json").is_file():
        dataset = build()
        try:
            _store(entry, dataset)
        except OSError as error:
            raise DataError(
                f"cannot write the decoded data set to {entry.parent} ({error.strerror}); "
                "free some space or set FERVIT_CACHE to another folder"
            ) from error
    return _open(entry)


def _store(entry: Path, dataset: Dataset) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=entry.parent, prefix=".building-"))
    try:
        np.save(folder / "images.npy", dataset.images)
        np.savez(folder / "arrays.npz", **{k: v for k, v in _arrays(dataset).items() if v is not None})
        meta = {
            "name": dataset.name,
            "labels": dataset.labels,
            "data_hash": dataset.data_hash,
            "sources": None if dataset.sources is None else list(dataset.sources),
        }
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        try:
            folder.rename(entry)
        except OSError:
            if not (entry / "meta.json").is_file():  # else another process was faster
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _arrays(dataset: Dataset) -> dict[str, np.ndarray | None]:
    return {name: getattr(dataset, name) for name in ("targets", "split_ids", "rows", "votes")}


def _open(entry: Path) -> Dataset:
    meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
    with np.load(entry / "arrays.npz") as arrays:
        small = {name: arrays[name] for name in arrays.files}
    return Dataset(
        name=meta["name"],
        labels=tuple(meta["labels"]),
        images=np.load(entry / "images.npy", mmap_mode="r"),
        data_hash=meta["data_hash"],
        sources=meta["sources"],
        **small,
    )
