"""`fervit doctor`: what is installed, and whether it works."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import STDOUT, check_target, write_json

if TYPE_CHECKING:
    from fervit.api.diagnosis import Diagnosis

UNHEALTHY = 1  # the exit code


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(doctor)


def doctor(
    json: Annotated[str | None, typer.Option(metavar="FILE|-", help="Write it as JSON; - is the terminal.")] = None,
) -> None:
    """Show what is installed and whether it works, for yourself or a bug report; downloads nothing.

    Versions, runtimes, devices, models, extras with the command that brings them, caches and settings. The exit code
    is 1 where something that fervit needs is broken, else 0.
    """
    from fervit.api.diagnosis import doctor as examine

    check_target("--json", json)
    found = examine()
    if json is not None:
        write_json(json, found.to_dict())
    if json != STDOUT:
        typer.echo(as_text(found))
    if not found.healthy:
        raise typer.Exit(UNHEALTHY)


def as_text(found: "Diagnosis") -> str:
    """Return what the command prints: a line a check, by group, and the verdict at the end."""
    return "\n".join([*_lines(found), "", _verdict(found)])


def _lines(found: "Diagnosis") -> Iterator[str]:
    width = max(len(check.name) for check in found.checks)
    for number, (group, checks) in enumerate(groupby(found.checks, key=lambda check: check.group)):
        yield from ["", group] if number else [group]
        for check in checks:
            yield f"  {check.state:<7}  {check.name:<{width}}  {check.found}"
            if check.remedy:
                yield f"  {'':<7}  {'':<{width}}  -> {check.remedy}"


def _verdict(found: "Diagnosis") -> str:
    from fervit.api.diagnosis import BROKEN, WARNING

    broken, odd = (", ".join(check.name for check in found.of_state(state)) for state in (BROKEN, WARNING))
    if broken:
        return f"fervit {found.fervit} cannot work here: {broken}"
    return f"fervit {found.fervit} works here{f'; see the warnings: {odd}' if odd else ''}"
