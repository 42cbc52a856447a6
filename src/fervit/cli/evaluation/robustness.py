"""`fervit robustness`."""

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
    limit_torch,
    progress,
    write_json,
)
from fervit.cli.evaluation._options import BatchSize, Json
from fervit.errors import ConfigError, unknown

if TYPE_CHECKING:
    from fervit.evaluation.robustness.results import Robustness

ALL = 0


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(robustness)


def robustness(
    model: Annotated[Path | None, typer.Argument(help=MODEL)] = None,
    data: Data = ...,  # type: ignore[assignment]
    split: Annotated[str, typer.Option(help="train, public_test or private_test.")] = "public_test",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Measure this corruption alone; may be given again; none for no corruption."),
    ] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE", help="Also measure the images that a csv list names (by row or filename, usage)."
        ),
    ] = None,
    faces: Annotated[
        int, typer.Option(min=0, help="Faces to corrupt, drawn at random; 0 takes the whole split.")
    ] = 500,
    curves: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw accuracy against severity into FILE.png.")
    ] = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    json: Json = None,
    batch_size: BatchSize = 64,
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the corruptions.")] = 0,
) -> None:
    """Measure how predictions hold up under bad light, blur, noise, turned and covered faces, and a loose detector.

    Fifteen corruptions and three errors of the detector's box, five severities each.
    """
    _check(split=split, json=json, curves=curves)
    kinds, lists = _kinds(only), _lists(subset or [])
    from fervit import api
    from fervit.evaluation.robustness.measurement import RobustnessPlan, measure_robustness
    from fervit.reports.terminal import robustness_as_text

    dataset = api.loaded(data, label_map=label_map, drop_labels=drop_labels)
    dataset.split(split)  # before the model is opened: what is missing should not cost that wait
    classifier = api.opened(model, threads=threads)
    limit_torch([model], threads)
    plan = RobustnessPlan(kinds, None if faces == ALL else faces, lists, seed)
    with progress("corrupting") as tick:
        found = measure_robustness(classifier, dataset, split=split, plan=plan, batch_size=batch_size, progress=tick)
    if curves is not None:
        _draw(found, curves)
    if json != STDOUT:
        typer.echo(robustness_as_text(found))
        if curves is not None:
            typer.echo(f"\ncurves: {curves}")
    if json is not None:
        write_json(json, found.to_dict())


def _check(*, split: str, json: str | None, curves: Path | None) -> None:
    """Refuse at once what would otherwise fail after minutes of work."""
    check_split(split)
    check_target("--json", json)
    if curves is not None:
        if curves.suffix.lower() != ".png":
            raise ConfigError(f"--curves draws an image: expected a name that ends in .png, got {curves}")
        check_target("--curves", str(curves))


def _kinds(only: list[str] | None) -> list[str] | None:
    """Return the kinds to measure: None for all, nothing for `none`."""
    if not only:
        return None
    from fervit.evaluation.robustness.corruptions import CORRUPTIONS, JITTERS

    if "none" in only and len(set(only)) > 1:
        raise ConfigError("--only none measures no corruption: leave it out to measure the others")
    kinds = [] if "none" in only else only
    for name in kinds:
        if name not in {**CORRUPTIONS, **JITTERS}:
            raise ConfigError(unknown("corruption", name, [*CORRUPTIONS, *JITTERS, "none"]))
    return kinds


def _lists(subsets: list[str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for text in subsets:
        name, separator, file = text.partition("=")
        if not (name and separator and file):
            raise ConfigError(f"--subset takes NAME=FILE.csv, got {text!r}")
        if not Path(file).is_file():
            raise ConfigError(f"--subset {name}: there is no file {file}")
        if name in result:
            raise ConfigError(f"--subset {name} was given twice; use another name")
        result[name] = file
    return result


def _draw(found: "Robustness", path: Path) -> None:
    from fervit.files import cannot_write
    from fervit.reports.plots import severity_png

    try:
        path.write_bytes(severity_png(found))
    except OSError as error:
        raise cannot_write(path, error) from error
