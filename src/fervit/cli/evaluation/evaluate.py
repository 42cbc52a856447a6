"""`fervit evaluate`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import (
    MODEL,
    STDOUT,
    Detect,
    DetectBy,
    Device,
    DropLabels,
    LabelMap,
    Splits,
    Threads,
    check_split,
    check_target,
    command_line,
    detection,
    limit_torch,
    progress,
    write_json,
)
from fervit.cli.evaluation._options import BatchSize, DataSets, Json, Split, StrictLabels, Table
from fervit.cli.evaluation._tables import Outputs, check_alone, evaluate_several
from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.data import Dataset, LoadKeywords
    from fervit.evaluation.prediction import PredictOptions
    from fervit.evaluation.report import Report
    from fervit.types import ModelSpec


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
Models = Annotated[
    list[Path] | None,
    typer.Argument(help=MODEL + " Several make a table.", metavar="MODEL", show_default=False),
]
Figure = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[KIND=]FILE",
        help="Draw a chart at a paper's column width, as .png, .svg or .pdf: accuracy, f1, reliability or confusion; "
        "without KIND, f1 of one model and accuracy of several. May be repeated.",
    ),
]
FigureWidth = Annotated[
    float | None,
    typer.Option(
        min=1, max=40, metavar="INCHES", help="Width of figures; default: 3.25 (a column), 6.75 for confusion matrices."
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(evaluate)


def evaluate(
    models: Models = None,
    data: DataSets = ...,  # type: ignore[assignment]
    split: Split = None,
    detect: Detect = False,
    detector: DetectBy = None,
    tta: Tta = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    strict_labels: StrictLabels = False,
    table: Table = None,
    figure: Figure = None,
    figure_width: FigureWidth = None,
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
    device: Device = "auto",
    votes: Votes = None,
) -> None:
    """Measure a model: every expression, fair averages, accuracy with its interval, calibration, groups of people.

    Beside the paper's figures (a ViT fine-tuned on FER2013, 67.22 %). Accuracy is given with and without the faces
    that the train split has too. With --detect, photos without a face count as wrong. Several models or data sets make
    a table with a line for each pair.
    """
    wanted = detection(detect, detector)
    named: list[Path | None] = [*models] if models else [None]
    several = len(named) > 1 or len(data) > 1
    _check(split=split, tta=tta, json=json, report=report)
    outputs = Outputs.read(table, figure, figure_width, several=several)
    if several:
        about = {"--report": report, "--groups": groups, "--robustness": robustness, "--precision": precision}
        check_alone(about if len(data) == 1 else about | {"--votes": votes}, len(named), len(data))
    if report is None and (robustness is not None or not faces):
        raise ConfigError("--robustness and --no-faces are about the report: add --report DIR")
    if groups is None and (group_by or allow_missing):
        raise ConfigError("--group-by and --allow-missing need --groups FILE.csv")
    from fervit import api
    from fervit.evaluation.groups import read_groups
    from fervit.evaluation.measurement import add_groups, add_threshold, evaluate_part
    from fervit.evaluation.parts import choose_split, find_part, say_split
    from fervit.evaluation.robustness.results import read_robustness
    from fervit.reports.terminal import report_as_text

    reading: LoadKeywords = {"votes": votes, "label_map": label_map, "drop_labels": drop_labels, "splits": splits}
    reading["detect"] = wanted
    if several:
        options: PredictOptions = {"tta": tta, "batch_size": batch_size}
        evaluate_several(named, data, outputs, json, reading, options, split, strict_labels, threads, device)
        return
    corrupted = None if robustness is None else read_robustness(robustness)
    reading["keep_missed"] = True  # to be counted
    classifier = api.opened(named[0], threads=threads, device=device) if wanted else None
    dataset = api.load_as_seen(data[0], classifier, **reading)
    early = dataset.split(choose_split(dataset, split))  # before the model is opened: that wait should not be in vain
    read = partial(read_groups, path=groups or "", columns=group_by or (), allow_missing=allow_missing)
    grouping = None if groups is None else read(early)
    classifier = classifier or api.opened(named[0], threads=threads, device=device)
    limit_torch(threads)
    chosen = choose_split(dataset, split, [classifier.spec])
    say_split(dataset, chosen, split)
    measured = find_part(dataset, [classifier.spec], split=chosen, strict_labels=strict_labels)
    part = measured.images
    with progress("measuring") as tick:
        result = evaluate_part(classifier, dataset, measured, tta=tta, batch_size=batch_size, progress=tick)
    if grouping is not None:
        result = add_groups(result, part, grouping if len(part) == len(early) else read(part))
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
    outputs.write([result])


def _check(*, split: str | None, tta: str | None, json: str | None, report: Path | None) -> None:
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
