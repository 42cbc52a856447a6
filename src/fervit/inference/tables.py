"""Result files that grow while a run goes on and outlive its sudden end: JSON lines, CSV, Parquet."""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from fervit.errors import ConfigError, MissingExtra
from fervit.files import replacing
from fervit.inference.results import FrameResult, ImageResult, Skipped
from fervit.inference.rows import columns_of, json_lines, table_rows

if TYPE_CHECKING:
    from pyarrow import Table as Rows

Result = ImageResult | FrameResult
SAVE_EVERY_S = 1.0  # what a `kill -9` may cost of a Parquet file
SAVE_FRACTION = 0.1  # of the run's time at most, however long the file becomes
ROW_GROUP = 8192  # rows; they are all that is in memory
JSON_HEAD = '{"source": '
TO_START_ANEW = "start anew with --overwrite instead of --skip-done, or name another file"
Finished = Mapping[str, int]
"""How many rows each finished source has; a source of an earlier run with another number is done again."""


class Table(Protocol):
    """A file of results; `done` holds the sources that an earlier run left in it, with their number of rows.

    What was left out, and told of in a row, has 0.
    """

    done: Finished

    def write(self, result: Result) -> None:
        """Append a result's rows."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class _LineTable:
    """Whole rows of one result go to the system at once, so that a killed process leaves whole results."""

    def __init__(self, path: Path, lines: Callable[[Result], str], *, head: str = "", done: Finished | None = None):
        self.done, self._lines = done or {}, lines
        self._file: IO[bytes] = path.open("ab" if done is not None else "wb", buffering=0)
        if head and not self._file.tell():
            try:
                self._append(head)
            except BaseException:
                self._file.close()
                raise

    def write(self, result: Result) -> None:
        """Append a result's rows."""
        self._append(self._lines(result))

    def _append(self, text: str) -> None:
        left = memoryview(text.encode())
        while left:  # the system takes what there is room for; the next call reports that the disk is full
            left = left[self._file.write(left) :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonTable(_LineTable):
    """JSON lines, one a face.

    Args:
        path: the file.
        resume: keep what an earlier run wrote and append.
        finished: the sources to keep; without it, all but the last, which may not be whole.

    Raises:
        ConfigError: the earlier file has other lines.
    """

    def __init__(self, path: Path, *, resume: bool = False, finished: Finished | None = None):
        done = _resume(path, lambda file: _json_records(file, path), finished) if resume else None
        super().__init__(path, json_lines, done=done)

    def note(self, result: ImageResult | Skipped) -> None:
        """Append the row of what has no result, but for one that an earlier run wrote."""
        if result.source not in self.done:
            self._append(json_lines(result))


class CsvTable(_LineTable):
    """CSV with a heading, one row a face.

    Args:
        path: the file.
        labels: the model's labels.
        errors: a column `error`, and a row for each image, frame or file without a face.
        resume: keep what an earlier run wrote and append.
        finished: as for `JsonTable`.

    Raises:
        ConfigError: the earlier file has other columns.
    """

    def __init__(
        self,
        path: Path,
        labels: Sequence[str],
        *,
        errors: bool,
        resume: bool = False,
        finished: Finished | None = None,
    ):
        head = _csv_text([list(columns_of(labels, errors=errors))])
        done = _resume(path, lambda file: _csv_records(file, head, path), finished) if resume else None
        super().__init__(
            path,
            lambda result: _csv_text(row.values() for row in table_rows(result, labels, errors=errors)),
            head=head,
            done=done,
        )


class ParquetTable:
    """Parquet, one row a face; the file is whole at every moment and at most a second or so behind.

    Parquet's directory is at the end of a file, so one that grows is written anew every second; the older part is
    copied a row group at a time, and no more often than costs 10 % of the run. The same rows give the same bytes,
    whenever they were written.

    Args:
        path: the file.
        labels: the model's labels.
        errors: as for `CsvTable`.
        resume: keep what an earlier run wrote and append.
        finished: the sources to keep; without it, all but a last video, which may not be whole.

    Raises:
        MissingExtra: pyarrow is not installed.
        ConfigError: the earlier file has other columns, or is no Parquet file.
    """

    def __init__(
        self,
        path: Path,
        labels: Sequence[str],
        *,
        errors: bool,
        resume: bool = False,
        finished: Finished | None = None,
    ):
        if find_spec("pyarrow") is None:
            raise MissingExtra("Parquet", "video")
        import pyarrow

        types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        self._schema = pyarrow.schema([(name, types[kind]) for name, kind in columns_of(labels, errors=errors).items()])
        self._path, self._labels, self._errors = path, tuple(labels), errors
        self._rows: list[dict[str, object]] = []
        self.done: Finished = {}
        self._dropped: set[str] = set()
        if resume and path.exists():
            self.done = self._read_done(finished)
        else:
            path.unlink(missing_ok=True)
        self._cost_s = 0.0
        self._save()

    def write(self, result: Result) -> None:
        """Append a result's rows."""
        self._rows += table_rows(result, self._labels, errors=self._errors)
        if time.monotonic() - self._saved_s >= self._pause_s:
            self._save()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            self._save()

    def _save(self) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        start = time.monotonic()  # after the imports: they are paid once
        left = self._schema.empty_table()
        with replacing(self._path) as part, parquet.ParquetWriter(part, self._schema) as writer:
            for rows in (*self._old(), pyarrow.Table.from_pylist(self._rows, self._schema)):
                left = pyarrow.concat_tables([left, rows]).combine_chunks()
                while len(left) >= ROW_GROUP:  # whole groups: where one ends tells nothing of when it was written
                    writer.write_table(left.slice(0, ROW_GROUP).combine_chunks())
                    left = left.slice(ROW_GROUP).combine_chunks()
            if len(left):
                writer.write_table(left)
        self._rows, self._dropped = [], set()
        self._saved_s = time.monotonic()
        cost_s = self._saved_s - start
        # The cheaper of the last two: pyarrow loads half of itself at its first row.
        self._pause_s = max(SAVE_EVERY_S, min(cost_s, self._cost_s) / SAVE_FRACTION)
        self._cost_s = cost_s

    def _old(self) -> "Iterator[Rows]":
        import pyarrow
        import pyarrow.parquet as parquet

        if not self._path.exists():
            return
        with parquet.ParquetFile(self._path) as file:
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number)
                if self._dropped:
                    kept = [source not in self._dropped for source in rows.column("source").to_pylist()]
                    rows = rows.filter(pyarrow.array(kept, pyarrow.bool_()))
                yield rows

    def _read_done(self, finished: Finished | None) -> Finished:
        """Return the sources to keep, and note the others, which the next save drops."""
        import pyarrow
        import pyarrow.parquet as parquet

        counts: Counter[str] = Counter()
        last = (None, None)
        try:
            with parquet.ParquetFile(self._path) as file:
                if file.schema_arrow.names != self._schema.names:
                    raise _other_columns(self._path)
                for batch in file.iter_batches(ROW_GROUP, columns=["source", "frame"]):
                    sources = batch.column("source").to_pylist()
                    counts.update(sources)
                    last = sources[-1], batch.column("frame")[-1].as_py()
        except pyarrow.ArrowInvalid as error:
            raise ConfigError(f"{self._path} is no Parquet file: {TO_START_ANEW}") from error
        # A photo's rows are written together, those of a video are not.
        done = _kept(counts, None if last[1] is None else last[0], finished)
        self._dropped = counts.keys() - done.keys()
        return done


