"""`fervit augment`."""

from pathlib import Path
from typing import Annotated

import typer

from fervit.cli._shared import DropLabels, LabelMap, Splits, require_torch
from fervit.cli.training._options import Settings


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(augment)


def augment(
    out: Annotated[Path, typer.Option(help="The image to write: .png, .jpg or another suffix that Pillow knows.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe (`fervit recipes`), or a .toml file.")] = "paper",
    data: Annotated[
        str | None,
        typer.Option(
            help="Faces to draw, from the train split: a file, a folder, a Hub id, or synthetic[:N]; default: "
            "synthetic faces of 100 px, in colour."
        ),
    ] = None,
    columns: Annotated[int, typer.Option(min=1, max=100, help="Faces, a column each.")] = 8,
    size: Annotated[
        int | None, typer.Option(min=16, max=1024, help="Side of each image in px; default: the recipe's image_size.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is random.")] = 0,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    set_: Settings = None,
) -> None:
    """Draw what a recipe's augmentation does to faces: a row for each change, and one for all together."""
    from fervit.config.training import load_config
    from fervit.errors import DataError

    config = load_config(recipe, set_ or ())  # first: a misspelt key should not wait for torch
    require_torch("augmentation")
    from fervit.api import loaded
    from fervit.data.synthetic.dataset import synthesize
    from fervit.training.degradation.preview import augmentation_sheet, tinted

    if data is None:
        images = tinted(synthesize(columns, seed=seed, size_px=100))
    else:
        images = (
            loaded(data, label_map=label_map, drop_labels=drop_labels, splits=splits).split("train").images[:columns]
        )
    sheet = augmentation_sheet(config.augment, images, size_px=size or config.image_size, seed=seed)
    try:
        sheet.save(out)
    except (OSError, ValueError) as error:  # ValueError: a suffix that Pillow does not support
        raise DataError(f"cannot write {out} ({error})") from error
    typer.echo(f"{out}: {len(images)} faces, augmented by {recipe}")
