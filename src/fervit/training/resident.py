"""What fine-tuning and pre-training have in common: a `transformers.Trainer` over row numbers that resumes exactly.

Images stay resident on the device as uint8 and are gathered and augmented a batch at a time, so the loader yields
row numbers only. On a CPU every core takes a chunk of each batch.
"""

import csv
import io
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import TrainOutput

from fervit.config.pretraining import PretrainConfig
from fervit.config.training import TrainConfig
from fervit.files import sync_folder
from fervit.models.backbone import fuse_attention
from fervit.models.contract import HasTrainingLoss
from fervit.models.pretrained import quiet_transformers
from fervit.training.parallel import Workers, prepare_for_chunks, workers_for
from fervit.training.run_folder import (
    CHECKPOINTS,
    METRICS_FILE,
    RESUME_FILE,
    SAVING,
    last_checkpoint,
    read_rows,
    write_whole,
)

if TYPE_CHECKING:
    from optuna.trial import Trial

Tensor = torch.Tensor
KEPT = 2  # checkpoints: where the last one is damaged later, a resume costs one epoch more
WEIGHTS, EMA = "weights.", "ema."  # the two groups of tensors in RESUME_FILE
# torch's tests for the instructions that multiply bfloat16; with either of them, a CPU trains faster in bfloat16 than
# in float32 (docs/lab-log.md).
BF16_INSTRUCTIONS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


