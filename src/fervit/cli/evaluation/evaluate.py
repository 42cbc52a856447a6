"""`fervit evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fervit.cli._shared import (
    MODEL,
    STDOUT,
    check_split,
    check_target,
    command_line,
    limit_torch,
    progress,
    write_json,
)
from fervit.errors import ConfigError, unknown
from fervit.formatting import text_table

if TYPE_CHECKING:
    import numpy as np

    from fervit.data import Dataset


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[Path | None, typer.Argument(help=MODEL)] = None,
    data: Annotated[
        str, typer.Option(help="Data set: a file, a folder, a Hub id, or synthetic[:N].", show_default=False)
    ] = ...,  # type: ignore[assignment]
    split: Annotated[
        str,
        typer.Option(
            help="train, public_test or private_test. Choose models, recipes and settings on public_test; "
            "read private_test once, at the end."
        ),
    ] = "public_test",
    tta: Annotated[
        str | None,
        typer.Option(
            help="Test-time augmentation, named beside the figures: the mean answer for flip (each face and its mirror "
            "image), five_crops (corners and centre), or flip_five_crops (both, ten views)."
        ),
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object; - is stdout.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write report.html, report.md, report.json and charts into DIR."),
    ] = None,
    faces: Annotated[
        bool, typer.Option(help="Show the surest mistakes and right answers in the report (faces of the data).")
    ] = True,
    groups: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Groups of people: a csv with row or filename and columns such as age."),
    ] = None,
    group_by: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Column of --groups to use; may be given again.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on when --groups misses faces of the split.")
    ] = False,
    robustness: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Show in the report what `fervit robustness --json` wrote."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Also compute the threshold at which answers are right this often."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 64,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    votes: Annotated[Path | None, typer.Option(help="FER+ votes: adds the accuracy against their majority.")] = None,
) -> None:
    """Measure a model: every expression, fair averages, accuracy with its interval, calibration, groups of people.

    Beside the paper's figures (a ViT fine-tuned on FER2013, 67.22 %). Faces that also stand in the train split
    are counted with and without.
    """
    _check(split=split, tta=tta, json=json, report=report)
    if report is None and (robustness is not None or not faces):
        raise ConfigError("--robustness and --no-faces are about the report: add --report DIR")
    if groups is None and (group_by or allow_missing):
        raise ConfigError("--group-by and --allow-missing need --groups FILE.csv")
    corrupted = None if robustness is None else _read_robustness(robustness)
    from fervit.data import load

    dataset = load(data, votes=votes)
    part = dataset.split(split)  # before the model is opened: what is missing should not cost that wait
    grouping = _grouping(part, groups, group_by, allow_missing=allow_missing)
    from fervit.evaluation.measurement import evaluate as run
    from fervit.inference.loading import open_classifier

    classifier = open_classifier(model, threads=threads)
    limit_torch([model], threads)
    with progress("measuring") as tick:
        result = run(classifier, dataset, split=split, tta=tta, batch_size=batch_size, progress=tick)
    measured = result.to_dict()
    if grouping is not None:
        from fervit.evaluation.groups import measure_groups

        measured["groups"] = [column.to_dict() for column in measure_groups(result.probs, part, grouping)]
    if precision is not None and all(row["wanted"] != precision for row in measured["thresholds"]):
        measured["thresholds"].append(_threshold(result.probs, part, precision))
        measured["thresholds"].sort(key=lambda row: row["wanted"])
    if json is not None:
        write_json(json, measured)
    page = None
    if report is not None:
        from fervit.reports.gallery import sheets
        from fervit.reports.report import write_report

        shown = measured if corrupted is None else {**measured, "robustness": corrupted}
        pictures = sheets(result.probs, part) if faces else {}
        page = write_report(shown, report, command=command_line(), spec=classifier.spec, faces=pictures)
    if json != STDOUT:
        typer.echo(as_text(measured))
        if page is not None:
            typer.echo(f"\nreport: {page}")


def _grouping(part: "Dataset", groups: Path | None, columns: list[str] | None, *, allow_missing: bool) -> Any:
    if groups is None:
        return None
    from fervit.evaluation.groups import read_groups

    return read_groups(part, groups, columns=columns or (), allow_missing=allow_missing)


def _read_robustness(path: Path) -> dict[str, Any]:
    from fervit.evaluation.robustness import read_robustness

    return read_robustness(path)


def _threshold(probs: "np.ndarray", part: "Dataset", precision: float) -> dict[str, Any]:
    from fervit.evaluation.selective import threshold_for

    point = threshold_for(probs, part.targets, precision)
    return {"wanted": precision, **(point.to_dict() if point else {"threshold": None})}


def as_text(report: Mapping[str, Any]) -> str:
    """Return the tables that `fervit evaluate` prints, from what `Report.to_dict()` returns."""
    from fervit.reports import findings
    from fervit.reports.report import CLASS_HEADER, calibration_sentence, class_rows, lines, notes, summary

    where = f"{report['model']} on {report['dataset']}, {report['split']}, {report['n']:,} faces"
    if report["tta"]:
        where += f", with test-time augmentation ({report['tta']})"
    figures = [(line.name, line.value, line.interval, line.paper) for line in lines(report)]
    parts = [
        where,
        "",
        text_table(CLASS_HEADER, class_rows(report)),
        "",
        text_table(("figure", "value", "95 % interval", "paper"), figures),
    ]
    if (thresholds := findings.threshold_table(report)) is not None:
        parts += ["", text_table(*thresholds)]
    for column, grid, sentences in findings.group_tables(report):
        parts += ["", f"by {column}", text_table(*grid), *sentences]
    said = [summary(report), calibration_sentence(report), findings.selective_sentence(report)]
    return "\n".join([*parts, "", *said, *findings.leak_sentences(report), *notes(report)])


def _check(*, split: str, tta: str | None, json: str | None, report: Path | None) -> None:
    """Refuse at once what would otherwise fail after minutes of work."""
    check_split(split)
    if tta is not None:
        from fervit.evaluation.tta import TTA

        if tta not in TTA:
            raise ConfigError(unknown("test-time augmentation", tta, TTA))
    check_target("--json", json)
    if report is not None:
        from fervit.reports.report import make_folder

        make_folder(report)
