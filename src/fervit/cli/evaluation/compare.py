"""`fervit compare`."""

from pathlib import Path
from typing import Annotated

import typer

from fervit.cli._shared import (
    STDOUT,
    Data,
    DropLabels,
    LabelMap,
    Threads,
    check_split,
    check_target,
    limit_torch,
    progress,
    write_json,
)
from fervit.cli.evaluation._options import BatchSize, Json


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(compare)


def compare(
    a: Annotated[Path, typer.Argument(help="Model folder or exported .onnx file.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The other model.", show_default=False)],
    data: Data,
    split: Annotated[
        str, typer.Option(help="train, public_test or private_test. Choose between models on public_test.")
    ] = "public_test",
    tta: Annotated[str | None, typer.Option(help="Test-time augmentation of both: flip, five_crops, ...")] = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    json: Json = None,
    batch_size: BatchSize = 64,
    threads: Threads = None,
) -> None:
    """Say whether one of two models is better, or whether chance explains the difference.

    McNemar's test and a paired bootstrap on the same faces.
    """
    check_split(split)
    check_target("--json", json)
    from fervit import api
    from fervit.evaluation.prediction import check_tta
    from fervit.reports.terminal import comparison_as_text

    check_tta(tta)
    dataset = api.loaded(data, label_map=label_map, drop_labels=drop_labels)
    dataset.split(split)  # before the models are opened: what is missing should not cost that wait
    first, second = api.opened(a, threads=threads), api.opened(b, threads=threads)
    limit_torch([a, b], threads)
    same_name = first.spec.name == second.spec.name
    names = (str(a), str(b)) if same_name and a != b else None
    with progress("comparing") as tick:
        result = api.compare(
            first, second, dataset, split=split, names=names, tta=tta, batch_size=batch_size, progress=tick
        )
    if json != STDOUT:
        typer.echo(comparison_as_text(result))
    if json is not None:
        write_json(json, result.to_dict())
