"""The rows that an earlier run left in its result files: which are whole, and stay when it is gone on with."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fervit.errors import ConfigError
from fervit.files import replacing

JSON_HEAD = '{"source": '
TO_START_ANEW = "start anew with --overwrite instead of --skip-done, or name another file"
Finished = Mapping[str, int]
"""How many rows each finished source has; a source of an earlier run with another number is done again."""
Begun = tuple[str, int]
"""A video that is not finished, and how many of its rows are kept, to go on after them."""


def kept_sources(counts: Mapping[str, int], last: str | None, finished: Finished | None) -> dict[str, int]:
    """Return the sources of an earlier run that are whole: by what it recorded, or all but the last."""
    if finished is None:
        return {source: count for source, count in counts.items() if source != last}
    return {source: count for source, count in counts.items() if finished.get(source) == count}


def has_begun(counts: Mapping[str, int], begun: Begun | None) -> bool:
    """Return whether all rows of a video that was begun are there."""
    return begun is not None and 0 < begun[1] <= counts[begun[0]]


class Keeping:
    """Tells of one row after the other whether it is kept: those of whole sources, and the first ones of one."""

    def __init__(self, whole: Callable[[str], bool], begun: Begun | None):
        self._whole = whole
        self._source = None if begun is None else begun[0]
        self._left = 0 if begun is None else begun[1]

    def __call__(self, source: str) -> bool:
        """Return whether the next row, of this source, is kept."""
        if source != self._source:
            return self._whole(source)
        self._left -= 1
        return self._left >= 0


@dataclass(frozen=True)
class Earlier:
    """What is kept of the rows of an earlier run.

    Attributes:
        done: the number of rows of each whole source; 0 of what was left out.
        begun: the rows of the video to go on in are there.
    """

    done: dict[str, int]
    begun: bool = False


@dataclass(frozen=True)
class Record:
    """One whole row of a text table.

    Attributes:
        text: its bytes, with the end of the line.
        source: None for a heading.
        skipped: it tells of what was left out, so nothing follows it.
    """

    text: str
    source: str | None
    skipped: bool = False


def keep_whole(
    path: Path, records: Callable[[IO[str]], Iterator[Record]], finished: Finished | None, begun: Begun | None
) -> Earlier:
    """Cut off what may not be whole, and return what is kept.

    Args:
        path: the file of an earlier run; it need not exist.
        records: yields each whole row.
        finished: the sources to keep; without it, all but the last.
        begun: the video to go on in; it is kept where it has as many rows.
    """
    if not path.exists():
        return Earlier({})
    counts: Counter[str] = Counter()
    skipped: set[str] = set()
    last = None
    for record in _each(path, records):
        if record.source is not None:
            last = record.source
            counts[last] += 1
            skipped |= {last} if record.skipped else set()
    done = kept_sources(counts, last, finished) | dict.fromkeys(skipped, 0)
    keep = Keeping(done.__contains__, begun if has_begun(counts, begun) else None)
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as new:
        for record in _each(path, records):
            if record.source is None or keep(record.source):
                new.write(record.text)
    return Earlier(done, has_begun(counts, begun))


def _each(path: Path, records: Callable[[IO[str]], Iterator[Record]]) -> Iterator[Record]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        yield from records(file)


def json_records(file: IO[str], path: Path) -> Iterator[Record]:
    """Yield the whole rows of JSON lines.

    Raises:
        ConfigError: there are other lines.
    """
    for line in file:
        if not line.endswith("\n") and JSON_HEAD.startswith(line[: len(JSON_HEAD)]):
            return  # cut short: the last of a run that was ended
        try:
            row = json.loads(line)
            yield Record(line, row["source"], "skipped" in row)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path} has lines that are no results of `predict`: {TO_START_ANEW}") from None


def csv_records(file: IO[str], head: str, path: Path) -> Iterator[Record]:
    """Yield the heading and the whole rows of CSV.

    Raises:
        ConfigError: the heading is not `head`, or a row has other columns.
    """
    [names] = csv.reader(io.StringIO(head, newline=""))
    first, text = True, ""
    for line in file:
        text += line
        if not line.endswith("\n") or text.count('"') % 2:  # cut short, or within a name of several lines
            continue
        if first and text != head:
            raise other_columns(path)
        [row] = csv.reader(io.StringIO(text, newline=""))
        if len(row) != len(names):
            raise other_columns(path)
        yield Record(text, None if first else row[0])
        first, text = False, ""
    if first and not head.startswith(text):
        raise other_columns(path)


def other_columns(path: Path) -> ConfigError:
    """Return the error about a file of other columns."""
    return ConfigError(f"{path} has other columns: {TO_START_ANEW}")
