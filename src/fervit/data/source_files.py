"""Open the files that data sets are read from, and say what is wrong with those that cannot be read."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from fervit.errors import DataError, reason


def cannot_read(path: str | Path, error: OSError) -> DataError:
    """Build the error for a file or folder that the system does not let us read."""
    return DataError(f"{path} cannot be read ({reason(error)})")


def one_line(error: Exception) -> str:
    """Return all that another library's exception says, on one line of at most 200 characters, or its name."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def open_csv(path: Path) -> Iterator[TextIO]:
    """Open a csv file for reading, with or without a byte order mark.

    Raises:
        DataError: it is missing, or what is read inside the block is no csv text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a csv file that can be read ({error})") from error
    except OSError as error:
        raise cannot_read(path, error) from error


def find_columns(path: Path, header: list[str] | None, wanted: tuple[str, ...]) -> list[int]:
    """Return the position of each wanted column; spaces and case in the header do not matter.

    Raises:
        DataError: the file is empty or a column is missing.
    """
    if header is None:
        raise DataError(f"{path} is empty; expected a csv file with the columns {', '.join(wanted)}")
    names = [name.strip().lower() for name in header]
    missing = [name for name in wanted if name.lower() not in names]
    if missing:
        found = ", ".join(name.strip()[:30] for name in header[:12])
        raise DataError(f"{path} lacks the column(s) {', '.join(missing)}; it has {found or 'none'}")
    return [names.index(name.lower()) for name in wanted]
