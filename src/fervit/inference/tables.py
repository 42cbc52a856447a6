"""Result files that grow while a run goes on and outlive its sudden end: JSON lines, CSV, Parquet."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from fervit.errors import ConfigError, MissingExtra
from fervit.files import replacing
from fervit.inference.results import FrameResult, ImageResult, Skipped
from fervit.inference.rows import columns_of, json_lines, table_rows

if TYPE_CHECKING:
    from pyarrow import RecordBatch

Result = ImageResult | FrameResult
SAVE_EVERY_S = 1.0  # what a `kill -9` may cost of a Parquet file
SAVE_FRACTION = 0.1  # of the run's time at most, however long the file becomes
ROW_GROUP = 8192  # rows; they are all that is in memory


class Table(Protocol):
    """A file of results; `done` holds the sources that an earlier run left in it."""

    done: set[str]

    def write(self, result: Result) -> None:
        """Append a result's rows."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class _LineTable:
    """Whole rows of one result go to the system at once, so that a killed process leaves whole results."""

    def __init__(self, path: Path, lines: Callable[[Result], str], *, head: str = "", done: set[str] | None = None):
        self.done, self._lines = done or set(), lines
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

    Raises:
        ConfigError: the earlier file has other lines.
    """

    def __init__(self, path: Path, *, resume: bool = False):
        done = _resume(path, lambda file: _json_records(file, path)) if resume else None
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
        errors: there may be images without rows of their own: a column `error`, and a row each.
        resume: keep what an earlier run wrote and append.

    Raises:
        ConfigError: the earlier file has other columns.
    """

    def __init__(self, path: Path, labels: Sequence[str], *, errors: bool, resume: bool = False):
        names = list(columns_of(labels, errors=errors))
        head = _csv_text([names])
        done = _resume(path, lambda file: _csv_records(file, names, path)) if resume else None
        super().__init__(
            path,
            lambda result: _csv_text(row.values() for row in table_rows(result, labels, errors=errors)),
            head=head,
            done=done,
        )


class ParquetTable:
    """Parquet, one row a face; the file is whole at every moment and at most a second or so behind.

    Parquet's directory is at the end of a file, so one that grows is written anew every second; the older part is
    copied a row group at a time, and no more often than costs 10 % of the run.

    Args:
        path: the file.
        labels: the model's labels.
        errors: as for `CsvTable`.
        resume: keep what an earlier run wrote and append.

    Raises:
        MissingExtra: pyarrow is not installed.
        ConfigError: the earlier file has other columns, or is no Parquet file.
    """

    def __init__(self, path: Path, labels: Sequence[str], *, errors: bool, resume: bool = False):
        if find_spec("pyarrow") is None:
            raise MissingExtra("Parquet", "video")
        import pyarrow

        types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        self._schema = pyarrow.schema([(name, types[kind]) for name, kind in columns_of(labels, errors=errors).items()])
        self._path, self._labels, self._errors = path, tuple(labels), errors
        self._rows: list[dict[str, object]] = []
        self.done: set[str] = set()
        if resume and path.exists():
            self.done = self._read_done()
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
        with replacing(self._path) as part, parquet.ParquetWriter(part, self._schema) as writer:
            for batch in self._old():
                writer.write_batch(batch)
            if self._rows:
                writer.write_table(pyarrow.Table.from_pylist(self._rows, self._schema))
        self._rows = []
        self._saved_s = time.monotonic()
        cost_s = self._saved_s - start
        # The cheaper of the last two: pyarrow loads half of itself at its first row.
        self._pause_s = max(SAVE_EVERY_S, min(cost_s, self._cost_s) / SAVE_FRACTION)
        self._cost_s = cost_s

    def _old(self) -> "Iterator[RecordBatch]":
        import pyarrow.parquet as parquet

        if self._path.exists():
            with parquet.ParquetFile(self._path) as file:
                yield from file.iter_batches(ROW_GROUP)

    def _read_done(self) -> set[str]:
        import pyarrow
        import pyarrow.parquet as parquet

        try:
            with parquet.ParquetFile(self._path) as file:
                if file.schema_arrow.names != self._schema.names:
                    raise _other_columns(self._path)
                return {s for batch in file.iter_batches(ROW_GROUP, columns=["source"]) for s in batch[0].to_pylist()}
        except pyarrow.ArrowInvalid as error:
            raise ConfigError(f"{self._path} is no Parquet file: leave --skip-done out to start anew") from error


def _csv_text(rows: Iterable[Iterable[object]]) -> str:
    lines = []
    for row in rows:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow(row)  # it quotes the characters that end its lines
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def _resume(path: Path, records: Callable[[IO[str]], Iterator[tuple[str | None, str]]]) -> set[str]:
    """Cut off the last source, which may not be whole, and return the others.

    Args:
        path: the file of an earlier run; it need not exist.
        records: yields `(source, text)` of each whole record, with None as the source of a heading.
    """
    if not path.exists():
        return set()
    done: set[str] = set()
    last, held = None, ""
    with (
        replacing(path) as part,
        path.open(encoding="utf-8", errors="replace", newline="") as old,
        part.open("w", encoding="utf-8", newline="") as new,
    ):
        for source, text in records(old):
            if source != last:
                new.write(held)
                done |= {last} if last is not None else set()
                last, held = source, ""
            held += text
        if last is None:
            new.write(held)
    return done


def _json_records(file: IO[str], path: Path) -> Iterator[tuple[str | None, str]]:
    for line in file:
        try:
            yield json.loads(line)["source"], line
        except (ValueError, KeyError, TypeError):
            if line.endswith("\n"):  # else cut short: the last of a run that was ended
                raise ConfigError(
                    f"{path} has lines that are no results of `predict`: leave --skip-done out to start anew, or name "
                    "another file"
                ) from None


def _csv_records(file: IO[str], names: list[str], path: Path) -> Iterator[tuple[str | None, str]]:
    for index, row in enumerate(csv.reader(file)):
        if index == 0 and row != names:
            raise _other_columns(path)
        if len(row) == len(names):
            yield row[0] if index else None, _csv_text([row])


def _other_columns(path: Path) -> ConfigError:
    return ConfigError(f"{path} has other columns: leave --skip-done out to start anew, or name another file")