class Rows(TorchDataset[int]):
    """The numbers of `count` rows."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class ResidentTrainer(Trainer):
    """`transformers.Trainer` over row numbers, with a resume that restores every weight and a row per epoch.

    Attributes:
        workers: the threads that a batch is split over; one for a model whose `training_loss` sees it whole.
        sampler: draws the rows of an epoch, where a subclass has one; None for each of them once, shuffled.
        losses: of the steps of this epoch, which a subclass collects; `epoch_loss` empties it.
        ema: the weight average that is saved and resumed with the weights, where a subclass keeps one.
    """

    model: PreTrainedModel  # transformers types it as possibly None
    ema: list[Tensor] | None = None
    sampler: Sampler[int] | None = None
    _saving_into: str | None = None  # where transformers writes a checkpoint's folder, while it does

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        out: Path,
        callbacks: Sequence[TrainerCallback],
        *,
        count: int,
        eval_count: int = 0,
    ):
        super().__init__(
            model,
            args,
            data_collator=_collate,
            train_dataset=Rows(count),
            eval_dataset=Rows(eval_count) if eval_count else None,
            callbacks=[*callbacks, _tensorboard(out)],
        )
        self.remove_callback(PrinterCallback)  # a library does not print; the command line shows a bar
        fuse_attention(self.model, self.args.device)
        self.out = out
        self.workers = Workers(1)
        if not isinstance(model, HasTrainingLoss):
            prepare_for_chunks(model)
            self.workers = workers_for(model, self.args.device, self.args.per_device_train_batch_size)
        self._epoch_start = time.monotonic()
        self.losses: list[Tensor] = []

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: "Trial | dict[str, Any] | None" = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train as `transformers.Trainer` does, while the worker threads are running."""
        with self.workers:
            return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    def _get_train_sampler(self, train_dataset: TorchDataset[int] | None = None) -> Sampler[int] | None:
        return super()._get_train_sampler(train_dataset) if self.sampler is None else self.sampler

    def fit(self, *, resume: bool) -> None:
        """Train all epochs, or those after the last complete checkpoint, without transformers' own output."""
        with quiet_transformers():
            self.train(resume_from_checkpoint=last_checkpoint(self.out) if resume else None)
        self._delete_earlier()  # where a run was killed before it did so, and resumed behind its last epoch

    def training_step(
        self, model: nn.Module, inputs: dict[str, Tensor], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Compute the gradient of a batch, which is a dictionary of tensors `(N, ...)`; returns its mean loss."""
        if self.workers.count == 1:
            return super().training_step(model, inputs, num_items_in_batch)

        def loss_of(chunk: tuple[Tensor, ...]) -> Tensor:
            return self.loss_and_output(model, dict(zip(inputs, chunk, strict=True)))[0]

        model.train()
        return self.workers.gradients(model, loss_of, tuple(inputs.values()))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Mapping[str, Tensor]]:
        """Return the mean loss of a batch, with the model's output where asked for."""
        loss, output = self.loss_and_output(model, inputs)
        return (loss, output) if return_outputs else loss

    def loss_and_output(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the mean loss and the output of a batch or a chunk of one, in the run's precision."""
        raise NotImplementedError

    def write_row(self, row: Mapping[str, float]) -> None:
        """Add `row` to `metrics.csv` with the step and the seconds since the row before."""
        path, step = self.out / METRICS_FILE, self.state.global_step
        columns = {**row, "step": step, "seconds": round(time.monotonic() - self._epoch_start, 1)}
        self._epoch_start = time.monotonic()
        table = io.StringIO()
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        # A run that was stopped between measuring and saving measures the same step again when it is resumed.
        writer.writerows(past for past in read_rows(self.out) if int(past["step"]) < step)
        writer.writerow(columns)
        write_whole(path, table.getvalue())

    def epoch_loss(self) -> float:
        """Return the mean loss of the steps since the last call; NaN where there was none."""
        loss = torch.stack(self.losses).mean().item() if self.losses else math.nan
        self.losses.clear()
        return loss

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass in the run's precision; accelerate's covers only `model.forward`."""
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16)

    def _save_checkpoint(self, model: nn.Module, trial: "Trial | dict[str, Any] | None") -> None:
        """Write a checkpoint beside the others and rename it when it is on the disk; then delete all but the last two.

        A kill, a power cut or a full disk at any moment leaves those of before as they are.
        """
        checkpoints = self.out / CHECKPOINTS
        checkpoints.mkdir(parents=True, exist_ok=True)
        name = f"checkpoint-{self.state.global_step}"
        with tempfile.TemporaryDirectory(dir=checkpoints, prefix=SAVING) as scratch:
            self._saving_into = scratch
            try:
                self._write_checkpoint(Path(scratch) / name, model, trial)
            finally:
                self._saving_into = None
            sync_folder(Path(scratch) / name)
            if (checkpoints / name).exists():  # one that an earlier version of fervit left cut short
                shutil.rmtree(checkpoints / name)
            (Path(scratch) / name).rename(checkpoints / name)
        sync_folder(checkpoints)
        self._delete_earlier()

    def _delete_earlier(self) -> None:
        """Delete all checkpoints but the last ones."""
        found = (self.out / CHECKPOINTS).glob("checkpoint-[0-9]*")
        numbered = {int(path.name.rsplit("-", 1)[1]): path for path in found}
        for step in sorted(numbered)[:-KEPT]:
            shutil.rmtree(numbered[step])

    def _get_output_dir(self, trial: "Trial | dict[str, Any] | None") -> str:
        return self._saving_into or super()._get_output_dir(trial)

    def _write_checkpoint(self, folder: Path, model: nn.Module, trial: "Trial | dict[str, Any] | None") -> None:
        from safetensors.torch import save_file

        folder.mkdir()
        averages = {f"{EMA}{k}": tensor for k, tensor in enumerate(self.ema or ())}
        tensors = {f"{WEIGHTS}{k}": t for k, t in self.model.state_dict().items()} | averages
        # safetensors files hold tensors without strides, so only contiguous ones can be written.
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / RESUME_FILE)
        super()._save_checkpoint(model, trial)  # into `_saving_into`; writes trainer_state.json last

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        # Not super()'s: it reads the file under the Hub's tensor names, which differ from those that transformers 5
        # has in memory, and skips what does not match without a warning (seen with 5.23).
        from safetensors.torch import load_file

        saved = load_file(Path(resume_from_checkpoint) / RESUME_FILE)
        weights = {name.removeprefix(WEIGHTS): t for name, t in saved.items() if name.startswith(WEIGHTS)}
        self.model.load_state_dict(weights)
        if self.ema is not None:
            self.ema = [saved[f"{EMA}{k}"].to(average.device) for k, average in enumerate(self.ema)]


def trainer_arguments(
    config: TrainConfig | PretrainConfig, out: Path, *, schedule: str, evaluate: bool
) -> TrainingArguments:
    """Translate a run's settings for `transformers.Trainer`; checkpoints are written after every epoch.

    Args:
        config: the run's settings.
        out: its folder.
        schedule: of the learning rate, by transformers' name.
        evaluate: whether to validate after every epoch.
    """
    arguments = TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        max_grad_norm=config.grad_clip,
        warmup_steps=config.warmup,
        bf16=use_bf16(config.precision),
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        lr_scheduler_type=schedule,
        eval_strategy="epoch" if evaluate else "no",
        save_strategy="epoch",
        save_total_limit=None,  # `_save_checkpoint` deletes the earlier ones, when a new one is on the disk
        logging_strategy="steps",
        logging_steps=25,
        logging_nan_inf_filter=False,  # it reads every loss, for which the CPU waits until the GPU has computed it
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        seed=config.seed,
    )
    # More than one GPU would mean DataParallel, which hides what a model has beside `forward` and multiplies the batch.
    if arguments.n_gpu > 1:  # the property must be read first: it counts the GPUs and would replace the 1 below
        arguments._n_gpu = 1
    return arguments


def use_bf16(precision: str) -> bool:
    """Return whether to multiply in bfloat16: where asked for, or on `auto` where the hardware is faster at it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in BF16_INSTRUCTIONS)


def _collate(rows: list[int]) -> dict[str, Tensor | np.ndarray]:
    # accelerate copies tensors to the device and leaves arrays where they are.
    return {"rows": torch.tensor(rows), "host_rows": np.array(rows)}


def _tensorboard(out: Path) -> TrainerCallback:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    build: Callable[[SummaryWriter], TrainerCallback] = TensorBoardCallback
    return build(SummaryWriter(log_dir=str(out / "tensorboard")))
