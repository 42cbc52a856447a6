"""FER2013 as Kaggle's csv files (`fer2013.csv`, `icml_face_data.csv`): emotion, pixels, Usage."""

import csv
import math
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np

from fervit.data.cache import content_hash
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.decode import ImageArrayFile, Shape
from fervit.data.listing import USAGES, find_split
from fervit.data.source_files import find_columns, open_csv
from fervit.errors import DataError, unknown
from fervit.labels import FER7

COLUMNS = ("emotion", "pixels", "usage")
CHUNK_ROWS = 256  # 2.3 MB of text: stays in the processor's cache
MIN_SIDE_PX = 8
SPACE, ZERO = 32, 48

Row = tuple[int, str, str, str]
"""Line number in the file, emotion, pixels, usage."""


def read_csv(path: Path, store: Path) -> Dataset:
    """Read a csv of square grey images, its columns in any order and case, with or without stray spaces.

    Raises:
        DataError: a column is missing, or a row is malformed (the message names the line), or there is none.
    """
    targets: list[int] = []
    split_ids: list[int] = []
    with closing(_chunks(path)) as chunks:
        first = next(chunks, None)
        if first is None:
            raise DataError(f"{path} has a header but no rows")
        side = _side(path, first[0])
        with ImageArrayFile(store / "images.npy", Shape(side, side, 1)) as file:
            chunk: list[Row] | None = first
            while chunk is not None:
                targets += [_target(path, row) for row in chunk]
                split_ids += [_split_id(path, row) for row in chunk]
                file.extend(parse_pixels(path, chunk, side * side).reshape(-1, side, side, 1))
                chunk = next(chunks, None)
            images = file.finish()
    target_array = np.array(targets, dtype=np.int64)
    split_array = np.array(split_ids, dtype=np.int8)
    return Dataset(
        name=path.name,
        labels=FER7,
        images=images,
        targets=target_array,
        split_ids=split_array,
        rows=np.arange(len(targets)),
        data_hash=content_hash(images, target_array, split_array),
    )


def write_csv(dataset: Dataset, path: Path) -> None:
    """Write `emotion,pixels,Usage` as Kaggle's `fer2013.csv` does.

    Raises:
        DataError: the images are not square and grey, or their labels are not FER2013's seven.
    """
    height, width, channels = dataset.images.shape[1:]
    if dataset.labels != FER7 or channels != 1 or height != width:
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


def _chunks(path: Path) -> Generator[list[Row]]:
    with open_csv(path) as file:
        reader = csv.reader(file)
        order = find_columns(path, next(reader, None), COLUMNS)
        chunk: list[Row] = []
        for cells in reader:
            if not cells:
                continue
            if len(cells) <= max(order):
                raise DataError(f"{path}, line {reader.line_num}: {len(cells)} columns, expected {max(order) + 1}")
            emotion, pixels, usage = (cells[column] for column in order)
            chunk.append((reader.line_num, emotion, pixels.strip(), usage))
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


def _target(path: Path, row: Row) -> int:
    text = row[1].strip()
    if not (text.isascii() and text.isdigit() and int(text[:9]) < len(FER7)):
        raise DataError(f"{path}, line {row[0]}: emotion is {text[:20]!r}, expected 0 to 6 ({', '.join(FER7)})")
    return int(text)


def _split_id(path: Path, row: Row) -> int:
    split = find_split(row[3])
    if split is None:
        raise DataError(f"{path}, line {row[0]}: {unknown('usage', row[3].strip()[:30], USAGES.values())}")
    return SPLITS.index(split)
