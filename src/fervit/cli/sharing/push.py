"""`fervit push`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import require_torch
from fervit.formatting import counted, file_size, text_table

if TYPE_CHECKING:
    from fervit.api.publishing import Pushed

SHOWN_DIGITS = 12  # of a hash


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(push)


def push(
    model: Annotated[Path, typer.Argument(help="A model folder, such as --out of `fervit train`, or a name.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository; it is made if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    branch: Annotated[str | None, typer.Option(help="Push to this branch; default: the main one.")] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    onnx: Annotated[
        bool,
        typer.Option("--onnx/--no-onnx", help="Push onnx/model.onnx too, for transformers.js."),
    ] = True,
    data: Annotated[
        str | None,
        typer.Option(help="Push onnx/model_quantized.onnx too, calibrated on this data set (train, public_test)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be pushed.")] = False,
) -> None:
    """Push a model folder to the Hugging Face Hub and compare the SHA-256 of what arrived with the files here.

    Log in first (`hf auth login`), or set HF_TOKEN to a token with write access. The log of a run stays here.
    """
    require_torch("push")
    from fervit.api.publishing import push as run

    pushed = run(model, repo, private=private, branch=branch, message=message, onnx=onnx, data=data, dry_run=dry_run)
    typer.echo(as_text(pushed))


def as_text(pushed: "Pushed") -> str:
    """Return what `fervit push` prints."""
    rows = [(file.name, file_size(file.size), file.sha256[:SHOWN_DIGITS]) for file in pushed.files]
    lines = [text_table(("file", "size", "SHA-256"), rows), ""]
    lines += [f"trained on {licence}" for licence in pushed.trained_on]
    lines += [f"note: {note}" for note in pushed.notes]
    count = f"{counted(len(rows), 'file')}, {file_size(sum(file.size for file in pushed.files))}"
    if pushed.url:
        lines.append(f"{pushed.url}: {count}, verified there; commit {pushed.commit[:SHOWN_DIGITS]}")
    else:
        lines.append(f"{pushed.repo}: {count} would be pushed")
    return "\n".join(lines)
