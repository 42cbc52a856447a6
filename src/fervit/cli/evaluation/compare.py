"""`fervit compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import (
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
    detection,
    limit_torch,
    progress,
    write_json,
)
from fervit.cli.evaluation._options import BatchSize, DataSets, Json, Split, StrictLabels, Table
from fervit.cli.evaluation._tables import check_tables, print_table, write_tables
from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.data import Dataset, LoadKeywords
    from fervit.evaluation.prediction import PredictOptions

if TYPE_CHECKING:
    from fervit.data import Dataset, LoadKeywords
    from fervit.evaluation.prediction import PredictOptions


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(compare)


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more model folders, exported .onnx files or shipped models.",
            metavar="MODEL",
            show_default=False,
        ),
    ],
    data: DataSets,
    split: Split = None,
    detect: Detect = False,
    detector: DetectBy = None,
    tta: Annotated[str | None, typer.Option(help="Test-time augmentation of all: flip, five_crops, ...")] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Compare the others with the first model, instead of all pairs.")
    ] = False,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    strict_labels: StrictLabels = False,
    table: Table = None,
    json: Json = None,
    batch_size: BatchSize = 64,
    threads: Threads = None,
    device: Device = "auto",
) -> None:
    """Say whether one of two models is better, or whether chance explains the difference.

    McNemar's test and a paired bootstrap on the same faces. Of more models or data sets, all pairs, with p values that
    are corrected for their number (Holm).
    """
    check_split(split)
    check_target("--json", json)
    wanted = detection(detect, detector)
    check_tables(table or ())
    if len(models) < 2:
        raise ConfigError(f"expected two or more models to compare, got {models[0]} alone")
    from fervit import api
    from fervit.api.tables import open_setup
    from fervit.evaluation.comparison import compare as run
    from fervit.evaluation.parts import choose_split
    from fervit.evaluation.prediction import check_tta
    from fervit.evaluation.tables.pairs import Comparisons, compare_models
    from fervit.reports.terminal import comparison_as_text, pairs_as_text

    check_tta(tta)
    reading: LoadKeywords = {"label_map": label_map, "drop_labels": drop_labels, "splits": splits}
    reading["detect"] = wanted
    options: PredictOptions = {"tta": tta, "batch_size": batch_size}
    if len(models) > 2 or len(data) > 1:
        setup = open_setup(models, data, split, threads=threads, device=device, **reading)
        limit_torch(threads)
        with progress("comparing") as options["progress"]:
            found = compare_models(setup, split=split, baseline=baseline, strict_labels=strict_labels, **options)
        print_table(pairs_as_text(found), found.notes, json, found.to_dict())
        write_tables(found, table or ())
        return
    a, b = models
    seen: Dataset | tuple[Dataset, Dataset]
    if not wanted:
        seen = api.loaded(data[0], **reading)
        choose_split(seen, split)  # before the models are opened: what is missing should not cost that wait
    first, second = (api.opened(model, threads=threads, device=device) for model in (a, b))
    if wanted:
        seen = (api.load_as_seen(data[0], first, **reading), api.load_as_seen(data[0], second, **reading))
    limit_torch(threads)
    names = (str(a), str(b)) if first.spec.name == second.spec.name and a != b else None
    with progress("comparing") as options["progress"]:
        result = run(
            *(first, second, seen),
            split=split,
            names=names,
            strict_labels=strict_labels,
            **options,
        )
    if json != STDOUT:
        typer.echo(comparison_as_text(result))
    if json is not None:
        write_json(json, result.to_dict())
    write_tables(Comparisons((result,)), table or ())
