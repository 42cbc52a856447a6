"""What `train`, `distill` and `demo` do alike: the cheap checks before a run, and the text after it."""

from pathlib import Path
from typing import TYPE_CHECKING

from fervit.cli._shared import require_torch

if TYPE_CHECKING:
    from fervit.config import TrainConfig
    from fervit.data import Dataset
    from fervit.training.finetune import RunFigures


def find_inputs(
    config: "TrainConfig", data: str, *, votes: Path | None, init: str | None
) -> "tuple[Dataset, str | Path]":
    """Load the data and find the starting weights, so that a mistake in them is reported before PyTorch is imported.

    Its import, which the progress bar needs, takes seconds.
    """
    from fervit.api import loaded
    from fervit.inference.model_files import check_starting_weights, starting_weights

    require_torch("training")
    dataset = loaded(data, votes=votes)
    weights = starting_weights(init or config.init)
    check_starting_weights(weights)
    return dataset, weights


def as_text(figures: "RunFigures", out: Path) -> str:
    """Return what a command prints of a finished run."""
    return (
        f"best epoch {figures['epoch']:g}: public_test accuracy {100 * figures['accuracy']:.2f} %, "
        f"macro-F1 {figures['macro_f1']:.3f} (n = {figures['n']})\nmodel folder: {out}"
    )
