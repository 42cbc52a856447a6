"""`fervit train` and `fervit recipes`."""

from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import DataLicence, Detect, DetectBy, DropLabels, LabelMap, Sources, Splits, Threads, detection
from fervit.cli.training._options import Init, Out, Overwrite, Resume, Settings, Votes
from fervit.cli.training._run import as_text, find_inputs, shown_run, stoppable_run, stoppable_seeds

if TYPE_CHECKING:
    from fervit.data import LoadKeywords
    from fervit.training.options import RunKeywords


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(train)
    app.command()(recipes)


def train(
    data: Sources,
    out: Out,
    recipe: Annotated[str, typer.Option(help="Name of a recipe (`fervit recipes`), or a .toml file.")] = "paper",
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
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Train with this many seeds, from the recipe's on, each in a folder of --out; say the spread."
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune a Vision Transformer; chooses the best epoch on public_test, never reads private_test."""
    from fervit import api
    from fervit.api import studies
    from fervit.config.training import load_config

    wanted = detection(detect, detector)
    config = load_config(recipe, set_ or ())  # first: a misspelt key should not wait for torch
    how: RunKeywords = {"resume": resume, "overwrite": overwrite, "threads": threads}
    labels: LoadKeywords = {"votes": votes, "label_map": label_map, "drop_labels": drop_labels, "splits": splits}
    labels |= {"detect": wanted, "licence": licence}
    if seeds is not None:
        with stoppable_seeds(out, **how):
            dataset, weights = find_inputs(config, data, init=init, **labels)
            with shown_run(config.epochs, seeds=True, **how) as keywords:
                spread = studies.train_seeds(config, dataset, out, seeds=seeds, init=weights, **keywords)
        typer.echo(f"{spread.to_markdown()}\nmean ± standard deviation (range); runs: {out}")
        return
    with stoppable_run(out, resume=resume, overwrite=overwrite):
        dataset, weights = find_inputs(config, data, init=init, **labels)
        with shown_run(config.epochs, **how) as keywords:
            figures = api.train(config, dataset, out, init=weights, **keywords)
    typer.echo(as_text(figures, out))


def recipes() -> None:
    """List the recipes that come with fervit, with what is known of them."""
    from fervit.config.training import RECIPES, recipe_names

    for name in recipe_names():
        lines = (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
        notes = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
        typer.echo(f"{name}: {notes[0] if notes else ''}")
        for note in notes[1:]:
            typer.echo(f"    {note}")
