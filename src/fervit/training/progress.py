"""A progress bar, for `RunOptions.callbacks`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressBar(TrainerCallback):
    """Shows steps and loss; prints the validation figures of every epoch, or its loss where that is all.

    A context, so that the terminal is in order again also after an error or Ctrl-C.

    Args:
        epochs: of the run.
        progress: rich's bar to show it in, whose tasks have a field `note`.
        what: the bar's title.
        seeds: also print the seed of every run that starts.
    """

    def __init__(self, epochs: int, progress: "Progress", what: str = "training", *, seeds: bool = False):
        self.epochs, self.what, self.seeds = epochs, what, seeds
        self.progress = progress
        self.task = self.progress.add_task(what, total=None, note="")

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress.live.is_started:
            self.progress.stop()

    def on_prediction(self, done: int, total: int) -> None:
        """Show how many faces a teacher has predicted."""
        self.progress.update(self.task, description="predicting with the teacher", completed=done, total=total)
        self.progress.start()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the bar where the run starts, or where it was resumed."""
        self.progress.update(self.task, description=self.what, total=state.max_steps, completed=state.global_step)
        self.progress.start()
        if self.seeds:
            self.progress.console.print(f"seed {args.seed}")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Move the bar."""
        self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Show the loss of the last steps; print that of an epoch of pre-training."""
        if logs and "loss" in logs:
            self.progress.update(self.task, note=f"loss {float(logs['loss']):.3f}")
        if logs and "epoch_loss" in logs:
            self.progress.console.print(f"epoch {state.epoch:g}/{self.epochs}: loss {logs['epoch_loss']:.4f}")

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Print the validation figures of an epoch."""
        if metrics is not None:
            each = [(key.split(":", 1)[1], value) for key, value in metrics.items() if key.startswith("eval_accuracy:")]
            parts = "".join(f"; {name} {100 * accuracy:.2f} %" for name, accuracy in each)
            self.progress.console.print(
                f"epoch {metrics['epoch']:g}/{self.epochs}: public_test accuracy "
                f"{100 * metrics['eval_accuracy']:.2f} %, macro-F1 {metrics['eval_macro_f1']:.3f}, "
                f"loss {metrics['eval_loss']:.3f}{parts}",
                markup=False,
            )
