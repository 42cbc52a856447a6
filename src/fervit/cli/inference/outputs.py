"""What the predicting commands share: where results go, and one clear line when they cannot be written."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from fervit.cli._shared import STDOUT
from fervit.cli.inference.failures import Failures
from fervit.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from fervit.analysis.study import Collector
    from fervit.inference.results import ImageResult, Skipped
    from fervit.inference.tables import Result, Table

ANNOTATE = "--annotate"


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
    from fervit.files import fitting_name

    copy, number = folder / fitting_name(folder, stem, suffix), 1
    with writing(str(copy)):
        while copy.exists():
            number += 1
            copy = folder / fitting_name(folder, stem, f"-{number}{suffix}")
    return copy


class ResultWriter:
    """Writes results everywhere that `targets` names; use it in a `with`.

    Files of an earlier run are replaced when the first result is there, not by a run that fails before it. On a
    resume, a result goes only into the files that do not have its source already. A file that cannot be written is
    reported, the others go on, and the run ends with an error.

    Args:
        targets: where results go.
        labels: the model's labels.
        errors: tables have a row for an image without a face, or one that could not be read.
        resume: keep what an earlier run wrote and append.
        others: how many other outputs the run has, which go on when all of `targets` have failed.

    Attributes:
        collector: what takes the rows of videos for their statistics, where these are wanted.
    """

    def __init__(self, targets: Targets, labels: Sequence[str], *, errors: bool, resume: bool = False, others: int = 0):
        self.targets, self._labels, self._errors, self._resume = targets, labels, errors, resume
        self.failures = Failures(len(targets.files) + (targets.json == STDOUT) + others)
        self.collector: Collector | None = None
        self._tables: list[tuple[Path, Table]] = []
        self._opened = False

    def __enter__(self) -> Self:
        if self._resume:
            try:
                self._open()
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._opened and error is None:
                self._open()  # a run without a result leaves tables without a row
        finally:
            self._close()
        if error is None:
            self.failures.check()

    @property
    def done(self) -> set[str]:
        """The sources that all files have already, on a resume."""
        return set.intersection(*(table.done for _, table in self._tables)) if self._tables else set()

    def write(self, result: "Result") -> None:
        """Append a result to every file, and to stdout where that was asked for."""
        from fervit.inference.rows import json_lines

        if not self._opened:
            self._open()
        if self.collector is not None:
            self.collector.add_result(result)
        for path, table in self._tables:
            if result.source not in table.done and str(path) not in self.failures:
                with self.failures.tolerated(str(path)), writing(str(path)):
                    table.write(result)
        if self.targets.json == STDOUT and STDOUT not in self.failures:
            with self.failures.tolerated(STDOUT), writing("stdout"):
                typer.echo(json_lines(result).encode(), nl=False)  # UTF-8, whatever the terminal's encoding

    def note(self, results: "Sequence[Skipped | ImageResult]") -> None:
        """Append the rows of what has no faces to tell of, where JSON lines are written; the other tables have none.

        Args:
            results: what was left out, and videos that could not be read.
        """
        from fervit.inference.rows import json_lines
        from fervit.inference.tables import JsonTable

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
        if self.targets.json == STDOUT and STDOUT not in self.failures:
            with self.failures.tolerated(STDOUT), writing("stdout"):
                for item in results:
                    typer.echo(json_lines(item).encode(), nl=False)

    def _open(self) -> None:
        self._opened = True
        for path in self.targets.files:
            # A file that cannot be resumed is a mistake in the command, found before any work.
            tolerated = contextlib.nullcontext() if self._resume else self.failures.tolerated(str(path))
            with tolerated, writing(str(path)):
                self._tables.append((path, self._table(path)))

    def _close(self) -> None:
        last: ConfigError | None = None
        for path, table in self._tables:  # all are closed, whatever one raises
            try:
                with self.failures.tolerated(str(path)), writing(str(path)):
                    table.close()
            except ConfigError as error:
                last = error
        if last is not None:
            raise last

    def _table(self, path: Path) -> "Table":
        from fervit.inference.tables import CsvTable, JsonTable, ParquetTable

        if path == self.targets.csv:
            return CsvTable(path, self._labels, errors=self._errors, resume=self._resume)
        if path == self.targets.parquet:
            return ParquetTable(path, self._labels, errors=self._errors, resume=self._resume)
        return JsonTable(path, resume=self._resume)


@contextlib.contextmanager
def writing(target: str) -> Iterator[None]:
    """Turn a full disk or a missing folder into one line; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        from fervit.files import cannot_write

        raise cannot_write(target, error) from error


def rows_on_screen(targets: Targets) -> bool:
    """Return whether rows show on the terminal, which are progress enough."""
    return (not targets.any or targets.json == STDOUT) and sys.stdout.isatty()
