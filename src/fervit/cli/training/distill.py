"""`fervit distill`."""

from pathlib import Path
from typing import Annotated

import typer

from fervit.cli._shared import command_line
from fervit.errors import ConfigError

TEACHER_WEIGHT = 0.5  # where neither the recipe nor --set says


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(distill)


def distill(
    teacher: Annotated[Path, typer.Argument(help="Who teaches: a model folder, an ensemble folder or an .onnx file.")],
    data: Annotated[str, typer.Option(help="Data set: a file, a folder, a Hub id, or synthetic[:N].")],
    out: Annotated[Path, typer.Option(help="Folder for the run; becomes a Hugging Face model folder.")],
    recipe: Annotated[str, typer.Option(help="The student's recipe: a carried one's name, or a .toml file.")] = "tiny",
    init: Annotated[
        str | None,
        typer.Option(help="The student's starting weights: Hub id, model folder, safetensors file, or `shipped`."),
    ] = None,
    votes: Annotated[Path | None, typer.Option(help="FER+ votes to learn from as well (csv or parquet).")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a recipe's value: key=value. May be repeated. teacher_weight: 0.5."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run in --out first.")] = False,
) -> None:
    """Train a student on a teacher's probabilities beside the labels.

    The teacher is asked once about several views of every training face; its answers are kept in the cache folder.
    """
    from fervit.cli.training.train import run_training
    from fervit.config.training import load_config

    config = load_config(recipe, set_ or (), defaults={"teacher_weight": TEACHER_WEIGHT})
    if not config.teacher_weight:
        raise ConfigError("teacher_weight is 0, so the teacher would teach nothing: use `fervit train`")
    run_training(
        config,
        data,
        out,
        init=init,
        votes=votes,
        teacher=teacher,
        threads=threads,
        resume=resume,
        overwrite=overwrite,
        command=command_line(),
    )
