"""Where the results of a run go, and one clear line when they cannot be written."""

import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from fervit.errors import ConfigError, MissingExtra
from fervit.files import cannot_write, fitting_name
from fervit.inference.results import Skipped
from fervit.inference.rows import json_lines
from fervit.inference.runs.failures import Failures
from fervit.inference.runs.sidecar import (
    Sidecar,
    SidecarWriter,
    SourceRecord,
    Unfinished,
    check_same,
    read_sidecar,
    sidecar_of,
)
from fervit.inference.tables import CsvTable, JsonTable, ParquetTable, Result, Table

STDOUT = "-"


class Collector(Protocol):
    """What takes the results of a run beside its files."""

    def add_result(self, result: Result | Skipped) -> None:
        """Take the next result."""
        ...


@dataclass(frozen=True)
class Targets:
    """Where results go: `json` may be `-` for stdout; None is nowhere."""

    json: str | None = None
    csv: Path | None = None
    parquet: Path | None = None

    @property
    def named(self) -> list[tuple[str, Path]]:
        """The files that will be written, each after its option."""
        json = None if self.json in (None, STDOUT) else Path(str(self.json))
        options = (("--json", json), ("--csv", self.csv), ("--parquet", self.parquet))
        return [(option, path) for option, path in options if path is not None]

    @property
    def files(self) -> list[Path]:
        """The files that will be written."""
        return [path for _, path in self.named]

    @property
    def any(self) -> bool:
        """Whether results go anywhere at all."""
        return self.json == STDOUT or bool(self.files)

    def check_new(self, *, resumable: bool = True) -> None:
        """Refuse to write over the rows of an earlier run.

        Args:
            resumable: such a run can go on in them.

        Raises:
            ConfigError: a result file is there already and holds something.
        """
        for option, path in self.named:
            with writing(str(path)):
                holds = path.is_file() and path.stat().st_size > 0
            if holds:
                resume = "go on in it with --skip-done, " if resumable else ""
                raise ConfigError(
                    f"{option} {path} exists already: {resume}replace it with --overwrite, or name another file"
                )

    def check(
        self,
        inputs: Sequence[Path],
        files: Sequence[tuple[str, Path]] = (),
        folders: Sequence[tuple[str, Path]] = (),
    ) -> None:
        """Refuse what would overwrite what is read or written elsewhere, and what cannot be written.

        Args:
            inputs: the files that are read.
            files: other files that will be written, each after its option.
            folders: folders that get files under names of their own, each after its option; they need not exist.

        Raises:
            ConfigError: a file is one of `inputs`, named twice, a folder, `-`, or in a folder that does not exist; or
                a folder is a file.
            MissingExtra: Parquet is wanted and pyarrow is not installed.
        """
        taken = {_identity(path): "one of the inputs" for path in inputs}
        for option, path in [*self.named, *files, *folders]:
            if str(path) == STDOUT:
                raise ConfigError(f"{option} expects a name, got -; what goes to stdout is JSON lines: --json -")
            with writing(str(path)):
                is_folder, exists, has_parent = path.is_dir(), path.exists(), path.parent.is_dir()
            if (option, path) in folders:
                if is_folder:
                    continue
                if exists:
                    raise ConfigError(f"{option} {path} is a file: expected a folder, or a new name for one")
            elif is_folder:
                raise ConfigError(f"cannot write {path}: it is a folder")
            elif not has_parent:
                raise ConfigError(f"cannot write {path}: there is no folder {path.parent}")
            key = _identity(path)
            if key in taken:
                raise ConfigError(f"{option} {path} would overwrite {taken[key]}: give it another name")
            taken[key] = f"what {option} writes"
        if self.parquet is not None and find_spec("pyarrow") is None:
            raise MissingExtra("Parquet", "video")


def _identity(path: Path) -> tuple[int, int] | str:
    """Return what two names of one file have in common, links and the case of letters aside."""
    try:
        found = path.stat()
    except OSError:  # it does not exist yet, or cannot be looked at
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def new_name(folder: Path, stem: str, suffix: str) -> Path:
    """Return a name in `folder` that no file has yet: `stem`, or `stem-2` and so on, shortened where it is too long.

    Raises:
        ConfigError: the folder cannot be looked at.
    """
    copy, number = folder / fitting_name(folder, stem, suffix), 1
    with writing(str(copy)):
        while copy.exists():
            number += 1
            copy = folder / fitting_name(folder, stem, f"-{number}{suffix}")
    return copy


