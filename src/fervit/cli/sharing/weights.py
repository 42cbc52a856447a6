"""`fervit weights`: the models that are released under a name, listed and fetched."""

from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import listing_group
from fervit.errors import ModelError, unknown
from fervit.formatting import file_size, text_table

if TYPE_CHECKING:
    from fervit.weights.registry import ReleasedModel


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    group = listing_group(list_, "List or fetch the models that are released under a name; see docs/hub.md.")
    group.command("list")(list_)
    group.command()(fetch)
    app.add_typer(group, name="weights")


def list_() -> None:
    """Show name, size, licence and accuracy of each released model, and whether it is here already."""
    from fervit.weights.named import find_released, released_models

    rows = [_row(model, find_released(model.name, fetch=False) is not None) for model in released_models()]
    typer.echo(text_table(("name", "architecture", "licence", "public", "private", "size", "here"), rows, left=3))
    typer.echo("\npublic, private: accuracy on FER2013's public_test and private_test in %")


def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Models to fetch, as `list` names them.")],
) -> None:
    """Fetch models into the cache, compare them with their SHA-256, and print where they are."""
    from fervit.weights.named import find_released, released_names

    known = released_names()
    for name in names:
        if name not in known:
            raise ModelError(unknown("model", name, known))
    for name in names:
        typer.echo(f"{name}: {find_released(name)}")


def _row(model: "ReleasedModel", here: bool) -> tuple[str, ...]:
    figures = [model.figures.get(split) for split in ("public_test", "private_test")]
    shown = ["-" if value is None else f"{100 * value:.2f}" for value in figures]
    return (model.name, model.arch, model.licence, *shown, file_size(model.size), "yes" if here else "no")
