"""One trial of a search: a run of training in a folder of its own, which ends where it diverges or lags behind."""

import logging
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fervit.config.spaces import with_values
from fervit.config.training import TrainConfig
from fervit.data.dataset import Dataset
from fervit.data.mixtures.mixture import Mixture
from fervit.errors import ConfigError, FervitError, reason
from fervit.folders import RUN_FILE
from fervit.training.finetune import RunFigures, train
from fervit.training.run_folder import BEST, CHECKPOINTS, seconds_of

if TYPE_CHECKING:
    from optuna.trial import Trial

MODEL_FILES = ("model.safetensors", "config.json", "preprocessor_config.json", "README.md")
KEYS = {"macro_f1": "macro_f1", "accuracy": "accuracy", "nll": "loss"}  # of the objectives, in a run's figures

logger = logging.getLogger(__name__)


class Diverged(Exception):
    """The loss of a trial is no finite number any more."""


class OutOfTime(Exception):
    """The search's time is over while a trial runs, which can go on later."""


@dataclass(frozen=True)
class Task:
    """What all trials of a search have in common.

    Attributes:
        config: the settings that do not vary, with the starting weights in `init`.
        dataset: what to learn from and to validate on.
        out: the folder of the study.
        objective: what is reported, a key of `KEYS`.
        command: the command line, for `run.json`.
        threads: CPU threads of a trial.
    """

    config: TrainConfig
    dataset: Dataset | Mixture
    out: Path
    objective: str
    command: str
    threads: int | None


class Watch(TrainerCallback):
    """Reports every epoch to the search; ends the run where it diverges, lags behind, or time is over."""

    def __init__(self, trial: "Trial", task: Task, epochs: int, deadline: float | None):
        self.trial, self.key, self.epochs, self.deadline = trial, f"eval_{KEYS[task.objective]}", epochs, deadline
        self.out = folder_of(task.out, trial.number)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """End the run when time is over."""
        if self.deadline is not None and time.time() > self.deadline:
            raise OutOfTime

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """End the run when the loss of the last steps is no number."""
        if logs and not math.isfinite(float(logs.get("loss", 0.0))):
            raise Diverged(f"the loss is {float(logs['loss'])} after {state.global_step} steps")

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: object
    ) -> None:
        """End the run when its weights are no numbers, before they are validated."""
        model = more.get("model")
        if isinstance(model, nn.Module) and not all(bool(one.isfinite().all()) for one in model.parameters()):
            raise Diverged(f"the weights are no finite numbers after epoch {state.epoch or 0:g}")

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Report the figure of an epoch; end the run when it lags behind the others at this epoch."""
        import optuna

        assert metrics is not None
        if not math.isfinite(metrics["eval_loss"]):
            raise Diverged(f"the validation loss is {metrics['eval_loss']} after epoch {metrics['epoch']:g}")
        epoch = round(metrics["epoch"])
        self.trial.set_user_attr("seconds", seconds_of(self.out))
        self.trial.report(metrics[self.key], epoch)
        if epoch < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned(f"behind the other trials after epoch {epoch} of {self.epochs}")


def folder_of(out: Path, number: int) -> Path:
    """Return the folder of a trial's run."""
    return out / "trials" / str(number)


def run_trial(trial: "Trial", task: Task, deadline: float | None) -> float:
    """Train with a trial's settings, or go on where its process was stopped; return the objective.

    The run's figures go to the trial's attributes. The objective is that of the model which the run leaves: calibrated,
    each validation image by a fit to others.

    Raises:
        Diverged: the loss is no number any more.
        OutOfTime: `deadline`, in seconds since the epoch, has passed; the run can go on from its last checkpoint.
        TrialPruned: it lags behind.
        FervitError: these settings cannot be trained with; or the disk is full.
    """
    config = with_values(task.config, trial.params)
    out = folder_of(task.out, trial.number)
    callbacks = [Watch(trial, task, config.epochs, deadline)]
    resume = (out / RUN_FILE).is_file()

    def run(*, resume: bool, overwrite: bool = False) -> RunFigures:
        return train(
            config,
            task.dataset,
            out,
            resume=resume,
            overwrite=overwrite,
            command=task.command,
            callbacks=callbacks,
            threads=task.threads,
        )

    try:
        figures = run(resume=resume)
    except ConfigError as error:
        if not resume or is_fatal(error):
            raise
        logger.warning("trial %d starts anew: %s", trial.number, error)
        figures = run(resume=False, overwrite=True)
    for name in ("accuracy", "macro_f1", "epoch"):
        trial.set_user_attr(name, figures[name])
    trial.set_user_attr("nll", figures["loss"])
    return figures["cross_validated"][KEYS[task.objective]]


def failure_of(error: Exception) -> str | None:
    """Return why a trial failed, in one line; None where the error concerns the whole search."""
    if isinstance(error, Diverged):
        return f"diverged: {error}"
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of GPU memory: {reason(error)}"
    if isinstance(error, FervitError) and not is_fatal(error):
        return " ".join(str(error).split())
    return None


def is_fatal(error: FervitError) -> bool:
    """Return whether an error comes from the system, such as a full disk, and would meet every trial."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return True
        cause = cause.__cause__
    return "the disk is full" in str(error)


def trim(folder: Path, *, keep_model: bool) -> None:
    """Delete what a finished trial no longer needs: its checkpoints, and its model unless it is the best so far."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    if not keep_model:
        shutil.rmtree(folder / BEST, ignore_errors=True)
        for name in MODEL_FILES:
            (folder / name).unlink(missing_ok=True)
