"""How a run is carried out: its folder, its record, its callbacks. What it learns is set by `fervit.config`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from transformers import TrainerCallback


@dataclass(frozen=True)
class RunOptions:
    """How a run of training or pre-training is carried out; nothing here is meant to change what it learns.

    Attributes:
        resume: go on with the run in the folder, from its last checkpoint.
        overwrite: delete the run in the folder first.
        command: the command line, for `run.json` and the model card.
        callbacks: of `transformers.Trainer`, such as a progress bar.
        threads: CPU threads while it runs; None leaves PyTorch's setting.
        progress: called with the numbers of images done and of all while a teacher predicts, before the first epoch.
    """

    resume: bool = False
    overwrite: bool = False
    command: str = ""
    callbacks: Sequence[TrainerCallback] = ()
    threads: int | None = None
    progress: Callable[[int, int], None] | None = None


class RunKeywords(TypedDict, total=False):
    """`RunOptions` as keywords of a function."""

    resume: bool
    overwrite: bool
    command: str
    callbacks: Sequence[TrainerCallback]
    threads: int | None
    progress: Callable[[int, int], None] | None
