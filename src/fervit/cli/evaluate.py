"""`fervit evaluate`."""

import contextlib
import json as json_module
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fervit.errors import ConfigError

STDOUT = "-"


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(evaluate)


def evaluate(
    data: Annotated[str, typer.Option(help="Data set: a file, a folder, a Hub id, or synthetic[:N].")],
    model: Annotated[
        Path | None, typer.Argument(help="Model folder or exported .onnx file; default: the shipped model.")
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="train, public_test or private_test. Choose models, recipes and settings on public_test; "
            "read private_test once, at the end."
        ),
    ] = "public_test",
    tta: Annotated[
        str | None, typer.Option(help="Test-time augmentation: flip averages every face with its mirror image.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object; - is stdout.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write report.html, report.md, report.json and charts into DIR."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 64,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    votes: Annotated[Path | None, typer.Option(help="FER+ votes: adds the accuracy against their majority.")] = None,
) -> None:
    """Measure a model: every expression, fair averages, accuracy with its interval, calibration.

    Beside the paper's figures (a ViT fine-tuned on FER2013, 67.22 %). Faces that also stand in the train split
    are counted with and without.
    """
    _check(split=split, tta=tta, json=json, report=report)
    from fervit.data import load

    dataset = load(data, votes=votes)
    dataset.split(split)  # before the model is opened: a split that is missing should not cost that wait
    from fervit.evaluation import evaluate as run
    from fervit.recognizer import open_classifier

    classifier = open_classifier(model, threads=threads)
    _limit_torch(model, threads)
    with _progress() as progress:
        measured = run(classifier, dataset, split=split, tta=tta, batch_size=batch_size, progress=progress).to_dict()
    page = None
    if report is not None:
        from fervit.report import write_report

        command = shlex.join(["fervit", *sys.argv[1:]])
        page = write_report(measured, report, command=command, spec=classifier.spec)
    if json != STDOUT:
        typer.echo(as_text(measured))
        if page is not None:
            typer.echo(f"\nreport: {page}")
    if json is not None:
        _write_json(json, measured)


def as_text(report: Mapping[str, Any]) -> str:
    """Return the tables that `fervit evaluate` prints, from what `Report.to_dict()` returns."""
    from fervit.report import calibration_sentence, class_rows, lines, notes, summary

    where = f"{report['model']} on {report['dataset']}, {report['split']}, {report['n']:,} faces"
    if report["tta"]:
        where += f", with {report['tta']}"
    figures = [(line.name, line.value, line.interval, line.paper) for line in lines(report)]
    header = ("expression", "precision", "recall", "F1", "paper's F1", "faces")
    return "\n".join(
        [
            where,
            "",
            _table(header, class_rows(report)),
            "",
            _table(("figure", "value", "95 % interval", "paper"), figures),
            "",
            summary(report),
            calibration_sentence(report),
            *notes(report),
        ]
    )


def _table(header: tuple[str, ...], rows: list[Any]) -> str:
    """Align columns: the first to the left, the others to the right."""
    cells = [header, *rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    rule = tuple("-" * width for width in widths)

    def line(row: tuple[str, ...]) -> str:
        first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        return "  ".join([first.strip().ljust(widths[0]), *others])

    return "\n".join(map(line, (header, rule, *rows)))


def _check(*, split: str, tta: str | None, json: str | None, report: Path | None) -> None:
    """Refuse at once what would otherwise fail after minutes of work."""
    from fervit.data.dataset import SPLITS
    from fervit.errors import DataError, unknown

    if split not in SPLITS:
        raise DataError(unknown("split", split, SPLITS))
    if tta is not None and tta != "flip":
        raise ConfigError(unknown("test-time augmentation", tta, ("flip",)))
    if json not in (None, STDOUT):
        if Path(json).is_dir():
            raise ConfigError(f"{json} is a folder; --json takes a file, or - for stdout")
        if not Path(json).parent.is_dir():
            raise ConfigError(f"there is no folder {Path(json).parent} to write {Path(json).name} into")
    if report is not None:
        from fervit.report import make_folder

        make_folder(report)


def _write_json(target: str, measured: dict[str, Any]) -> None:
    text = json_module.dumps(measured, ensure_ascii=False, indent=None if target == STDOUT else 2)
    if target == STDOUT:
        typer.echo(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error


def _limit_torch(model: Path | None, threads: int | None) -> None:
    """Hold a model folder's PyTorch to `threads`; ONNX Runtime was told when it was opened."""
    if threads is not None and model is not None and model.is_dir():
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while faces are classified; it is gone afterwards."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("measuring", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
