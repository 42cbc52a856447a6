"""The command line: one Typer app, a module per group of commands; heavy imports stay inside commands."""

import sys
import warnings
from typing import Annotated

import typer

from fervit.cli import cache, data, demo, doctor
from fervit.cli._quiet import Quiet, add_quiet, set_quiet
from fervit.cli._streams import READER_GONE, guard
from fervit.cli.evaluation import compare, evaluate, robustness
from fervit.cli.inference import benchmark, explain, poker_face, predict, serve, study, webcam
from fervit.cli.sharing import push, weights
from fervit.cli.training import augment, distill, ensemble, export, pretrain, pseudolabel, train, tune
from fervit.errors import FervitError

app = typer.Typer(
    name="fervit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Facial expression recognition with Vision Transformers: train, evaluate honestly, predict fast.",
)
for module in (
    predict,
    study,
    train,
    augment,
    export,
    distill,
    pretrain,
    tune,
    pseudolabel,
    ensemble,
    evaluate,
    compare,
    robustness,
    explain,
    poker_face,
    data,
    cache,
    weights,
    push,
    demo,
    doctor,
    serve,
    webcam,
    benchmark,
):
    module.register(app)
add_quiet(app)


def _version(wanted: bool) -> None:
    if wanted:
        from fervit import __version__

        typer.echo(f"fervit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    set_quiet(quiet)


def main() -> None:
    """Run the command line.

    A user's mistake becomes one line on stderr and exit status 2; a reader of stdout that has gone, as `head` does,
    ends it with status 141.
    """
    guard()
    # What Pillow prints about damaged files would stand beside the one line that says it here.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what is left would be written when nothing can be said about it any more
    except FervitError as error:
        typer.echo(f"fervit: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the reader of a pipe that a file's name stands for
            sys.exit(READER_GONE)
        raise
