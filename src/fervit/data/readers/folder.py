"""Class folders: `train/angry/x.jpg`, Kaggle's FER2013 folders, or `angry/x.jpg` without splits."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fervit.data.cache import cached
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.data.listing import USAGES, Listing, assemble, find_split
from fervit.data.source_files import cannot_read
from fervit.errors import DataError

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
FER2013_NAME = re.compile(r"(Training|PublicTest|PrivateTest)_(\d+)", re.IGNORECASE)

Entry = tuple[str, str, str | None, int, int]
"""Relative path with `/`, class folder, split folder or None, size in bytes, time of change in ns."""


def read_folder(folder: Path, size_px: int | None = None) -> Dataset:
    """Read class folders, with or without split folders (train, val, test and their like) above them.

    File names that begin with `Training_`, `PublicTest_` or `PrivateTest_` name the split; else the split
    folder does; with neither, see `Listing.split_ids`. Rows are ordered by split, then by the number in
    such a name, then by path; numbers that count all files from 0 are row numbers. Images that cannot be
    read are skipped with one warning and listed in `Dataset.skipped`.

    The cache entry is found by names, sizes and times of change: 36,000 files need not be read again.

    Raises:
        DataError: there are no images in class folders, or none of them can be read.
    """
    entries = _entries(folder)
    if not entries:
        raise DataError(_without_images(folder))
    digest = hashlib.sha256(repr((sorted(entries), size_px)).encode("utf-8", "surrogateescape")).hexdigest()
    return cached(f"folder-{digest[:32]}", lambda store: _build(folder, entries, store, size_px), name=folder.name)


def write_folder(dataset: Dataset, folder: Path) -> None:
    """Write `train/<class>/Training_<row>.png`, `test/<class>/PublicTest_<row>.png`, ... as Kaggle does."""
    for row, (image, target, split) in enumerate(zip(dataset.images, dataset.targets, dataset.split_ids, strict=True)):
        split_folder = "train" if SPLITS[split] == TRAIN else "test"
        path = folder / split_folder / dataset.labels[target] / f"{USAGES[SPLITS[split]]}_{row:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path)


def remove_written(folder: Path) -> None:
    """Delete the images that `write_folder` wrote, and nothing else."""
    for relative, *_ in _entries(folder):
        path = folder / relative
        if FER2013_NAME.fullmatch(path.stem) and path.suffix == ".png":
            path.unlink()


def _build(folder: Path, entries: list[Entry], store: Path, size_px: int | None) -> Dataset:
    splits = [_split(entry) for entry in entries]
    seeded = all(split is None for split in splits)
    if not seeded and None in splits:
        stray = entries[splits.index(None)][0]
        raise DataError(
            f"{folder}: {stray} is in no split while other files are; put it into a folder train, val or test"
        )
    ids = [0 if split is None else SPLITS.index(split) for split in splits]
    order = _order([path for path, *_ in entries], ids)
    paths = [entries[k][0] for k in order]

    def contents() -> Iterator[bytes]:
        for path in paths:
            try:
                yield (folder / path).read_bytes()
            except OSError:
                yield b""

    listing = Listing(
        name=folder.name,
        where=str(folder),
        names=[entries[k][1] for k in order],
        split_ids=None if seeded else np.array(ids, dtype=np.int8)[order],
        sources=paths,
    )
    return assemble(listing, contents, store, size_px)


def _entries(folder: Path) -> list[Entry]:
    try:
        return _find(folder)
    except OSError as error:
        raise cannot_read(error.filename or folder, error) from error


def _find(folder: Path) -> list[Entry]:
    top = _subfolders(folder)
    split_folders = [name for name in top if find_split(name) is not None and _subfolders(folder / name)]
    if not split_folders:
        return [entry for name in top for entry in _image_entries(folder, name, name, None)]
    others = [name for name in top if name not in split_folders]
    if others:
        log.warning("%s: %s beside the split folders left out", folder, ", ".join(others))
    return [
        entry
        for split in split_folders
        for name in _subfolders(folder / split)
        for entry in _image_entries(folder, f"{split}/{name}", name, split)
    ]


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        return sorted(item.name for item in found if item.is_dir() and not item.name.startswith((".", "__")))


def _image_entries(folder: Path, relative: str, class_name: str, split: str | None) -> Iterator[Entry]:
    with os.scandir(folder / relative) as found:
        for item in sorted(found, key=lambda item: item.name):
            path = f"{relative}/{item.name}"
            if item.name.startswith("."):
                continue
            if item.is_dir(follow_symlinks=False):  # links are not followed: one may lead back up
                yield from _image_entries(folder, path, class_name, split)
            elif item.name.lower().endswith(SUFFIXES):
                try:
                    status = item.stat()
                except OSError:  # a dead link: reported with the images that cannot be read
                    yield path, class_name, split, 0, 0
                    continue
                yield path, class_name, split, status.st_size, status.st_mtime_ns


def _split(entry: Entry) -> str | None:
    if match := FER2013_NAME.match(entry[0].rpartition("/")[2]):
        return find_split(match[1])
    return None if entry[2] is None else find_split(entry[2])


def _order(paths: list[str], split_ids: list[int]) -> list[int]:
    """Return the positions in row order: by split, number in the name, path; or by row numbers where they are."""
    matches = [FER2013_NAME.match(path.rpartition("/")[2]) for path in paths]
    numbers = [int(match[2]) if match else 0 for match in matches]
    if all(matches) and sorted(numbers) == list(range(len(paths))):  # written by `write_folder`
        return sorted(range(len(paths)), key=lambda k: numbers[k])
    return sorted(range(len(paths)), key=lambda k: (split_ids[k], numbers[k], paths[k]))


def _without_images(folder: Path) -> str:
    files = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in (".csv", ".parquet"))
    if files:
        return f"{folder} has no class folders, but {', '.join(files[:3])}: pass that file"
    loose = sum(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
    found = f"{loose} loose images and no class folders" if loose else "no images"
    return (
        f"{folder} holds {found}; expected train/angry/x.jpg, test/angry/x.jpg, ... or angry/x.jpg, ... "
        "(for `fervit pretrain`, which needs no labels: train/unlabelled/x.jpg)"
    )
