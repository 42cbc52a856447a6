"""`fervit evaluate`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import (
    MODEL,
    STDOUT,
    Data,
    DropLabels,
    LabelMap,
    Threads,
    check_split,
    check_target,
    command_line,
    limit_torch,
    progress,
    write_json,
)
from fervit.cli.evaluation._options import BatchSize, Json
from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.data import Dataset
    from fervit.evaluation.report import Report
    from fervit.types import ModelSpec


Split = Annotated[
    str,
    typer.Option(
        help="train, public_test or private_test. Choose models, recipes and settings on public_test; "
        "read private_test once, at the end."
    ),
]
Tta = Annotated[
    str | None,
    typer.Option(
        help="Test-time augmentation, named beside the figures: the mean prediction for flip (each face and its "
        "mirror image), five_crops (corners and centre), or flip_five_crops (both, ten views)."
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write report.html, report.md, report.json and charts into DIR."),
]
Faces = Annotated[
    bool,
    typer.Option(help="Show the most confident errors and correct predictions in the report (faces of the data)."),
]
GroupsFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.csv", help="Groups of people: a csv with row or filename and columns such as age."),
]
GroupBy = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Column of --groups to use; may be given again.")
]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Go on when --groups misses faces of the split.")]
RobustnessFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="Show in the report what `fervit robustness --json` wrote."),
]
Precision = Annotated[
    float | None,
    typer.Option(min=0.01, max=1, help="Also compute the threshold at which predictions are correct this often."),
]
Votes = Annotated[Path | None, typer.Option(help="FER+ votes: adds the accuracy against their majority.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[Path | None, typer.Argument(help=MODEL)] = None,
    data: Data = ...,  # type: ignore[assignment]
    split: Split = "public_test",
    tta: Tta = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    json: Json = None,
    report: ReportFolder = None,
    faces: Faces = True,
    groups: GroupsFile = None,
    group_by: GroupBy = None,
    allow_missing: AllowMissing = False,
    robustness: RobustnessFile = None,
    precision: Precision = None,
    batch_size: BatchSize = 64,
    threads: Threads = None,
    votes: Votes = None,
) -> None:
    """Measure a model: every expression, fair averages, accuracy with its interval, calibration, groups of people.

    Beside the paper's figures (a ViT fine-tuned on FER2013, 67.22 %). Accuracy is given with and without the faces
    that the train split has too.
    """
    _check(split=split, tta=tta, json=json, report=report)
    if report is None and (robustness is not None or not faces):
        raise ConfigError("--robustness and --no-faces are about the report: add --report DIR")
    if groups is None and (group_by or allow_missing):
        raise ConfigError("--group-by and --allow-missing need --groups FILE.csv")
    from fervit import api
    from fervit.evaluation.groups import read_groups
    from fervit.evaluation.measurement import add_groups, add_threshold
    from fervit.evaluation.robustness.results import read_robustness
    from fervit.reports.terminal import report_as_text

    corrupted = None if robustness is None else read_robustness(robustness)
    dataset = api.loaded(data, votes=votes, label_map=label_map, drop_labels=drop_labels)
    part = dataset.split(split)  # before the model is opened: what is missing should not cost that wait
    grouping = None
    if groups is not None:
        grouping = read_groups(part, groups, columns=group_by or (), allow_missing=allow_missing)
    classifier = api.opened(model, threads=threads)
    limit_torch([model], threads)
    with progress("measuring") as tick:
        result = api.evaluate(classifier, dataset, split=split, tta=tta, batch_size=batch_size, progress=tick)
    if grouping is not None:
        result = add_groups(result, part, grouping)
    if precision is not None:
        result = add_threshold(result, part, precision)
    if json is not None:
        write_json(json, result.to_dict())
    page = None
    if report is not None:
        page = _write(replace(result, robustness=corrupted), part, report, spec=classifier.spec, faces=faces)
    if json != STDOUT:
        typer.echo(report_as_text(result))
        if page is not None:
            typer.echo(f"\nreport: {page}")


def _check(*, split: str, tta: str | None, json: str | None, report: Path | None) -> None:
    """Refuse at once what would otherwise fail after minutes of work."""
    check_split(split)
    from fervit.evaluation.prediction import check_tta

    check_tta(tta)
    check_target("--json", json)
    if report is not None:
        from fervit.reports.report import make_folder

        make_folder(report)


def _write(result: "Report", part: "Dataset", folder: Path, *, spec: "ModelSpec", faces: bool) -> Path:
    """Write the report's folder; return the path of its page."""
    from fervit.reports.gallery import sheets
    from fervit.reports.report import write_report

    images = sheets(result.probs, part.with_labels(result.labels)) if faces else {}
    return write_report(result, folder, command=command_line(), spec=spec, faces=images)
