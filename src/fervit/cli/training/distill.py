"""`fervit distill`."""

from pathlib import Path
from typing import Annotated

import typer

from fervit.cli._shared import DataLicence, Detect, DetectBy, DropLabels, LabelMap, Sources, Splits, Threads, detection
from fervit.cli.training._options import Init, Out, Overwrite, Resume, Settings, Votes
from fervit.cli.training._run import as_text, find_inputs, shown_run, stoppable_run


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(distill)


def distill(
    teacher: Annotated[Path, typer.Argument(help="The teacher: a model folder, an ensemble folder or an .onnx file.")],
    data: Sources,
    out: Out,
    recipe: Annotated[
        str, typer.Option(help="The student's recipe: a name (`fervit recipes`), or a .toml file.")
    ] = "tiny",
    init: Init = None,
    votes: Votes = None,
    detect: Detect = False,
    detector: DetectBy = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    licence: DataLicence = None,
    set_: Settings = None,
    threads: Threads = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a student on a teacher's probabilities beside the labels; teacher_weight is 0.5 unless set.

    The teacher predicts several views of every training face once; its predictions are kept in the cache folder.
    """
    from fervit import api
    from fervit.config.training import load_config

    wanted = detection(detect, detector)
    config = load_config(recipe, set_ or (), defaults={"teacher_weight": api.TEACHER_WEIGHT})
    api.check_teacher_weight(config)
    with stoppable_run(out, resume=resume, overwrite=overwrite):
        dataset, weights = find_inputs(
            *(config, data),
            init=init,
            votes=votes,
            label_map=label_map,
            drop_labels=drop_labels,
            splits=splits,
            detect=wanted,
            licence=licence,
        )
        with shown_run(config.epochs, resume=resume, overwrite=overwrite, threads=threads) as keywords:
            figures = api.distill(teacher, dataset, out, recipe=config, init=weights, **keywords)
    typer.echo(as_text(figures, out))