@dataclass(frozen=True)
class Writing:
    """How the result files of a run are written.

    Attributes:
        errors: a column `error`, and a row for each image, frame or file without a face.
        resume: keep what an earlier run wrote and append.
        sidecar: write `TABLE.sources.json` beside each table, by which a run over videos is resumed.
        settings: whatever changes the rows; they stand in that file, and a resumed run needs the same.
        command: the command line, for that file.
        others: how many other outputs the run has, which go on when all result files have failed.
        within: the videos in which a resumed run may go on where it was; all others begin anew.
    """

    errors: bool = True
    resume: bool = False
    sidecar: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    others: int = 0
    within: Collection[str] = ()


class ResultWriter:
    """Writes results everywhere that `targets` names; use it in a `with`.

    Files of an earlier run are replaced when the first result is there, not by a run that fails before it. On a
    resume, a result goes only into the files that do not have its source already. A file that cannot be written is
    told of, the others go on, and the run ends with an error.

    Args:
        targets: where results go.
        labels: the model's labels.
        how: how they are written.
        failures: told of what cannot be written; None makes one that logs.

    Attributes:
        collector: what takes all results too, for statistics, where these are wanted.
        begun: on a resume, how far an earlier run came in the video in which it was stopped; its rows stay.
    """

    def __init__(self, targets: Targets, labels: Sequence[str], how: Writing, failures: Failures | None = None):
        self.targets, self._labels, self._how = targets, labels, how
        self.failures = failures or Failures(len(targets.files) + (targets.json == STDOUT) + how.others)
        self.collector: Collector | None = None
        self._tables: list[tuple[Path, Table]] = []
        self._sidecar: SidecarWriter | None = None
        self._opened = False
        self.begun: Unfinished | None = None

    def __enter__(self) -> Self:
        if self._how.resume:
            try:
                self._open()
            except BaseException:
                self._close(complete=False)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._opened and error is None:
                self._open()  # a run without a result leaves tables without a row
        finally:
            self._close(complete=error is None)
        if error is None:
            self.failures.check()

    @property
    def done(self) -> set[str]:
        """The sources that all files have already, on a resume."""
        done = [{source for source, rows in table.done.items() if rows} for _, table in self._tables]
        return set.intersection(*done) if done else set()

    @property
    def resumed(self) -> bool:
        """Whether the files of an earlier run are open, to go on in them."""
        return self._how.resume

    @property
    def records(self) -> dict[str, SourceRecord]:
        """What is known of the finished sources, where a file beside the tables is written."""
        return {} if self._sidecar is None else self._sidecar.sidecar.sources

    def write(self, result: Result) -> None:
        """Append a result to every file, and to stdout where that was asked for."""
        if not self._opened:
            self._open()
        if self.collector is not None:
            self.collector.add_result(result)
        for path, table in self._tables:
            if not table.done.get(result.source) and str(path) not in self.failures:
                with self.failures.tolerated(str(path)), writing(str(path)):
                    table.write(result)
        self._print(result)

    def finished(self, record: SourceRecord) -> None:
        """Note that all rows of a source are written."""
        if self._sidecar is not None and self._opened:
            with contextlib.suppress(OSError):  # told of at the end: the tables may still be written
                self._sidecar.add(record)

    def reached(self, unfinished: Unfinished) -> None:
        """Note how far a video is, so that an interrupted run goes on there."""
        if self._sidecar is None or not self._opened or any(str(path) in self.failures for path, _ in self._tables):
            return
        with contextlib.suppress(OSError):  # the next row tells of a table that cannot be written
            self._sidecar.reach(unfinished, self._sync)

    def note(self, results: Sequence[Skipped]) -> None:
        """Append the rows of what was left out, where JSON lines are written; the other tables have none."""
        if results and not self._opened:
            self._open()
        if self.collector is not None:
            for item in results:
                self.collector.add_result(item)
        for path, table in self._tables:
            if isinstance(table, JsonTable) and str(path) not in self.failures:
                with self.failures.tolerated(str(path)), writing(str(path)):
                    for item in results:
                        table.note(item)
        for item in results:
            self._print(item)

    def _sync(self) -> None:
        for _, table in self._tables:
            table.sync()

    def _print(self, result: Result | Skipped) -> None:
        if self.targets.json == STDOUT and STDOUT not in self.failures:
            with self.failures.tolerated(STDOUT), writing("stdout"):
                sys.stdout.flush()
                sys.stdout.buffer.write(json_lines(result).encode())  # UTF-8, whatever the terminal's encoding
                sys.stdout.buffer.flush()

    def _open(self) -> None:
        self._opened = True
        sidecar = self._old_sidecar() if self._how.resume else None
        if not self._how.resume:
            for path in self.targets.files:
                with writing(str(path)):
                    sidecar_of(path).unlink(missing_ok=True)  # it tells of rows that are about to go
        finished = None if sidecar is None else sidecar.unchanged()
        self.begun = None if sidecar is None else sidecar.begun(self._how.within)
        self._open_tables(finished)
        if self.begun is not None and not all(table.begun for _, table in self._tables):
            self.begun = None  # a table lacks rows of that video: it begins anew in all
            self._close_tables()
            self._open_tables(finished)
        if self._how.sidecar and self._tables:
            self._start_sidecar({} if sidecar is None else sidecar.sources)

    def _open_tables(self, finished: Mapping[str, int] | None) -> None:
        self._tables = []
        for path in self.targets.files:
            # A file that cannot be resumed is a mistake in the command, found before any work.
            tolerated = contextlib.nullcontext() if self._how.resume else self.failures.tolerated(str(path))
            with tolerated, writing(str(path)):
                self._tables.append((path, self._table(path, finished)))

    def _old_sidecar(self) -> Sidecar | None:
        """Return what lies beside the tables of an earlier run; where one has nothing, none counts."""
        found: Sidecar | None = None
        for path in self.targets.files:
            if path.is_file() and path.stat().st_size:
                beside = read_sidecar(path)
                if beside is None:
                    return None
                check_same(beside, self._how.settings, path)
                found = beside if found is None or _progress(beside) < _progress(found) else found
        return found

    def _start_sidecar(self, earlier: Mapping[str, SourceRecord]) -> None:
        known = self.done
        rows = {source: count for _, table in self._tables for source, count in table.done.items()}
        records = {s: earlier.get(s, SourceRecord(s, rows=rows[s])) for s in rows if s in known}
        head = Sidecar(self._how.settings, self._how.command, records, unfinished=self.begun)
        # Nothing lies beside a pipe or /dev/stdout.
        tables = [path for path, _ in self._tables if path.is_file() and not path.is_relative_to("/dev")]
        self._sidecar = SidecarWriter(tables, head) if tables else None

    def _close_tables(self) -> ConfigError | None:
        """Close all tables, whatever one raises, and return the last error."""
        last: ConfigError | None = None
        for path, table in self._tables:
            try:
                with self.failures.tolerated(str(path)), writing(str(path)):
                    table.close()
            except ConfigError as error:
                last = error
        return last

    def _close(self, *, complete: bool) -> None:
        last = self._close_tables()
        if self._sidecar is not None and last is None:
            beside = str(self._sidecar.paths[0])
            try:
                with self.failures.tolerated(beside), writing(beside):
                    self._sidecar.close(complete=complete)
            except ConfigError as error:
                last = error if complete else None  # else the run ends with an error of its own
        if last is not None:
            raise last

    def _table(self, path: Path, finished: Mapping[str, int] | None) -> Table:
        errors, resume = self._how.errors, self._how.resume
        begun = None if self.begun is None else (self.begun.source, self.begun.rows)
        if path == self.targets.csv:
            return CsvTable(path, self._labels, errors=errors, resume=resume, finished=finished, begun=begun)
        if path == self.targets.parquet:
            return ParquetTable(path, self._labels, errors=errors, resume=resume, finished=finished, begun=begun)
        return JsonTable(path, resume=resume, finished=finished, begun=begun)


def _progress(sidecar: Sidecar) -> tuple[int, int]:
    return len(sidecar.sources), 0 if sidecar.unfinished is None else sidecar.unfinished.rows


@contextlib.contextmanager
def writing(target: str) -> Iterator[None]:
    """Turn a full disk or a missing folder into one line; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_write(target, error) from error
