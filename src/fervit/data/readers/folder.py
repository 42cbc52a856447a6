"""Class folders: `train/angry/x.jpg`, Kaggle's FER2013 folders, or `angry/x.jpg` without splits."""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from fervit.data.cache import cached
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.data.decode import MAX_BYTES
from fervit.data.labelling.conventions import Convention
from fervit.data.labelling.values import check_labels_named, name_labels, with_convention
from fervit.data.listing import Listing, ReadOptions, assemble
from fervit.data.readers.class_folders import SUFFIXES, ImageFile, Layout, read_layout, scan
from fervit.data.source_files import cannot_read
from fervit.data.splits import USAGES, find_split
from fervit.errors import DataError
from fervit.files import name_of, open_regular, read_regular

CROPS_TABLE = "crops.csv"  # beside the crops that `fervit data crop` wrote
FER2013_NAME = re.compile(r"(Training|PublicTest|PrivateTest)_(\d+)", re.IGNORECASE)
SAMPLED_FILES, SAMPLED_BYTES = 128, 65_536  # that are read, to see whether images were changed unnoticed


def read_folder(folder: Path, options: ReadOptions) -> Dataset:
    """Read class folders, with or without split folders (train, val, test and their like) above them.

    File names that begin with `Training_`, `PublicTest_` or `PrivateTest_` name the split; else the split
    folder does; with neither, see `make_splits`. Rows are ordered by split, then by the number in
    such a name, then by path; numbers that count all files from 0 are row numbers. Images that cannot be
    read are skipped with one warning and listed in `Dataset.skipped`.

    The cache entry is found by names, sizes, times of change, and by the content of files spread evenly over the
    data set: 36,000 files need not be read again.

    Raises:
        DataError: there are no images in class folders, or none of them can be read.
    """
    layout = _layout(folder)
    files = [file for found in layout.classes for file in found.files]
    if not files:
        raise DataError(_without_images(folder))
    said = repr(
        (
            [(found.tree.path, found.label, found.split) for found in layout.classes],
            files,
            sample_content(folder, files),
        )
    )
    key = f"folder-{hashlib.sha256(said.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}{options.key}"
    dataset = cached(key, lambda store: _build(folder, layout, store, options), name=name_of(folder.name))
    return replace(dataset, notes=(*layout.notes, *dataset.notes))  # not cached: about what is left out as well


def write_folder(dataset: Dataset, folder: Path) -> None:
    """Write `train/<class>/Training_<row>.png`, `test/<class>/PublicTest_<row>.png`, ... as Kaggle does.

    Labels that no image has get an empty folder.

    Raises:
        DataError: a label cannot be the name of a folder.
    """
    if odd := [label for label in dataset.labels if Path(label).name != label or label.startswith((".", "__"))]:
        raise DataError(f"no folder can have the name of the label {odd[0]!r}: write a .parquet file")
    for label in dataset.labels:
        (folder / "train" / label).mkdir(parents=True, exist_ok=True)
    for row, (image, target, split) in enumerate(zip(dataset.images, dataset.targets, dataset.split_ids, strict=True)):
        split_folder = "train" if SPLITS[split] == TRAIN else "test"
        path = folder / split_folder / dataset.labels[target] / f"{USAGES[SPLITS[split]]}_{row:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path)


def remove_written(folder: Path) -> None:
    """Delete the images that `write_folder` wrote, and the class folders that it leaves empty; nothing else."""
    for found in _layout(folder).classes:
        for file in found.files:
            path = folder / file.path
            if FER2013_NAME.fullmatch(path.stem) and path.suffix == ".png":
                path.unlink()
        with contextlib.suppress(OSError):  # something else is in it
            (folder / found.tree.path).rmdir()


def _layout(folder: Path) -> Layout:
    try:
        return read_layout(scan(folder), str(folder))
    except OSError as error:
        raise cannot_read(error.filename or folder, error) from error


def sample_content(folder: Path, files: Sequence[ImageFile]) -> str:
    """Return a digest of the beginnings of files that are spread evenly over the data set; of a small one, of all."""
    digest = hashlib.sha256()
    step = max(1, len(files) / SAMPLED_FILES)
    for k in range(min(len(files), SAMPLED_FILES)):
        with contextlib.suppress(OSError), open_regular(folder / files[int(k * step)].path) as file:
            digest.update(file.read(SAMPLED_BYTES))
    return digest.hexdigest()


def read_content(path: Path) -> bytes:
    """Return the bytes of an image file, or nothing where it cannot be read."""
    try:
        return read_regular(path, limit=MAX_BYTES)
    except OSError:
        return b""


def _build(folder: Path, layout: Layout, store: Path, options: ReadOptions) -> Dataset:
    entries = [(file.path, found.label, found.split) for found in layout.classes for file in found.files]
    splits = [_split(path, split) for path, _, split in entries]
    unsplit = all(split is None for split in splits)
    if not unsplit and None in splits:
        stray = entries[splits.index(None)][0]
        raise DataError(
            f"{folder}: {stray} is in no split while other files are; put it into a folder train, val or test"
        )
    ids = [0 if split is None else SPLITS.index(split) for split in splits]
    order = _order([path for path, *_ in entries], ids)
    paths = [entries[k][0] for k in order]

    def contents() -> Iterator[bytes]:
        return (read_content(folder / path) for path in paths)

    declared = [found.label for found in layout.classes]
    labels = with_convention(name_labels([entries[k][1] for k in order], str(folder), declared), options.convention)
    if not options.rules and options.need_labels and options.convention is not None:
        check_labels_named(labels, (), str(folder))
    listing = Listing(
        name=name_of(folder.name),
        where=name_of(folder),
        labels=labels,
        split_ids=None if unsplit else np.array(ids, dtype=np.int8)[order],
        sources=[name_of(path) for path in paths],
        subjects=_subjects(paths, options.convention),
        cropped=(folder / CROPS_TABLE).is_file(),
    )
    return assemble(listing, contents, store, options)


def _split(path: str, folder: str | None) -> str | None:
    """Return the split of a file: what its name says, else what its split folder says, else None."""
    if match := FER2013_NAME.match(path.rpartition("/")[2]):
        return find_split(match[1])
    return None if folder is None else find_split(folder)


def _subjects(paths: list[str], convention: Convention | None) -> list[str] | None:
    """Return the person that each file's name tells, empty where it tells none; None where no name does."""
    if convention is None or convention.subject is None:
        return None
    matches = [convention.subject.search(path.rpartition("/")[2]) for path in paths]
    return [match[1] if match else "" for match in matches] if any(matches) else None


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
