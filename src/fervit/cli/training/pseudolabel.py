"""`fervit pseudolabel`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import Detector, Device, Threads, command_line, progress
from fervit.cli.training._run import stoppable
from fervit.formatting import text_table

if TYPE_CHECKING:
    from fervit.pseudolabels import PseudoCounts


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(pseudolabel)


def pseudolabel(
    model: Annotated[Path, typer.Argument(help="ONNX file, model folder, or a shipped model's name.")],
    images: Annotated[list[str], typer.Option(metavar="DIR", help="A folder of photos, or a photo. May be repeated.")],
    out: Annotated[Path, typer.Option(metavar="D.parquet", help="The data set to write; fervit train takes it.")],
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Keep faces whose label has this probability or more.")
    ],
    per_class: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Keep the N most confident faces of each label at most.")
    ] = None,
    tta: Annotated[
        str | None, typer.Option(help="Test-time augmentation: flip, five_crops or flip_five_crops.")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="The images are face crops already: do not detect.")] = False,
    detector: Detector = "auto",
    validation: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Fraction that becomes public_test, for a run on these faces alone."),
    ] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces predicted at once.")] = 64,
    threads: Threads = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out, or a run that was ended.")] = False,
) -> None:
    """Write the faces of photos that a model is confident of, with its probabilities as soft targets.

    Repeat the command to go on with a run that was ended. A model learns from the probabilities as from people's votes
    (votes_weight).
    """
    from fervit.pseudolabels import pseudolabel as run

    with stoppable(lambda: f"to go on: {command_line()}"), progress("labelling photos") as tick:
        counts = run(
            model,
            images,
            out,
            detector=detector,
            threads=threads,
            device=device,
            min_confidence=min_confidence,
            per_class=per_class,
            tta=tta,
            crop=crop,
            validation=validation,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=tick,
        )
    typer.echo(as_text(counts, out, min_confidence))


def as_text(counts: "PseudoCounts", out: Path, min_confidence: float) -> str:
    """Return what `fervit pseudolabel` prints."""
    kept = sum(counts.kept.values())
    skipped = [f"{counts.below:,} faces below {min_confidence:g}"]
    if counts.over:
        skipped.append(f"{counts.over:,} beyond --per-class")
    skipped.append(f"{counts.without:,} photos without a face")
    if counts.failed:
        skipped.append(f"{counts.failed:,} photos not read ({counts.first_failure})")
    before = f" ({counts.before:,} of them done before)" if counts.before else ""
    lines = [
        f"{counts.photos:,} photos{before}, {counts.faces:,} faces, {kept:,} kept",
        text_table([*counts.kept, "total"], [[*(f"{count:,}" for count in counts.kept.values()), f"{kept:,}"]]),
        f"left out: {', '.join(skipped)}",
    ]
    if none := [label for label, count in counts.kept.items() if not count]:
        lines.append(f"no face of {', '.join(none)}: a lower --min-confidence keeps some")
    return "\n".join([*lines, f"written: {out}", f"use: --data {shlex.quote(str(out))} beside labelled data"])
