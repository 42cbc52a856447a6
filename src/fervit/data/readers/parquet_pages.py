"""How large the pages of a parquet file become, from their headers, before anything is unpacked.

A page is what a reader unpacks at once; its header is a struct in Thrift's compact protocol (parquet.thrift,
https://github.com/apache/parquet-format), which pyarrow does not show. A few kilobytes can become gigabytes.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fervit.errors import DataError

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

MAX_PAGE = 400_000_000  # bytes; writers aim at 1 MB
MAX_NESTED = 10
DICTIONARY = 2  # PageType.DICTIONARY_PAGE
# Thrift's types in the compact protocol.
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
PAGE_TYPE, UNPACKED, PACKED = 1, 2, 3  # fields of a page's header


def check_pages(path: Path, metadata: "FileMetaData", column: str) -> int:
    """Refuse a file with a page of a column that is larger than memory allows for; return its largest dictionary.

    Args:
        path: the file.
        metadata: of the file.
        column: its name; also the columns within it count.

    Returns:
        Bytes of the largest dictionary: each row of a batch may be as large, however small the file is.

    Raises:
        DataError: a page becomes larger than `MAX_PAGE`, or the headers cannot be read.
    """
    largest = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            for kind, size in pages(content, metadata, column):
                if size > MAX_PAGE:
                    raise DataError(
                        f"{path}: a page of the column {column} becomes {size / 1e6:,.0f} MB, expected at most "
                        f"{MAX_PAGE / 1e6:,.0f} MB: images are smaller, and writers can make smaller pages"
                    )
                largest = max(largest, size if kind == DICTIONARY else 0)
        except (IndexError, ValueError) as error:
            raise DataError(f"{path} is not a parquet file that can be read (its pages are damaged)") from error
    return largest


def pages(content: mmap.mmap, metadata: "FileMetaData", column: str) -> Iterator[tuple[int, int]]:
    """Yield the type and the unpacked size in bytes of each page of a column."""
    for group in range(metadata.num_row_groups):
        for k in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(k)
            if chunk.path_in_schema.split(".")[0] != column:
                continue
            starts = [at for at in (chunk.dictionary_page_offset, chunk.data_page_offset) if at]
            at = min(starts)
            end = at + chunk.total_compressed_size
            while at < end:
                header, at = _struct(content, at)
                yield header.get(PAGE_TYPE, 0), header[UNPACKED] if UNPACKED in header else _damaged()
                at += max(0, header.get(PACKED, 0))


def _struct(content: mmap.mmap, at: int, depth: int = 0) -> tuple[dict[int, int], int]:
    """Read a struct: its whole numbers by field, and the place behind it; all else is skipped."""
    values: dict[int, int] = {}
    field = 0
    while True:
        head = content[at]
        at += 1
        if not head:
            return values, at
        kind, step = head & 15, head >> 4
        if step:
            field += step
        else:
            field, at = _number(content, at)
        if kind in (I16, I32, I64):
            values[field], at = _number(content, at)
        else:
            at = _skip(content, at, kind, depth)


def _skip(content: mmap.mmap, at: int, kind: int, depth: int) -> int:
    """Return the place behind a value of a type."""
    if depth > MAX_NESTED:
        _damaged()
    if kind in (TRUE, FALSE):
        return at
    if kind in (I16, I32, I64):
        return _number(content, at)[1]
    if kind == BINARY:
        size, at = _varint(content, at)
        return at + size
    if kind in (LIST, SET):
        head = content[at]
        size, at = (head >> 4, at + 1) if head >> 4 < 15 else _varint(content, at + 1)
        for _ in range(size):
            at = at + 1 if head & 15 in (TRUE, FALSE) else _skip(content, at, head & 15, depth + 1)
        return at
    if kind == STRUCT:
        return _struct(content, at, depth + 1)[1]
    return at + {BYTE: 1, DOUBLE: 8}[kind] if kind in (BYTE, DOUBLE) else _damaged()


def _number(content: mmap.mmap, at: int) -> tuple[int, int]:
    """Return a signed whole number (zigzag) and the place behind it."""
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return _damaged(), at


def _damaged() -> int:
    raise ValueError("no header of a page")
