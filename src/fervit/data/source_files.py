"""Open the files that data sets are read from, and say what is wrong with those that cannot be read."""

import codecs
import csv
import io
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fervit.errors import DataError, reason
from fervit.files import kind_of, open_regular

if TYPE_CHECKING:
    from _csv import Reader

DELIMITERS = ",;\t|"
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HEADER_CHARACTERS = 65_536  # looked through for the delimiter


def cannot_read(path: str | Path, error: OSError) -> DataError:
    """Build the error for a file or folder that the system does not let us read."""
    return DataError(f"{path} cannot be read ({reason(error)})")


def special_file(path: Path) -> str | None:
    """Return what a path is, in words, where it is neither a regular file nor a folder; else None."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else kind_of(mode)


def one_line(error: Exception) -> str:
    """Return all that another library's exception says, on one line of at most 200 characters, or its name."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def open_csv(path: Path) -> "Iterator[Reader]":
    """Open a csv file and yield its reader, whose first row is the header.

    UTF-8 and UTF-16, with or without a byte order mark; the delimiter is the one of comma, semicolon, tab and bar that
    the header has most of, or what a first line `sep=;` says, as spreadsheets write it.

    Raises:
        DataError: it is missing or no regular file, or what is read inside the block is no csv text.
    """
    try:
        with open_regular(path) as raw:
            encoding = _encoding(raw.peek(64)[:64])
            with io.TextIOWrapper(raw, encoding=encoding, newline="") as file:
                delimiter, lines = _delimiter(file)
                reader = csv.reader(file, delimiter=delimiter)
                for _ in range(lines):
                    next(reader, None)
                yield reader
    except (csv.Error, UnicodeError) as error:
        raise DataError(
            f"{path} is not a csv file that can be read ({reason(error)}); expected text in UTF-8 or UTF-16"
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error


def find_columns(path: Path, header: list[str] | None, wanted: tuple[str, ...]) -> list[int]:
    """Return the position of each wanted column; spaces and case in the header do not matter.

    Raises:
        DataError: the file is empty or a column is missing.
    """
    if header is None:
        raise DataError(f"{path} is empty; expected a csv file with the columns {', '.join(wanted)}")
    places = [find_column(header, (name,)) for name in wanted]
    missing = [name for name, place in zip(wanted, places, strict=True) if place is None]
    if missing:
        found = ", ".join(name.strip()[:30] for name in header[:12])
        raise DataError(f"{path} lacks the column(s) {', '.join(missing)}; it has {found or 'none'}")
    return [place for place in places if place is not None]


def find_column(header: Sequence[str], choices: Sequence[str]) -> int | None:
    """Return the position of the first of several names that the header has, or None."""
    names = [name.strip().lower() for name in header]
    return next((names.index(choice.lower()) for choice in choices if choice.lower() in names), None)


def _encoding(start: bytes) -> str:
    """Return the encoding of a text, from its first bytes."""
    for mark, encoding in BOMS:
        if start.startswith(mark):
            return encoding
    if len(start) >= 4 and start.count(0) >= len(start) // 3:  # Latin letters in UTF-16 have a zero byte each
        return "utf-16-le" if start[1] == 0 else "utf-16-be"
    return "utf-8-sig"


def _delimiter(file: TextIO) -> tuple[str, int]:
    """Return the delimiter, and how many lines stand before the header; the file is at its start again."""
    first = file.readline(HEADER_CHARACTERS).rstrip("\r\n")
    file.seek(0)
    if first.lower().startswith("sep=") and len(first) == 5:
        return first[-1], 1
    plain = "".join(first.split('"')[::2])  # without what is quoted
    return max(DELIMITERS, key=plain.count), 0
