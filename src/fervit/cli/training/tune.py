"""`fervit tune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import DataLicence, DropLabels, LabelMap, Sources, Splits, Threads, command_line, program
from fervit.cli.training._options import Init, Settings, Votes
from fervit.cli.training._run import find_inputs, stoppable
from fervit.errors import ConfigError
from fervit.formatting import NONE, percent

if TYPE_CHECKING:
    from fervit.data import LoadKeywords
    from fervit.training.tuning.outcome import TuneResult
    from fervit.training.tuning.rows import TrialRow

OUT = Path("runs/tune")


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(tune)


def tune(
    data: Sources,
    recipe: Annotated[str, typer.Option(help="Recipe to start from: a name (`fervit recipes`), or a .toml file.")] = (
        "tiny"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the study: its trials, best.toml, trials.csv, summary.md and pictures; default: beside the "
            "database, or runs/tune."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Database of the study, such as sqlite:///runs/tune.db; default: tune.db in --out."),
    ] = None,
    study: Annotated[str, typer.Option(help="Name of the study in the database.")] = "tune",
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="Finished trials in the study at the end, earlier ones included; default: 20, or all of a grid."
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(help="What varies (TOML); default: RECIPE.space.toml, or a space for the kind of architecture."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B", help="Try every combination of these values instead. May be repeated."),
    ] = None,
    objective: Annotated[str, typer.Option(help="On public_test: macro_f1, accuracy or nll.")] = "macro_f1",
    sampler: Annotated[str, typer.Option(help="tpe, gp, random, or grid (the space's values and steps).")] = "tpe",
    pruner: Annotated[
        str | None,
        typer.Option(
            help="Ends trials that lag behind: hyperband, median or none; default: hyperband, none for a grid."
        ),
    ] = None,
    fraction: Annotated[
        float, typer.Option(help="Train on this fraction of the training images, stratified by label.")
    ] = 1.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the study and the threads.")] = 1,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout-s", help="Stop after this many seconds; the same command goes on.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampler; that of the trials is --set seed=N.")] = 0,
    init: Init = None,
    votes: Votes = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    licence: DataLicence = None,
    set_: Settings = None,
    threads: Threads = None,
) -> None:
    """Search for a recipe's best settings (Optuna), chosen on public_test; never reads private_test.

    The first trial is the recipe as it is. A search that was stopped or killed goes on with the same command, and the
    same command in a second terminal helps with it.
    """
    from fervit.api import studies
    from fervit.config.training import load_config
    from fervit.training.tuning.storage import require_optuna

    config = load_config(recipe, set_ or ())  # first: a misspelt key should not wait for torch
    require_optuna()
    folder = out or _beside(storage)
    with stoppable(lambda: f"finished trials stay in the study; to go on: {program()} {_arguments()}"):
        labels: LoadKeywords = {"votes": votes, "label_map": label_map, "drop_labels": drop_labels, "splits": splits}
        labels |= {"licence": licence}
        dataset, _ = find_inputs(config, data, init=init, **labels)
        if trials or not grid:
            typer.echo(f"tuning {recipe} in {folder}")
        found = studies.tune(
            recipe,
            dataset,
            folder,
            init=init,
            settings=set_ or (),
            trials=trials,
            storage=storage,
            study=study,
            space=space,
            grid=grid or (),
            objective=objective,
            sampler=sampler,
            pruner=pruner,
            fraction=fraction,
            workers=workers,
            threads=threads,
            timeout_s=timeout_s,
            seed=seed,
            command=command_line(),
            progress=lambda row: typer.echo(line_of(row, objective)),
        )
    typer.echo(as_text(found))


def _arguments() -> str:
    import shlex
    import sys

    return shlex.join(sys.argv[1:])


def _beside(storage: str | None) -> Path:
    """Return the folder for a study whose database is named: beside it, under its name."""
    if storage is None or not storage.startswith("sqlite:///"):
        return OUT
    path = Path(storage.removeprefix("sqlite:///").partition("?")[0])
    if not path.name:
        raise ConfigError("--storage needs the path of a file after sqlite:///, as in sqlite:///runs/tune.db")
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-trials")


def line_of(row: "TrialRow", objective: str) -> str:
    """Return a finished trial as a line."""
    settings = ", ".join(
        f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {value}"
        for key, value in row.settings.items()
    )
    if row.state == "complete":
        return f"trial {row.number}: {objective} {_figure(row.value, objective)} ({row.seconds:.0f} s); {settings}"
    return f"trial {row.number}: {row.state}, {row.reason}; {settings}"


def _figure(value: float | None, objective: str) -> str:
    if value is None:
        return NONE
    return percent(value) if objective == "accuracy" else f"{value:.4f}"


def as_text(found: "TuneResult") -> str:
    """Return what the command prints at the end: the best trial, what it is compared with, and what to do next."""
    best, start = found.best, found.start
    lines = [
        f"best: trial {best.number} of {len(found.trials)}, {found.objective} {_figure(best.value, found.objective)}"
    ]
    if start is not None and start.number != best.number:
        lines[0] += f"; the recipe as it is (trial {start.number}): {_figure(start.value, found.objective)}"
    elif start is not None:
        lines[0] += ", the recipe as it is"
    lines += [f"  {key} = {value}" for key, value in best.settings.items()]
    if found.importance:
        lines.append(
            "importance: " + ", ".join(f"{key} {percent(value, 0)}" for key, value in found.importance.items())
        )
    lines.append(f"recipe: {found.out / 'best.toml'}; all trials: {found.out / 'summary.md'}")
    return "\n".join(lines)