def _csv_text(rows: Iterable[Iterable[object]]) -> str:
    lines = []
    for row in rows:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow(row)  # it quotes the characters that end its lines
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def _kept(counts: Mapping[str, int], last: str | None, finished: Finished | None) -> dict[str, int]:
    """Return the sources of an earlier run that are whole: by what it recorded, or all but the last."""
    if finished is None:
        return {source: count for source, count in counts.items() if source != last}
    return {source: count for source, count in counts.items() if finished.get(source) == count}


@dataclass(frozen=True)
class _Record:
    """One whole row of a text table.

    Attributes:
        text: its bytes, with the end of the line.
        source: None for a heading.
        skipped: it tells of what was left out, so nothing follows it.
    """

    text: str
    source: str | None
    skipped: bool = False


def _resume(path: Path, records: Callable[[IO[str]], Iterator[_Record]], finished: Finished | None) -> dict[str, int]:
    """Cut off what may not be whole, and return the other sources with their number of rows; 0 of what was left out.

    Args:
        path: the file of an earlier run; it need not exist.
        records: yields each whole row.
        finished: the sources to keep; without it, all but the last.
    """
    if not path.exists():
        return {}
    counts: Counter[str] = Counter()
    skipped: set[str] = set()
    last = None
    for record in _each(path, records):
        if record.source is not None:
            last = record.source
            counts[last] += 1
            skipped |= {last} if record.skipped else set()
    done = _kept(counts, last, finished) | dict.fromkeys(skipped, 0)
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as new:
        for record in _each(path, records):
            if record.source is None or record.source in done:
                new.write(record.text)
    return done


def _each(path: Path, records: Callable[[IO[str]], Iterator[_Record]]) -> Iterator[_Record]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        yield from records(file)


def _json_records(file: IO[str], path: Path) -> Iterator[_Record]:
    for line in file:
        if not line.endswith("\n") and JSON_HEAD.startswith(line[: len(JSON_HEAD)]):
            return  # cut short: the last of a run that was ended
        try:
            row = json.loads(line)
            yield _Record(line, row["source"], "skipped" in row)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{path} has lines that are no results of `predict`: {TO_START_ANEW}") from None


def _csv_records(file: IO[str], head: str, path: Path) -> Iterator[_Record]:
    [names] = csv.reader(io.StringIO(head, newline=""))
    first, text = True, ""
    for line in file:
        text += line
        if not line.endswith("\n") or text.count('"') % 2:  # cut short, or within a name of several lines
            continue
        if first and text != head:
            raise _other_columns(path)
        [row] = csv.reader(io.StringIO(text, newline=""))
        if len(row) != len(names):
            raise _other_columns(path)
        yield _Record(text, None if first else row[0])
        first, text = False, ""
    if first and not head.startswith(text):
        raise _other_columns(path)


def _other_columns(path: Path) -> ConfigError:
    return ConfigError(f"{path} has other columns: {TO_START_ANEW}")
