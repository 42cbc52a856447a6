"""`--quiet`, which every command takes: results, warnings and errors, but neither progress nor notes."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no notes, only results and errors.")]
_state = {"quiet": False}


def set_quiet(quiet: bool) -> None:
    """Set whether this call of the command line is quiet; every call sets it anew."""
    _state["quiet"] = quiet


def is_quiet() -> bool:
    """Return whether this call of the command line prints no progress and no notes."""
    return _state["quiet"]


def note(text: str) -> None:
    """Print a line on stderr that a user may want but that changes nothing, such as where a file was written."""
    if not _state["quiet"]:
        typer.echo(text, err=True)


def add_quiet(app: typer.Typer) -> None:
    """Give every command of an app, and of the groups in it, the option `--quiet`."""
    for info in app.registered_commands:
        if info.callback is not None:
            info.callback = _with_quiet(info.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_quiet(group.typer_instance)


def _with_quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*arguments: Any, quiet: bool, **options: Any) -> Any:
        set_quiet(quiet or is_quiet())  # `fervit --quiet predict` was set before
        return function(*arguments, **options)

    signature = inspect.signature(function)
    added = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), added])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, "quiet": Quiet}
    return run
