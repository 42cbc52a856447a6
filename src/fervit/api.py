"""What the command line does, as functions: they take paths and names as well as opened models and data sets.

`fervit.evaluate`, `fervit.compare` and the others are these; heavy packages are imported when a function needs them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fervit.data import Dataset
    from fervit.types import Classifier


def opened(model: "str | Path | Classifier | None", *, threads: int | None = None) -> "Classifier":
    """Return a classifier as it is, or open one by name, file or folder; None is the default model."""
    if model is None or isinstance(model, str | Path):
        from fervit.inference.loading import open_classifier

        return open_classifier(model, threads=threads)
    return model


def loaded(data: "str | Path | Dataset", *, votes: str | Path | None = None) -> "Dataset":
    """Return a data set as it is, or load one; `votes` are FER+ votes to join."""
    if isinstance(data, str | Path):
        from fervit.data import load

        return load(data, votes=votes)
    return data
