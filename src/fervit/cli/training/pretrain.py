"""`fervit pretrain`."""

from pathlib import Path
from typing import Annotated

import typer

from fervit.cli._shared import command_line
from fervit.cli.training.train import check_init, progress_bar, require_torch


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
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a default: key=value. May be repeated.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run in --out first.")] = False,
) -> None:
    """Pre-train a ViT on faces without labels (masked autoencoder); reads train splits only.

    `fervit train --init OUT` then starts from it.
    """
    from fervit.config.pretraining import load_pretrain_config
    from fervit.data import load
    from fervit.inference.model_files import starting_weights

    config = load_pretrain_config(set_ or ())  # first: a misspelt key should not wait for torch
    require_torch("pre-training")
    init = str(starting_weights(init))
    check_init(init)
    datasets = [load(source) for source in data]
    import torch

    from fervit.training.pretraining.run import PICTURE_FILE
    from fervit.training.pretraining.run import pretrain as run

    if threads:
        torch.set_num_threads(threads)
    figures = run(
        config,
        datasets,
        out,
        init=init,
        resume=resume,
        overwrite=overwrite,
        command=command_line(),
        callbacks=[progress_bar(config.epochs, what="pre-training")],
    )
    if figures["loss"] is not None:
        typer.echo(
            f"loss {figures['first_loss']:.3f} in the first epoch, {figures['loss']:.3f} in the last "
            f"(n = {figures['n']:,} faces); drawn in {out / PICTURE_FILE}"
        )
    typer.echo(f"backbone folder: {out} (fervit train --init {out} starts from it)")
