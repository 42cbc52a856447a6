"""Options that the commands that measure models have in common."""

from pathlib import Path
from typing import Annotated

import typer

SPLITS = (
    "train, public_test, private_test or all. Default: public_test; of a data set that names no split and that no "
    "model here was trained on, all images; of one with a single split, that one. Choose models and settings on "
    "public_test; read private_test once, at the end."
)

Json = Annotated[str | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object; - is stdout.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Faces classified at once.")]
Split = Annotated[str | None, typer.Option(help=SPLITS, show_default=False)]
StrictLabels = Annotated[
    bool,
    typer.Option(
        "--strict-labels",
        help="Refuse images whose label a model does not know; without it they are left out, and counted.",
    ),
]
DataSets = Annotated[
    list[str],
    typer.Option(
        "--data", help="Data set: a file, a folder, a Hub id, or synthetic[:N]. May be repeated.", show_default=False
    ),
]
Table = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Write the table of models and data sets as Markdown, LaTeX or CSV: a name that ends in .md, .tex or "
        ".csv. May be repeated.",
    ),
]
