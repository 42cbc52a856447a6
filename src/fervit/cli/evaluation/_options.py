"""Options that the commands that measure models have in common."""

from typing import Annotated

import typer

Json = Annotated[str | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object; - is stdout.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Faces classified at once.")]
