"""FER2013 as Kaggle's csv files (`fer2013.csv`, `icml_face_data.csv`) have it, and csv files like these."""

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fervit.data.audit import thumbnails_of
from fervit.data.cache import content_hash
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.decode import ImageArrayFile, Shape
from fervit.data.labelling.conventions import FER2013
from fervit.data.labelling.values import LABEL_COLUMNS, NAME_COLUMNS, check_labels_named, column_labels
from fervit.data.listing import Listing, ReadOptions, groups_of, idle_grouping, index_labels, label_names
from fervit.data.source_files import find_column, find_columns, open_csv
from fervit.data.splits import SUBJECT_COLUMNS, USAGE_COLUMNS, USAGES, split_ids_of
from fervit.data.splitting.draw import Material, make_splits
from fervit.errors import DataError
from fervit.files import name_of
from fervit.labels import FER7, canonical

if TYPE_CHECKING:
    from _csv import Reader

EMOTION_COLUMNS = ("emotion", *NAME_COLUMNS, *LABEL_COLUMNS)
CHUNK_ROWS = 256  # 2.3 MB of text: stays in the processor's cache
MIN_SIDE_PX = 8
SPACE, ZERO = 32, 48

Row = tuple[int, str, str, str, str]
"""Line number in the file, emotion, pixels, usage, person or group."""


@dataclass(frozen=True)
class Columns:
    """Where a csv file has what: the label column's name, and the positions; usage and group may be missing."""

    label: str
    emotion: int
    pixels: int
    usage: int | None
    group: int | None


def read_csv(path: Path, store: Path, options: ReadOptions) -> Dataset:
    """Read a csv of square grey images, its columns in any order and case, with or without stray spaces.

    Emotions are FER2013's numbers, also as `2.0`, or names. Without a usage, see `make_splits`. A column `subject` or
    `person` says who is on the image.

    Args:
        path: the file.
        store: where the images go.
        options: numbers beyond FER2013's are refused unless there are rules, which may name them.

    Raises:
        DataError: a column is missing, or a row is malformed (the message names the line), or there is none.
    """
    lines: list[int] = []
    emotions: list[str] = []
    usages: list[str] = []
    groups: list[str] = []
    with open_csv(path) as reader:
        columns = _columns(path, next(reader, None), options)
        with closing(_chunks(path, reader, columns)) as chunks:
            first = next(chunks, None)
            if first is None:
                raise DataError(f"{path} has a header but no rows")
            side = _side(path, first[0])
            with ImageArrayFile(store / "images.npy", Shape(side, side, 1)) as file:
                chunk: list[Row] | None = first
                while chunk is not None:
                    lines += [row[0] for row in chunk]
                    emotions += [row[1] for row in chunk]
                    usages += [row[3] for row in chunk]
                    groups += [row[4] for row in chunk]
                    file.extend(parse_pixels(path, chunk, side * side).reshape(-1, side, side, 1))
                    chunk = next(chunks, None)
                images = file.finish()

    def place(position: int) -> str:
        return f"line {lines[position]}"

    # Only a column of FER2013's own name counts as FER2013 does.
    convention = options.convention or (FER2013 if columns.label.lower() == "emotion" else None)
    source = column_labels(emotions, str(path), columns.label, place=place, convention=convention)
    if not options.rules and options.need_labels:
        check_labels_named(source, (), str(path))
    given = None if columns.usage is None else split_ids_of(usages, str(path), place)
    by_column = options.grouping is not None and options.grouping.column is not None
    listing = Listing(
        name=name_of(path.name),
        where=str(path),
        labels=source,
        split_ids=given,
        sources=[f"line {line}" for line in lines],
        subjects=None if by_column or columns.group is None else groups,
        groups=groups if by_column and columns.group is not None else None,
    )
    return _dataset(listing, images, options)


def _dataset(listing: Listing, images: np.ndarray, options: ReadOptions) -> Dataset:
    labels, targets = index_labels(listing.labels)

    def contents() -> Iterator[bytes]:
        return (image.tobytes() for image in images)

    rows = np.arange(len(targets))
    split_ids, notes = listing.split_ids, list[str]()
    if options.need_labels or split_ids is None or options.fractions:
        groups = groups_of(listing, rows, options)
        material = Material(label_names(listing), targets, contents, lambda: thumbnails_of(images), *groups)
        split_ids, notes = make_splits(split_ids, material, options.fractions)
    notes += idle_grouping(options, notes)
    return Dataset(
        name=listing.name,
        labels=labels,
        images=images,
        targets=targets,
        split_ids=split_ids,
        rows=rows,
        data_hash=content_hash(images, targets, split_ids),
        notes=(*listing.labels.notes, *notes),
        codes=listing.labels.codes,
        subjects=listing.subjects,
        drawn_splits=listing.split_ids is None and options.fractions is None,
    )


