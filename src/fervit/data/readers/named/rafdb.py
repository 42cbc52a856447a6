"""RAF-DB (Li, Deng & Du 2017): 12,271 train and 3,068 test faces with one of seven basic expressions."""

import re

from fervit.data.dataset import Dataset
from fervit.data.labelling.conventions import RAFDB
from fervit.data.listing import ReadOptions
from fervit.data.readers.named.listed import Listed, Photo, read_listed
from fervit.data.readers.named.lists import read_lines
from fervit.data.readers.named.survey import Survey
from fervit.errors import DataError

LIST_NAMES = ("list_patition_label.txt", "list_partition_label.txt")  # the first is how it is distributed
ALIGNED = re.compile(r"(train|test)_\d+_aligned\.(jpg|png)", re.IGNORECASE)


def find(found: Survey) -> str | None:
    """Return what makes a folder RAF-DB's beyond doubt, in words; None where nothing does."""
    if (path := found.find(*LIST_NAMES)) is not None:
        return path
    numbers = [
        each for each in found.with_images() if each.name in RAFDB.numbers and all(map(ALIGNED.fullmatch, each.images))
    ]
    return f"folders 1 to 7 with files such as {numbers[0].images[0]}" if numbers else None


def read(found: Survey, options: ReadOptions) -> Dataset | None:
    """Read RAF-DB as it is distributed: a list beside a folder of aligned faces.

    - `EmoLabel/list_patition_label.txt`: lines `train_00001.jpg 5`, where 1 to 7 are surprise, fear, disgust, happy,
      sad, angry and neutral, and the name begins with the split;
    - `Image/aligned/train_00001_aligned.jpg`, 100 x 100 px; where there is no such folder, `train_00001.jpg` as listed.

    Folders above these may have any name. There is no validation part. Source: the readme of the data set's basic part.

    Returns:
        None where there is no such list: other forms (folders 1 to 7 under train and test as on Kaggle, a csv, a
        parquet file) are read as class folders and tables are, with RAF-DB's numbers.

    Raises:
        DataError: a line of the list is malformed, or its images are not there.
    """
    path = found.find(*LIST_NAMES)
    if path is None:
        return None
    rows = read_lines(found.root / path, 2, "train_00001.jpg 5")
    stem, _, ending = rows[0].cells[0].rpartition(".")
    aligned = found.folder_of(f"{stem}_aligned.{ending}")
    folder = aligned if aligned is not None else found.folder_of(rows[0].cells[0])
    if folder is None:
        raise DataError(
            f"{found.root / path} lists {rows[0].cells[0]}, but no folder here has it or {stem}_aligned.{ending}"
        )
    photos = []
    for row in rows:
        name, label = row.cells
        stem, _, ending = name.rpartition(".")
        file = name if aligned is None else f"{stem}_aligned.{ending}"
        photos.append(Photo(f"{folder}/{file}".lstrip("/"), label, name.partition("_")[0], line=row.place))
    return read_listed(found.root, Listed(RAFDB, photos), options)
