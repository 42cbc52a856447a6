"""What the predicting commands share: result files, progress, and clear words when a disk is full."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from fervit.inference.tables import Result, Table

STDOUT = "-"


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
    """Return a name in `folder` that no file has yet: `stem`, or `stem-2` and so on.

    Raises:
        ConfigError: the file system takes no such name.
    """
    copy, number = folder / f"{stem}{suffix}", 1
    with writing(str(copy)):
        while copy.exists():
            number += 1
            copy = folder / f"{stem}-{number}{suffix}"
    return copy


@contextlib.contextmanager
def open_tables(
    targets: Targets, labels: Sequence[str], *, errors: bool, resume: bool = False
) -> Iterator[tuple[Callable[["Result"], None], set[str]]]:
    """Yield a function that writes a result everywhere at once, and the sources that all files have already.

    Files of an earlier run are replaced when the first result is there, not by a run that fails before it. On a
    resume, a result goes only into the files that do not have its source already.
    """
    from fervit.inference.rows import json_lines
    from fervit.inference.tables import CsvTable, JsonTable, ParquetTable

    tables: list[tuple[str, Table]] = []

    def open_all() -> None:
        for path in targets.files:
            with writing(str(path)):
                if path == targets.csv:
                    tables.append((str(path), CsvTable(path, labels, errors=errors, resume=resume)))
                elif path == targets.parquet:
                    tables.append((str(path), ParquetTable(path, labels, errors=errors, resume=resume)))
                else:
                    tables.append((str(path), JsonTable(path, resume=resume)))

    def write(result: "Result") -> None:
        if not tables:
            open_all()
        for name, table in tables:
            if result.source not in table.done:
                with writing(name):
                    table.write(result)
        if targets.json == STDOUT:
            with writing("stdout"):
                typer.echo(json_lines(result).encode(), nl=False)  # UTF-8, whatever the terminal's encoding

    try:
        if resume:
            open_all()
        yield write, set.intersection(*(table.done for _, table in tables)) if tables else set()
        if not tables:
            open_all()  # a run without a result leaves tables without a row
    finally:
        for name, table in tables:
            with writing(name):
                table.close()


@contextlib.contextmanager
def writing(target: str) -> Iterator[None]:
    """Turn a full disk or a missing folder into one line; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error


@contextlib.contextmanager
def progress(title: str, total: float | None, *, unit: str, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar with the time that is left on stderr; yield a function that sets how far it is.

    Args:
        title: what is going on.
        total: where it ends, or None when nobody knows.
        unit: `files`, or `s` of video.
        quiet: show nothing.
    """
    if quiet:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn() if unit == "files" else TaskProgressColumn(show_speed=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,  # rows on stdout are data
    ) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=min(done, total) if total else done)


def rows_on_screen(targets: Targets) -> bool:
    """Say whether rows show on the terminal, which are progress enough."""
    return (not targets.any or targets.json == STDOUT) and sys.stdout.isatty()
