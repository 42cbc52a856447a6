"""AffectNet (Mollahosseini, Hasani & Mahoor 2017): faces from the web with one of eight expressions."""

from itertools import chain
from pathlib import Path

import numpy as np

from fervit.data.dataset import Dataset
from fervit.data.labelling.conventions import AFFECTNET
from fervit.data.listing import ReadOptions
from fervit.data.readers.class_folders import SUFFIXES
from fervit.data.readers.named.listed import Listed, Photo, read_listed
from fervit.data.readers.named.lists import number
from fervit.data.readers.named.survey import Below, Survey, survey
from fervit.data.source_files import cannot_read, find_column, find_columns, open_csv
from fervit.data.splits import find_split
from fervit.errors import DataError, reason

LISTS = ("training.csv", "validation.csv")
COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
"""The order of the lists' columns as distributed; one of the lists has no header."""
BOX = COLUMNS[1:5]
LABEL_FILE = "_exp.npy"
MAX_LABEL_BYTES = 1_000


def find(found: Survey) -> str | None:
    """Return what makes a folder AffectNet's beyond doubt, in words; None where nothing does."""
    if (path := next(iter(_lists(found)), None)) is not None:
        return f"{path} with the column {COLUMNS[0]}"
    annotated = _annotated(found)
    return f"{annotated[0].path} with files such as 0{LABEL_FILE}" if annotated else None


def read(found: Survey, options: ReadOptions) -> Dataset | None:
    """Read AffectNet in either of the forms that it is distributed in.

    - Lists: `training.csv` and `validation.csv` with the columns `subDirectory_filePath` (`689/abc.jpg`), `face_x`,
      `face_y`, `face_width`, `face_height` (px), `facial_landmarks`, `expression`, `valence` and `arousal`, and a
      folder, such as `Manually_Annotated_Images`, below which the paths are. Faces are cut out by their boxes.
    - Annotations: `train_set/images/0.jpg`, already cropped, with `train_set/annotations/0_exp.npy`, and `val_set`.

    Expressions are 0 to 7: neutral, happy, sad, surprise, fear, disgust, angry, contempt; 8 (none), 9 (uncertain) and
    10 (no face) are left out and counted. Source: the paper, section 3.2, and the readme files of both distributions.

    Returns:
        None where there is neither: folders 0 to 7, and tables, are read as class folders and tables are, with these
        numbers.

    Raises:
        DataError: a list or an annotation is malformed, or the images are not there.
    """
    if lists := _lists(found):
        return read_listed(found.root, Listed(AFFECTNET, _listed(found, lists)), options)
    if annotated := _annotated(found):
        photos = [photo for folder in annotated for photo in _photos(found.root, folder)]
        return read_listed(found.root, Listed(AFFECTNET, photos), options)
    return None


def read_file(path: Path, options: ReadOptions) -> Dataset | None:
    """Read one list, whatever its name is; None where a file is no list of AffectNet's.

    Raises:
        DataError: see `read`.
    """
    if path.suffix.lower() != ".csv" or not _is_list(path):
        return None
    found = survey(path.parent)
    return read_listed(found.root, Listed(AFFECTNET, _listed(found, [path.name])), options)


def _lists(found: Survey) -> list[str]:
    """Return the paths of the lists."""
    paths = [folder.at(name) for folder in found.folders for name in folder.files if name.lower() in LISTS]
    return [path for path in paths if _is_list(found.root / path)]


def _is_list(path: Path) -> bool:
    try:
        with open_csv(path) as reader:
            header = next(reader, [])
    except DataError:
        return False
    return find_column(header, COLUMNS[:1]) is not None or _without_header(header)


def _without_header(first: list[str]) -> bool:
    """Return whether the first row of a list is no header but an image."""
    return len(first) == len(COLUMNS) and first[0].lower().endswith(SUFFIXES) and first[6].strip().isdecimal()


def _listed(found: Survey, paths: list[str]) -> list[Photo]:
    photos = []
    for path in paths:
        file = found.root / path
        split = find_split(file.stem)
        rows = _rows(file)
        folder = found.folder_of(*(row[0] for row in rows[:3]))
        if folder is None:
            raise DataError(f"{file} lists {rows[0][0]}, but no folder here has it: put the images beside the list")
        photos += [
            Photo(f"{folder}/{name}".lstrip("/"), label, split, box=box, line=f"{place} of {file.name}")
            for name, label, box, place in rows
        ]
    return photos


def _rows(path: Path) -> list[tuple[str, str, tuple[float, float, float, float] | None, str]]:
    """Return path, label, box and place of each image of a list.

    Raises:
        DataError: it has no rows, or one of them is malformed.
    """
    rows = []
    with open_csv(path) as reader:
        header = next(reader, None)
        pending = [] if header is None or not _without_header(header) else [header]
        names = list(COLUMNS) if pending else header
        name, label = find_columns(path, names, (COLUMNS[0], "expression"))
        box = [find_column(names or (), (column,)) for column in BOX]
        for cells in chain(pending, reader):
            place = f"line {reader.line_num}"
            if not cells:
                continue
            if len(cells) <= max(name, label, *(column or 0 for column in box)):
                raise DataError(f"{path}, {place}: {len(cells)} columns, expected {len(names or ())}")
            values = None if None in box else [cells[column] for column in box if column is not None]
            rows.append((cells[name], cells[label].strip(), _box(values, f"{path}, {place}"), place))
    if not rows:
        raise DataError(f"{path} has no rows")
    return rows


def _box(values: list[str] | None, place: str) -> tuple[float, float, float, float] | None:
    """Return left, top, right, bottom; None where the list has no boxes, or `NULL` as for images without a face."""
    if values is None or not all(value.strip().lower() not in ("", "null", "nan") for value in values):
        return None
    left, top, width, height = (number(value, column, place) for value, column in zip(values, BOX, strict=True))
    return left, top, left + width, top + height


def _annotated(found: Survey) -> list[Below]:
    """Return the folders that have annotations beside a folder of images."""
    images = {folder.path for folder in found.with_images() if folder.name.lower() == "images"}
    return [
        folder
        for folder in found.folders
        if folder.name.lower() == "annotations"
        and any(name.endswith(LABEL_FILE) for name in folder.files)
        and _beside(folder, "images") in images
    ]


def _beside(folder: Below, name: str) -> str:
    return f"{folder.path.rpartition('/')[0]}/{name}".lstrip("/")


def _photos(root: Path, folder: Below) -> list[Photo]:
    images = _beside(folder, "images")
    split = next((name for name in reversed(folder.path.split("/")) if find_split(name)), None)
    try:
        endings = {path.stem: path.suffix for path in (root / images).iterdir() if path.name.lower().endswith(SUFFIXES)}
        files = sorted((root / folder.path).glob(f"*{LABEL_FILE}"))
    except OSError as error:
        raise cannot_read(error.filename or root, error) from error
    photos = []
    for file in files:
        stem = file.name.removesuffix(LABEL_FILE)
        if stem not in endings:
            endings[stem] = ".jpg"  # it is missing, and will be reported with those that cannot be read
        photos.append(Photo(f"{images}/{stem}{endings[stem]}", _label(file), split, line=folder.at(file.name)))
    return photos


def _label(path: Path) -> str:
    """Return the number that an annotation holds, as text.

    Raises:
        DataError: it holds none.
    """
    try:
        with path.open("rb") as file:
            if len(file.read(MAX_LABEL_BYTES + 1)) > MAX_LABEL_BYTES:
                raise ValueError("it is too large")
        return str(int(str(np.load(path, allow_pickle=False).item())))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no annotation of an expression, one number ({reason(error)})") from error
