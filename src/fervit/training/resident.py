"""What fine-tuning and pre-training share: a `transformers.Trainer` over row numbers that resumes exactly.

Pictures stay resident on the device as uint8 and are gathered and augmented a batch at a time, so the loader yields
row numbers only. On a CPU every core takes a share of each batch.
"""

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from fervit.data.dataset import Dataset
from fervit.models.backbone import fuse_attention
from fervit.training.parallel import Workers, share_out, workers_for
from fervit.training.run_folder import CHECKPOINTS, write_whole

Tensor = torch.Tensor
RESUME_FILE, WEIGHTS, EMA = "resume.safetensors", "weights.", "ema."  # a file and its two groups of tensors
METRICS_FILE = "metrics.csv"
# torch's names for what CPUs multiply bfloat16 with; by either, training is faster than in float32 (docs/lab-log.md).
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
        workers: the cores that a batch is shared out to; one for a model whose `training_loss` sees it whole.
        losses: of the steps of this epoch, which a subclass collects; `epoch_loss` empties it.
        ema: the weight average that is saved and resumed with the weights, where a subclass keeps one.
    """

    model: Any  # transformers types it as possibly None
    ema: list[Tensor] | None = None

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        out: Path,
        callbacks: list[TrainerCallback],
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
        if not hasattr(model, "training_loss"):
            share_out(model)
            self.workers = workers_for(model, self.args.device, self.args.per_device_train_batch_size)
        self._epoch_start = time.monotonic()
        self.losses: list[Tensor] = []

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `transformers.Trainer` does, with the workers at hand."""
        with self.workers:
            return super().train(*args, **kwargs)

    def training_step(self, model: Any, inputs: dict[str, Tensor], num_items_in_batch: Any = None) -> Tensor:
        """Find the gradient of a batch, which is a dictionary of tensors `(N, ...)`; returns its mean loss."""
        if self.workers.count == 1:
            loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
            return loss

        def loss_of(share: tuple[Tensor, ...]) -> Tensor:
            mean: Any = self.compute_loss(model, dict(zip(inputs, share, strict=True)))
            return torch.as_tensor(mean)

        model.train()
        return self.workers.gradients(model, loss_of, tuple(inputs.values()))

    def write_row(self, row: Mapping[str, Any]) -> None:
        """Add `row` to `metrics.csv` with the step and the seconds since the row before."""
        path, step = self.out / METRICS_FILE, self.state.global_step
        row = {**row, "step": step, "seconds": round(time.monotonic() - self._epoch_start, 1)}
        self._epoch_start = time.monotonic()
        table = io.StringIO()
        writer = csv.DictWriter(table, row)
        writer.writeheader()
        # a run that was cut between measuring and saving comes here twice
        writer.writerows(past for past in read_rows(self.out) if int(past["step"]) < step)
        writer.writerow(row)
        write_whole(path, table.getvalue())

    def epoch_loss(self) -> float:
        """Return the mean loss of the steps since it was last asked for; NaN where there was none."""
        loss = torch.stack(self.losses).mean().item() if self.losses else math.nan
        self.losses.clear()
        return loss

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass in the run's precision; accelerate's knows only `model.forward`."""
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        from safetensors.torch import save_file

        folder = self.out / CHECKPOINTS / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        averages = {f"{EMA}{k}": tensor for k, tensor in enumerate(self.ema or ())}
        tensors = {f"{WEIGHTS}{k}": t for k, t in self.model.state_dict().items()} | averages
        # as a file has them, which knows no order of the axes in memory
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / RESUME_FILE)
        super()._save_checkpoint(model, trial)  # writes trainer_state.json last: the mark of completeness

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # Not super()'s: it reads the file under the Hub's tensor names, which transformers 5 differs from in
        # memory, and skips what does not match without a word (seen with 5.23).
        from safetensors.torch import load_file

        saved = load_file(Path(resume_from_checkpoint) / RESUME_FILE)
        weights = {name.removeprefix(WEIGHTS): t for name, t in saved.items() if name.startswith(WEIGHTS)}
        self.model.load_state_dict(weights)
        if self.ema is not None:
            self.ema = [saved[f"{EMA}{k}"].to(average.device) for k, average in enumerate(self.ema)]


def read_rows(out: Path) -> list[dict[str, str]]:
    """Return the rows of a run's `metrics.csv`; none before its first epoch."""
    path = out / METRICS_FILE
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def seconds_of(out: Path) -> float:
    """Return how long a run's epochs took, those before it was resumed included."""
    return round(sum(float(row["seconds"]) for row in read_rows(out)), 1)


def trainer_arguments(config: Any, out: Path, **others: Any) -> TrainingArguments:
    """Translate a run's settings for `transformers.Trainer`; checkpoints are written after every epoch.

    `config` is a dataclass with `epochs`, `batch_size`, `lr`, `weight_decay`, `grad_clip`, `warmup`, `precision` and
    `seed`; `others` are arguments of `TrainingArguments`.
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
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=25,
        logging_nan_inf_filter=False,  # it looks at every loss, and a GPU waits for that
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        seed=config.seed,
        **others,
    )
    if arguments.n_gpu > 1:  # read once, or it is counted anew
        arguments._n_gpu = 1  # no DataParallel: it hides what a model has beside `forward`, and multiplies the batch
    return arguments


def resident(dataset: Dataset, device: torch.device) -> Tensor:
    """Copy the pictures to the device as `(N, C, H, W)` uint8."""
    return torch.from_numpy(np.array(dataset.images)).permute(0, 3, 1, 2).contiguous().to(device)


def use_bf16(precision: str) -> bool:
    """Tell whether to multiply in bfloat16: where asked for, or on `auto` where the hardware is faster at it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in BF16_INSTRUCTIONS)


def _collate(rows: list[int]) -> dict[str, Tensor]:
    return {"rows": torch.tensor(rows)}


def _tensorboard(out: Path) -> TrainerCallback:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    build: Any = TensorBoardCallback
    callback: TrainerCallback = build(SummaryWriter(log_dir=str(out / "tensorboard")))
    return callback