def write_csv(dataset: Dataset, path: Path) -> None:
    """Write `emotion,pixels,Usage` as Kaggle's `fer2013.csv` does.

    Raises:
        DataError: the images are not square and grey, or their labels are not FER2013's seven.
    """
    height, width, channels = dataset.images.shape[1:]
    if tuple(canonical(name) for name in dataset.labels) != FER7 or channels != 1 or height != width:
        raise DataError(
            f"{dataset.name} has {height} x {width} x {channels} images with {len(dataset.labels)} labels; "
            "a csv holds square grey images with FER2013's seven: write a .parquet file or a folder"
        )
    text = [str(value) for value in range(256)]
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("emotion,pixels,Usage\n")
        for image, target, split in zip(dataset.images, dataset.targets, dataset.split_ids, strict=True):
            pixels = " ".join([text[value] for value in image.ravel().tolist()])
            file.write(f"{target},{pixels},{USAGES[SPLITS[split]]}\n")


def parse_pixels(path: Path, rows: list[Row], count: int) -> np.ndarray:
    """Return `(len(rows), count)` uint8 from texts of `count` numbers 0..255 parted by single spaces.

    Raises:
        DataError: a row has another number of pixels, or one that is no number 0..255.
    """
    # All texts are parsed at once: that takes about 10 ns a pixel, int() takes 100.
    text = " ".join([row[2] for row in rows]) + " "
    buffer = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)
    ends = np.flatnonzero(buffer == SPACE)
    lengths = np.diff(ends, prepend=-1) - 1
    digits = buffer - np.uint8(ZERO)  # unsigned, so that anything but a digit wraps to more than 9
    well_formed = (
        len(ends) == count * len(rows)
        and int(lengths.min()) >= 1
        and int(lengths.max()) <= 3
        and int(np.count_nonzero(digits > 9)) == len(ends)  # the spaces are all that is no digit
        and all(row[2].count(" ") == count - 1 for row in rows)
    )
    if well_formed:
        values = digits[ends - 1].astype(np.int16)
        for power in (1, 2):
            longer = np.flatnonzero(lengths > power)
            values[longer] += 10**power * digits[ends[longer] - 1 - power].astype(np.int16)
        if int(values.max()) <= 255:
            return values.astype(np.uint8).reshape(len(rows), count)
    return np.stack([_parse_row(path, row, count) for row in rows])


def _parse_row(path: Path, row: Row, count: int) -> np.ndarray:
    words = row[2].split()
    if len(words) != count:
        side = math.isqrt(count)
        raise DataError(f"{path}, line {row[0]}: {len(words)} pixels, expected {count} ({side} x {side})")
    for position, word in enumerate(words, start=1):
        if not (word.isascii() and word.isdigit() and int(word[:9]) <= 255):
            raise DataError(f"{path}, line {row[0]}: pixel {position} is {word[:20]!r}, expected a number 0 to 255")
    return np.array([int(word) for word in words], dtype=np.uint8)


def _columns(path: Path, header: list[str] | None, options: ReadOptions) -> Columns:
    """Find the columns of a csv file.

    Raises:
        DataError: the emotion or the pixels are missing.
    """
    emotion = find_column(header or (), EMOTION_COLUMNS)
    label = "emotion" if header is None or emotion is None else header[emotion].strip()
    emotion, pixels = find_columns(path, header, (label, "pixels"))
    named: tuple[str, ...] = SUBJECT_COLUMNS
    if options.grouping is not None:
        named = () if options.grouping.column is None else (options.grouping.column,)
    return Columns(label, emotion, pixels, find_column(header or (), USAGE_COLUMNS), find_column(header or (), named))


def _chunks(path: Path, reader: "Reader", columns: Columns) -> Generator[list[Row]]:
    last = max(columns.emotion, columns.pixels, columns.usage or 0, columns.group or 0)
    chunk: list[Row] = []
    for cells in reader:
        if not cells:
            continue
        line = reader.line_num
        if len(cells) <= last:
            raise DataError(f"{path}, line {line}: {len(cells)} columns, expected {last + 1}")
        usage = "" if columns.usage is None else cells[columns.usage]
        group = "" if columns.group is None else cells[columns.group].strip()
        chunk.append((line, cells[columns.emotion], cells[columns.pixels].strip(), usage, group))
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _side(path: Path, row: Row) -> int:
    count = len(row[2].split())
    side = math.isqrt(count)
    if side < MIN_SIDE_PX or side * side != count:
        raise DataError(f"{path}, line {row[0]}: {count} pixels, expected a square number such as 2304 (48 x 48)")
    return side
