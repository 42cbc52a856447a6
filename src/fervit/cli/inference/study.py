"""`fervit study`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._quiet import note
from fervit.cli._shared import check_target, progress
from fervit.errors import ConfigError
from fervit.formatting import percent, text_table

if TYPE_CHECKING:
    from fervit.analysis.study import Study

SHOWN = 30  # people in the printed table
MinEpisode = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="The shortest episode, and interruption that ends one.")
]
Block = Annotated[
    float,
    typer.Option(min=0.1, metavar="SECONDS", help="Length of the blocks of time that the 95 % intervals resample."),
]
Gap = Annotated[
    float, typer.Option(min=0.01, metavar="SECONDS", help="The longest that a frame stands; what follows is a gap.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(study)


def study(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE...", help="Tables of fervit predict over videos: .csv, .json, .jsonl, .parquet."),
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write tables, events and figures here.")] = None,
    stats: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the long form as .csv or .parquet, or all statistics as .json."),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write episodes as .tsv (BORIS), or those of one video as .eaf (ELAN)."),
    ] = None,
    figures: Annotated[str, typer.Option(help="Form of the figures: png, svg, pdf or none.")] = "png",
    tracks: Annotated[int, typer.Option(min=1, help="How many people or tracks a timeline draws.")] = 8,
    min_episode: MinEpisode = 0.5,
    block: Block = 10.0,
    gap: Gap = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
) -> None:
    """Statistics, timelines and events of a study of videos, from the tables that fervit predict wrote of them."""
    from fervit.analysis.events import check_events, write_events
    from fervit.analysis.frames import check_statistics
    from fervit.analysis.outputs import write_study
    from fervit.analysis.study import study as make_study

    if stats is not None:
        check_target("--stats", str(check_statistics(stats)))
    if events is not None:
        check_target("--events", str(check_events(events)))
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file: expected a folder, or a new name for one")
    found = make_study(tables, min_episode_s=min_episode, block_s=block, gap_s=gap, seed=seed)
    for line in found.notes:
        typer.echo(f"fervit: {line}", err=True)
    if stats is not None:
        found.save(stats)
        note(f"statistics: {stats}")
    if events is not None:
        write_events(found, events)
        note(f"events: {events}")
    if out is not None:
        suffix = None if figures == "none" else f".{figures.removeprefix('.').lower()}"
        with progress("writing") as tick:
            files = write_study(found, out, figures=suffix, most=tracks, progress=tick)
        note(f"{len(files)} files in {out}")
    typer.echo(_table(found))


def _table(found: "Study") -> str:
    """Return a line for each person: how long in view, and the three expressions shown most."""
    rows = []
    for one in found.people[:SHOWN]:
        order = sorted(range(len(found.expressions)), key=lambda k: -one.fractions[k])[:3]
        shown = [f"{found.expressions[k]} {percent(float(one.fractions[k]), 0)}" for k in order if one.fractions[k]]
        view, count = percent(one.visible_fraction, 0), str(len(one.episodes))
        rows.append([one.video.source, one.person.name, ", ".join(shown), f"{one.visible_s:.1f} s", view, count])
    rows += [[video.source, "no face", "", "0.0 s", "0 %", "0"] for video in found.videos if not video.people]
    table = text_table(["video", "person", "time by expression", "in view", "of video", "episodes"], rows, left=3)
    more = len(found.people) - SHOWN
    return table + (f"\nand {more} more people or tracks: --stats or --out has them" if more > 0 else "")
