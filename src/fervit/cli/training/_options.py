"""Options that several commands of training take."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="Folder for the run; becomes a Hugging Face model folder.", show_default=False)]
Init = Annotated[
    str | None,
    typer.Option(help="Starting weights: Hub id, model folder, safetensors file, `shipped`, or `scratch`."),
]
Votes = Annotated[Path | None, typer.Option(help="FER+ votes to learn from (csv or parquet).")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a recipe's value: key=value. May be repeated.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete the run in --out first.")]
