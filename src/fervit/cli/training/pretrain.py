"""`fervit pretrain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import DataLicence, Detect, DetectBy, Threads, detection, require_torch
from fervit.cli.training._options import Overwrite, Resume
from fervit.cli.training._run import shown_run, stoppable_run

if TYPE_CHECKING:
    from fervit.training.pretraining.run import PretrainFigures


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(pretrain)


def pretrain(
    data: Annotated[
        list[str],
        typer.Option(
            help="Faces, labelled or not (a folder train/unlabelled/ of crops does): a file, a folder, a Hub id, or "
            "synthetic[:N]. May be repeated."
        ),
    ],
    init: Annotated[str, typer.Option(help="A plain ViT: Hub id, model folder, safetensors file, or `shipped`.")],
    out: Annotated[Path, typer.Option(help="Folder for the run; becomes a Hugging Face ViT folder without a head.")],
    licence: DataLicence = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a default: key=value. May be repeated.")
    ] = None,
    detect: Detect = False,
    detector: DetectBy = None,
    threads: Threads = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Pre-train a ViT on faces without labels (masked autoencoder); reads train splits only.

    `fervit train --init OUT` then starts from it.
    """
    from fervit.api import loaded
    from fervit.config.pretraining import load_pretrain_config
    from fervit.inference.model_files import check_starting_weights, starting_weights

    wanted = detection(detect, detector)
    config = load_pretrain_config(set_ or ())  # first: a misspelt key should not wait for torch
    with stoppable_run(out, resume=resume, overwrite=overwrite):
        require_torch("pre-training")
        weights = starting_weights(init)
        check_starting_weights(weights)
        datasets = [loaded(source, need_labels=False, licence=licence, detect=wanted) for source in data]
        from fervit.training.pretraining.run import pretrain as run

        with shown_run(
            config.epochs, what="pre-training", resume=resume, overwrite=overwrite, threads=threads
        ) as keywords:
            figures = run(config, datasets, out, init=weights, **keywords)
    typer.echo(as_text(figures, out))


def as_text(figures: "PretrainFigures", out: Path) -> str:
    """Return what `fervit pretrain` prints."""
    from fervit.training.pretraining.run import RECONSTRUCTION_FILE

    folder = f"backbone folder: {out} (fervit train --init {out} starts from it)"
    if figures["loss"] is None:
        return folder
    return (
        f"loss {figures['first_loss']:.3f} in the first epoch, {figures['loss']:.3f} in the last "
        f"(n = {figures['n']:,} faces); drawn in {out / RECONSTRUCTION_FILE}\n{folder}"
    )
