"""Tables and figures of several models and data sets: the files that `fervit evaluate` and `fervit compare` write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from fervit.cli._quiet import note
from fervit.cli._shared import STDOUT, check_figure, check_target, limit_torch, progress, write_json, write_text
from fervit.errors import ConfigError, unknown

if TYPE_CHECKING:
    from fervit.data import LoadKeywords
    from fervit.evaluation.prediction import PredictOptions
    from fervit.evaluation.report import Report

SUFFIXES = (".md", ".tex", ".csv")


class Table(Protocol):
    """What can be written as a table."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences below the table."""
        ...

    def to_markdown(self) -> str:
        """Return it as Markdown."""
        ...

    def to_latex(self) -> str:
        """Return it as LaTeX."""
        ...

    def to_csv(self) -> str:
        """Return it as CSV."""
        ...


def check_tables(tables: Sequence[Path]) -> None:
    """Refuse a table's file that is none or cannot be written, before minutes of work.

    Raises:
        ConfigError: its name ends in something else than a table's, or see `check_target`.
    """
    for path in tables:
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"--table takes a name that ends in {', '.join(SUFFIXES)}, got {path}")
        check_target("--table", str(path))


def write_tables(table: Table, paths: Sequence[Path]) -> None:
    """Write a table into files, as the ending of each name says.

    Raises:
        ConfigError: a file cannot be written.
    """
    write = {".md": table.to_markdown, ".tex": table.to_latex, ".csv": table.to_csv}
    for path in paths:
        write_text(path, write[path.suffix.lower()]())
        note(f"table: {path}")


@dataclass(frozen=True)
class Outputs:
    """The files of `fervit evaluate`, apart from JSON and the report.

    Attributes:
        tables: files of the table.
        figures: kind and file of each chart.
        width_in: width of charts in inches; None for the usual one.
    """

    tables: Sequence[Path]
    figures: Sequence[tuple[str, Path]]
    width_in: float | None

    @classmethod
    def read(
        cls, tables: Sequence[Path] | None, figures: Sequence[str] | None, width_in: float | None, *, several: bool
    ) -> "Outputs":
        """Return what was asked for.

        Args:
            tables: what `--table` names.
            figures: what `--figure` names, `[KIND=]FILE` each.
            width_in: what `--figure-width` says.
            several: whether several models or data sets are measured, of which accuracies are compared by default.

        Raises:
            ConfigError: a name ends in something else, there is no such kind, or a file cannot be written.
        """
        check_tables(tables or ())
        if width_in is not None and not figures:
            raise ConfigError("--figure-width is about figures: add --figure FILE")
        usual = "accuracy" if several else "f1"
        return cls(tables or (), [_read_figure(text, usual) for text in figures or ()], width_in)

    def write(self, reports: Sequence["Report"]) -> None:
        """Write the tables and charts of reports; charts at the width of a column, several matrices at a page's.

        Raises:
            ConfigError: a file cannot be written, or there are too many reports for a chart.
        """
        from fervit.evaluation.tables.cross import EvaluationTable

        write_tables(EvaluationTable(tuple(reports)), self.tables)
        if not self.figures:
            return
        from fervit.reports.figures.files import COLUMN_IN, PAGE_IN, write_figure
        from fervit.reports.figures.models import draw_reports

        for kind, path in self.figures:
            usual = PAGE_IN if kind == "confusion" and len(reports) > 1 else COLUMN_IN
            write_figure(draw_reports(kind, reports), path, width_in=self.width_in or usual)
            note(f"figure: {path}")


def _read_figure(text: str, usual: str) -> tuple[str, Path]:
    from fervit.reports.figures.models import FIGURES

    before, separator, after = text.partition("=")
    kind, file = (before, after) if separator and before in FIGURES else (usual, text)
    if separator and before not in FIGURES and "." not in before:
        raise ConfigError(f"--figure takes KIND=FILE or FILE: {unknown('kind', before, FIGURES)}")
    check_figure("--figure", file)
    return kind, Path(file)


def check_alone(options: Mapping[str, object], models: int, datasets: int) -> None:
    """Refuse options that are about one model on one data set where there are more.

    Raises:
        ConfigError: one was given.
    """
    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"{given[0]} is about one model on one data set, got {models} and {datasets}")


def evaluate_several(
    models: Sequence[Path | None],
    data: Sequence[str],
    outputs: Outputs,
    json: str | None,
    reading: "LoadKeywords",
    options: "PredictOptions",
    split: str | None,
    strict_labels: bool,
    threads: int | None,
    device: str,
) -> None:
    """Measure models on data sets, print the table, and write what was asked for."""
    from fervit.api.tables import open_setup
    from fervit.evaluation.tables.cross import evaluate_table
    from fervit.reports.terminal import table_as_text

    setup = open_setup(models, data, split, threads=threads, device=device, **reading)
    limit_torch(threads)
    with progress("measuring") as tick:
        options["progress"] = tick
        found = evaluate_table(setup, split=split, strict_labels=strict_labels, **options)
    print_table(table_as_text(found), found.notes, json, found.to_dict())
    outputs.write(found.reports)


def print_table(text: str, notes: Sequence[str], json: str | None, value: object) -> None:
    """Print a table with its notes, unless stdout is for JSON; write JSON where it is wanted."""
    if json != STDOUT:
        typer.echo("\n".join([text, *(["", *notes] if notes else [])]))
    if json is not None:
        write_json(json, value)
