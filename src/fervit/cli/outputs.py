"""What the predicting commands share: result files, progress, and clear words when a disk is full."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.tables import Result, Table

STDOUT = "-"


@dataclass(frozen=True)
class Targets:
    """Where results go: `json` may be `-` for stdout; None is nowhere."""

    json: str | None = None
    csv: Path | None = None
    parquet: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The files that will be written."""
        json = [] if self.json in (None, STDOUT) else [Path(str(self.json))]
        return [*json, *(path for path in (self.csv, self.parquet) if path is not None)]

    @property
    def any(self) -> bool:
        """Whether results go anywhere at all."""
        return self.json == STDOUT or bool(self.files)

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse what would overwrite what is read, and what cannot be written.

        Raises:
            ConfigError: a target is one of `inputs`, named twice, a folder, or in a folder that does not exist.
        """
        taken = {path.resolve(): "one of the inputs" for path in inputs}
        for path in self.files:
            if path.is_dir():
                raise ConfigError(f"cannot write {path}: it is a folder")
            if not path.parent.is_dir():
                raise ConfigError(f"cannot write {path}: there is no folder {path.parent}")
            if path.resolve() in taken:
                raise ConfigError(f"{path} would overwrite {taken[path.resolve()]}")
            taken[path.resolve()] = "another result file"


@contextlib.contextmanager
def open_tables(
    targets: Targets, labels: Sequence[str], *, errors: bool, resume: bool = False
) -> Iterator[tuple[Callable[["Result"], None], set[str]]]:
    """Yield a function that writes a result everywhere at once, and the sources that all files have already.

    Files of an earlier run are replaced when the first result is there, not by a run that fails before it.
    """
    from fervit.rows import json_lines
    from fervit.tables import CsvTable, JsonTable, ParquetTable

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
            with writing(name):
                table.write(result)
        if targets.json == STDOUT:
            with writing("stdout"):
                typer.echo(json_lines(result), nl=False)

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
