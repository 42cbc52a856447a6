"""`fervit robustness`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fervit.cli._shared import MODEL, STDOUT, check_split, check_target, limit_torch, progress, write_json
from fervit.errors import ConfigError
from fervit.formatting import text_table

ALL = 0


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(robustness)


def robustness(
    model: Annotated[Path | None, typer.Argument(help=MODEL)] = None,
    data: Annotated[
        str, typer.Option(help="Data set: a file, a folder, a Hub id, or synthetic[:N].", show_default=False)
    ] = ...,  # type: ignore[assignment]
    split: Annotated[str, typer.Option(help="train, public_test or private_test.")] = "public_test",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Measure this corruption alone; may be given again; none for no corruption."),
    ] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE", help="Also measure the pictures that a csv list names (by row or filename, usage)."
        ),
    ] = None,
    faces: Annotated[
        int, typer.Option(min=0, help="Faces to corrupt, drawn at random; 0 takes the whole split.")
    ] = 500,
    curves: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw accuracy against severity into FILE.png.")
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object; - is stdout.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 64,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the corruptions.")] = 0,
) -> None:
    """Measure how answers hold up under bad light, blur, noise, turned and covered faces, and a loose detector.

    Fifteen corruptions and three errors of the detector's box, five severities each.
    """
    check_split(split)
    check_target("--json", json)
    if curves is not None:
        if curves.suffix.lower() != ".png":
            raise ConfigError(f"--curves draws a picture: expected a name that ends in .png, got {curves}")
        check_target("--curves", str(curves))
    kinds, lists = _kinds(only), _lists(subset or [])
    from fervit.data import load

    dataset = load(data)
    dataset.split(split)
    from fervit.evaluation.robustness import robustness as run
    from fervit.inference.loading import open_classifier

    classifier = open_classifier(model, threads=threads)
    limit_torch([model], threads)
    with progress("corrupting") as tick:
        report = run(
            classifier,
            dataset,
            split=split,
            kinds=kinds,
            faces=None if faces == ALL else faces,
            subsets=lists,
            batch_size=batch_size,
            seed=seed,
            progress=tick,
        ).to_dict()
    if curves is not None:
        _draw(report, curves)
    if json != STDOUT:
        typer.echo(as_text(report))
        if curves is not None:
            typer.echo(f"\ncurves: {curves}")
    if json is not None:
        write_json(json, report)


def as_text(report: Mapping[str, Any]) -> str:
    """Return what `fervit robustness` prints, from what `Robustness.to_dict()` returns."""
    parts = [f"{report['model']} on {report['dataset']}, {report['split']}"]
    for title, key in (("right at severity", "conditions"), ("right when the detector's box is off by", "jitter")):
        if report[key]:
            by_kind: dict[str, list[dict[str, Any]]] = {}
            for row in report[key]:
                by_kind.setdefault(row["kind"], []).append(row)
            rows = [
                (
                    kind,
                    *(f"{100 * row['accuracy']:.1f}" for row in of_kind),
                    _percent(_mean([row["relative_accuracy"] for row in of_kind])),
                    _percent(_mean([row["changed_answers"] for row in of_kind])),
                )
                for kind, of_kind in by_kind.items()
            ]
            steps = ("1", "2", "3", "4", "5") if key == "conditions" else ("3 %", "6 %", "9 %", "12 %", "15 %")
            parts += ["", text_table((title, *steps, "of clean", "changed"), rows)]
    if report["unchanged"]:
        parts += ["", f"left out, the pictures stay as they are: {', '.join(report['unchanged'])}"]
    if report["subsets"]:
        lines = [line for subset in report["subsets"] for line in _subset_rows(subset)]
        header = ("subset", "faces", "right", "95 % interval", "macro-F1", "ECE", "FER+ majority")
        parts += ["", text_table(header, lines), *(f"{s['name']}: {s['joined']}" for s in report["subsets"])]
    return "\n".join([*parts, "", report["summary"]])


def _subset_rows(subset: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, figures in ((subset["name"], subset["inside"]), (f"not {subset['name']}", subset["outside"])):
        if figures is not None:
            low, high = figures["accuracy_ci95"]
            votes = figures["accuracy_votes"]
            rows.append(
                (
                    name,
                    f"{figures['n']:,}",
                    _percent(figures["accuracy"]),
                    f"{100 * low:.1f} to {100 * high:.1f}",
                    f"{figures['macro_f1']:.3f}",
                    f"{figures['ece']:.3f}",
                    "-" if votes is None else _percent(votes),
                )
            )
    return rows


def _kinds(only: list[str] | None) -> list[str] | None:
    """Return the kinds to measure: None for all, nothing for `none`."""
    if not only:
        return None
    from fervit.errors import unknown
    from fervit.evaluation.corruptions import CORRUPTIONS, JITTERS

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


def _draw(report: Mapping[str, Any], path: Path) -> None:
    from fervit.reports.plots import severity_png

    try:
        path.write_bytes(severity_png(report))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
