"""Read the text lists that data sets come with."""

from dataclasses import dataclass
from pathlib import Path

from fervit.data.source_files import cannot_read
from fervit.errors import DataError
from fervit.files import read_regular

MAX_BYTES = 500_000_000


@dataclass(frozen=True)
class Line:
    """A line of a list: its cells, and what it is called in messages."""

    cells: list[str]
    place: str


def read_lines(path: Path, count: int, example: str) -> list[Line]:
    """Return the lines of a text file, each as cells parted by blanks; empty lines are passed over.

    A line may have more cells than expected at its beginning: names with blanks in them are one cell.

    Args:
        path: the file.
        count: the number of cells; a name comes first.
        example: such a line, for messages.

    Raises:
        DataError: it cannot be read, is no text, is empty, or a line has fewer cells.
    """
    lines = []
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        cells = text.rsplit(maxsplit=count - 1)
        if not cells:
            continue
        if len(cells) != count:
            raise DataError(f"{path}, line {number}: expected {count} values as in {example!r}, got {text[:60]!r}")
        lines.append(Line([cells[0].strip(), *cells[1:]], f"line {number} of {path.name}"))
    if not lines:
        raise DataError(f"{path} is empty; expected lines such as {example!r}")
    return lines


def read_text(path: Path) -> str:
    """Return a text file's content.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        return read_regular(path, limit=MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise cannot_read(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8") from error


def number(text: str, what: str, place: str) -> float:
    """Return a number of a list.

    Raises:
        DataError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        raise DataError(f"{place}: expected a number for {what}, got {text[:20]!r}")
    return value
