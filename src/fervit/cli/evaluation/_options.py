"""Options that the commands that measure models have in common."""

from typing import Annotated

import typer

Data = Annotated[str, typer.Option(help="Data set: a file, a folder, a Hub id, or synthetic[:N].", show_default=False)]
Json = Annotated[str | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object; - is stdout.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Faces classified at once.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")]
