"""`fervit robustness`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import (
    MODEL,
    STDOUT,
    Data,
    Detect,
    DetectBy,
    Device,
    DropLabels,
    LabelMap,
    Splits,
    Threads,
    check_figure,
    check_split,
    check_target,
    detection,
    limit_torch,
    progress,
    write_json,
)
from fervit.cli.evaluation._options import BatchSize, Json, Split, StrictLabels
from fervit.errors import ConfigError, unknown

if TYPE_CHECKING:
    from fervit.data import LoadKeywords
    from fervit.evaluation.robustness.results import Robustness

ALL = 0


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(robustness)


def robustness(
    model: Annotated[Path | None, typer.Argument(help=MODEL)] = None,
    data: Data = ...,  # type: ignore[assignment]
    split: Split = None,
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
        Path | None,
        typer.Option(metavar="FILE", help="Draw accuracy against severity into FILE, a .png, .svg or .pdf."),
    ] = None,
    detect: Detect = False,
    detector: DetectBy = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    strict_labels: StrictLabels = False,
    json: Json = None,
    batch_size: BatchSize = 64,
    threads: Threads = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the corruptions.")] = 0,
) -> None:
    """Measure how predictions hold up under bad light, blur, noise, turned and covered faces, and a loose detector.

    Fifteen corruptions and three errors of the detector's box, five severities each.
    """
    _check(split=split, json=json, curves=curves)
    wanted = detection(detect, detector)
    kinds, lists = _kinds(only), _lists(subset or [])
    from fervit import api
    from fervit.evaluation.parts import choose_split
    from fervit.evaluation.robustness.measurement import RobustnessPlan, measure_robustness
    from fervit.reports.terminal import robustness_as_text

    reading: LoadKeywords = {"label_map": label_map, "drop_labels": drop_labels, "splits": splits, "detect": wanted}
    if wanted:
        classifier = api.opened(model, threads=threads, device=device)
        dataset = api.load_as_seen(data, classifier, **reading)
    else:
        dataset = api.loaded(data, **reading)
        choose_split(dataset, split)  # before the model is opened: what is missing should not cost that wait
        classifier = api.opened(model, threads=threads, device=device)
    limit_torch(threads)
    plan = RobustnessPlan(kinds, None if faces == ALL else faces, lists, seed, strict_labels)
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


def _check(*, split: str | None, json: str | None, curves: Path | None) -> None:
    """Refuse at once what would otherwise fail after minutes of work."""
    check_split(split)
    check_target("--json", json)
    if curves is not None:
        check_figure("--curves", curves)


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
    from fervit.reports.figures.files import PAGE_IN, write_figure
    from fervit.reports.plots import severity_figure

    write_figure(severity_figure(found), path, width_in=None if path.suffix.lower() == ".png" else PAGE_IN)
