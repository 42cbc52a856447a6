"""Which photos there are to cut, and under which names their crops are written."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, TRAIN
from fervit.data.join import LABEL_COLUMNS, NAME_COLUMNS, SPLIT_COLUMNS, read_table
from fervit.data.readers.class_folders import scan
from fervit.data.source_files import cannot_read
from fervit.data.splits import find_split
from fervit.errors import DataError

FOLDERS = {TRAIN: "train", PUBLIC_TEST: "val", PRIVATE_TEST: "test"}
"""Split to the folder that its crops go to."""
LIST_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Photo:
    """A photo to cut.

    Attributes:
        source: its name, as the folder or the list has it.
        path: the file.
        crop: where its crop goes, below the folder of the crops, with `/`.
    """

    source: str
    path: Path
    crop: str


def find_photos(source: Path) -> list[Photo]:
    """Return the photos of a folder, or of a list: a csv with a column of file names, or a text with one a line.

    The crops keep the tree of the photos. Those of a list with a column of labels go to a folder for each label, below
    one for each split where there is such a column. Two photos that differ in their ending only keep it in their names.

    Raises:
        DataError: there is no such folder or file, it cannot be read, or it names no photos.
    """
    if source.is_dir():
        try:
            found = sorted(file.path for folder in scan(source).walk() for file in folder.files)
        except OSError as error:
            raise cannot_read(error.filename or source, error) from error
        if not found:
            raise DataError(f"no images in {source}; expected a folder of photos, in folders by label or not")
        return _named([(path, source / path, path) for path in found])
    if not source.is_file():
        raise DataError(f"no photos at {source}: expected a folder, or a list of files (.csv, .txt)")
    if source.suffix.lower() not in LIST_SUFFIXES:
        raise DataError(f"{source} is no list of photos; expected a folder, or a file that ends in .csv or .txt")
    rows = _lines(source) if source.suffix.lower() == ".txt" else read_table(source)
    column = next((name for name in NAME_COLUMNS if name in rows[0]), None)
    if column is None:
        raise DataError(
            f"{source} names no photos: expected a column such as filename or path, it has {', '.join(rows[0])}"
        )
    label, split = (next((name for name in names if name in rows[0]), None) for names in (LABEL_COLUMNS, SPLIT_COLUMNS))
    listed = []
    for number, row in enumerate(rows, start=1):
        name = row[column].replace("\\", "/")
        tree = _tree(row, label, split, f"{source}, row {number}")
        place = PurePosixPath(name)
        if tree is None and (place.is_absolute() or ".." in place.parts or not name):
            raise DataError(
                f"{source}, row {number}: {name!r} lies outside of the list's folder, so that its crop has no place; "
                "add a column label, or move the list above the photos"
            )
        listed.append((name, source.parent / name, name if tree is None else f"{tree}/{place.name}"))
    return _named(listed)


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise cannot_read(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8; expected the path of a photo in each line") from error
    if not any(lines):
        raise DataError(f"{path} is empty; expected the path of a photo in each line")
    return [{"path": line} for line in lines if line]


def _tree(row: Mapping[str, str], label: str | None, split: str | None, where: str) -> str | None:
    """Return the folder of a listed photo's crop, or None where the list has no labels.

    Raises:
        DataError: a label cannot be the name of a folder, or a split is unknown.
    """
    if label is None:
        return None
    name = row[label]
    if not name or PurePosixPath(name).name != name or re.search(r'[\\/:*?"<>|\x00-\x1f]', name) or name[0] in "._":
        raise DataError(f"{where}: the label {name!r} cannot be the name of a folder; rename it in the list")
    if split is None or not row[split]:
        return name
    found = find_split(row[split])
    if found is None:
        raise DataError(f"{where}: {row[split]!r} is no split; expected train, val or test")
    return f"{FOLDERS[found]}/{name}"


def _named(listed: Sequence[tuple[str, Path, str]]) -> list[Photo]:
    """Return photos with different names for their crops, each once."""
    once = {source: (path, place) for source, path, place in listed}
    stems = Counter(str(PurePosixPath(place).with_suffix("")).lower() for _, place in once.values())
    taken: Counter[str] = Counter()
    photos = []
    for source, (path, place) in once.items():
        stem = str(PurePosixPath(place).with_suffix(""))
        name = stem if stems[stem.lower()] == 1 else place
        taken[name.lower()] += 1
        if taken[name.lower()] > 1:  # of the same name in two folders of a list
            name = f"{name}-{taken[name.lower()]}"
        photos.append(Photo(source, path, f"{name}.png"))
    return photos
