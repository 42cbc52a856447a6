"""Result files that grow while a run goes on and outlive its sudden end: JSON lines, CSV, Parquet."""

import csv
import io
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from fervit.errors import ConfigError, MissingExtra
from fervit.files import replacing, sync_file
from fervit.inference.earlier import (
    TO_START_ANEW,
    Begun,
    Earlier,
    Finished,
    Keeping,
    csv_records,
    has_begun,
    json_records,
    keep_whole,
    kept_sources,
    other_columns,
)
from fervit.inference.results import FrameResult, ImageResult, Skipped
from fervit.inference.rows import columns_of, json_lines, table_rows

if TYPE_CHECKING:
    from pyarrow import Table as Rows

Result = ImageResult | FrameResult
SAVE_EVERY_S = 1.0  # what a `kill -9` may cost of a Parquet file
SAVE_FRACTION = 0.1  # of the run's time at most, however long the file becomes
ROW_GROUP = 8192  # rows; they are all that is in memory


class Table(Protocol):
    """A file of results; `done` holds the sources that an earlier run left in it, with their number of rows.

    What was left out, and told of in a row, has 0. `begun` is whether it has the rows of the video to go on in.
    """

    done: Finished
    begun: bool

    def write(self, result: Result) -> None:
        """Append a result's rows."""
        ...

    def sync(self) -> None:
        """Bring all rows so far onto the disk."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class _LineTable:
    """Whole rows of one result go to the system at once, so that a killed process leaves whole results."""

    def __init__(self, path: Path, lines: Callable[[Result], str], *, head: str = "", old: "Earlier | None" = None):
        self.done: Finished = {} if old is None else old.done
        self.begun = old is not None and old.begun
        self._lines = lines
        self._file: IO[bytes] = path.open("ab" if old is not None else "wb", buffering=0)
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

    def sync(self) -> None:
        """Bring all rows so far onto the disk."""
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # not a pipe
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonTable(_LineTable):
    """JSON lines, one a face.

    Args:
        path: the file.
        resume: keep what an earlier run wrote and append.
        finished: the sources to keep; without it, all but the last, which may not be whole.
        begun: the video to go on in.

    Raises:
        ConfigError: the earlier file has other lines.
    """

    def __init__(
        self, path: Path, *, resume: bool = False, finished: Finished | None = None, begun: Begun | None = None
    ):
        old = keep_whole(path, lambda file: json_records(file, path), finished, begun) if resume else None
        super().__init__(path, json_lines, old=old)

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
        begun: as for `JsonTable`.

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
        begun: Begun | None = None,
    ):
        head = _csv_text([list(columns_of(labels, errors=errors))])
        old = keep_whole(path, lambda file: csv_records(file, head, path), finished, begun) if resume else None
        super().__init__(
            path,
            lambda result: _csv_text(row.values() for row in table_rows(result, labels, errors=errors)),
            head=head,
            old=old,
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
        begun: as for `JsonTable`.

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
        begun: Begun | None = None,
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
        self._begun: Begun | None = None  # while rows after these are in the old file
        if resume and path.exists():
            self.done = self._read_done(finished, begun)
        else:
            path.unlink(missing_ok=True)
        self.begun = self._begun is not None
        self._cost_s = 0.0
        self._save()

    def write(self, result: Result) -> None:
        """Append a result's rows."""
        self._rows += table_rows(result, self._labels, errors=self._errors)
        if time.monotonic() - self._saved_s >= self._pause_s:
            self._save()

    def sync(self) -> None:
        """Bring all rows so far onto the disk."""
        if self._rows:
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
            writer.close()
            sync_file(part)
        self._rows, self._dropped, self._begun = [], set(), None
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
            keep = Keeping(lambda source: source not in self._dropped, self._begun)
            for number in range(file.num_row_groups):
                rows = file.read_row_group(number)
                if self._dropped or self._begun:
                    kept = [keep(source) for source in rows.column("source").to_pylist()]
                    rows = rows.filter(pyarrow.array(kept, pyarrow.bool_()))
                yield rows

    def _read_done(self, finished: Finished | None, begun: Begun | None) -> Finished:
        """Return the sources to keep, and note the others, which the next save drops."""
        import pyarrow
        import pyarrow.parquet as parquet

        counts: Counter[str] = Counter()
        last = (None, None)
        try:
            with parquet.ParquetFile(self._path) as file:
                if file.schema_arrow.names != self._schema.names:
                    raise other_columns(self._path)
                for batch in file.iter_batches(ROW_GROUP, columns=["source", "frame"]):
                    sources = batch.column("source").to_pylist()
                    counts.update(sources)
                    last = sources[-1], batch.column("frame")[-1].as_py()
        except pyarrow.ArrowInvalid as error:
            raise ConfigError(f"{self._path} is no Parquet file: {TO_START_ANEW}") from error
        # A photo's rows are written together, those of a video are not.
        done = kept_sources(counts, None if last[1] is None else last[0], finished)
        self._begun = begun if has_begun(counts, begun) else None
        self._dropped = counts.keys() - done.keys() - {self._begun[0] if self._begun else None}
        return done


def _csv_text(rows: Iterable[Iterable[object]]) -> str:
    lines = []
    for row in rows:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow(row)  # it quotes the characters that end its lines
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)
