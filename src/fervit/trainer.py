"""`transformers.Trainer` as fervit trains: pictures resident on the device, soft targets, a weight average."""

import csv
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from fervit.augment import Augmenter, soft_cross_entropy, to_input
from fervit.config import TrainConfig
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError
from fervit.metrics import confusion_matrix, macro_f1, nll, softmax
from fervit.models import save_checkpoint
from fervit.models.vit import add_drop_path
from fervit.optim import at_the_sharpest_near_point, averaged, freeze, parameter_groups
from fervit.run_folder import CHECKPOINTS, write_json
from fervit.targets import class_shares, class_weights
from fervit.types import ModelSpec

Tensor = torch.Tensor
RESUME_FILE, WEIGHTS, EMA = "resume.safetensors", "weights.", "ema."  # a file and its two groups of tensors
EVAL_BATCH = 256


def use_bf16(precision: str) -> bool:
    """Tell whether to multiply in bfloat16: where asked for, or on `auto` where the hardware is faster at it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    has_amx: Callable[[], bool] = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return bool(has_amx())


class _Rows(TorchDataset[int]):
    """Row numbers; the pictures stay resident and are gathered a batch at a time."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


def _collate(rows: list[int]) -> dict[str, Tensor]:
    return {"rows": torch.tensor(rows)}


class FervitTrainer(Trainer):
    """`transformers.Trainer` with resident pictures, soft targets, layer-wise decay and a weight average."""

    model: Any  # transformers types it as possibly None

    def __init__(
        self,
        model: Any,
        config: TrainConfig,
        spec: ModelSpec,
        train_set: Dataset,
        targets: np.ndarray,
        val_set: Dataset,
        out: Path,
        callbacks: list[TrainerCallback],
    ):
        args = training_arguments(config, out)
        super().__init__(
            model,
            args,
            data_collator=_collate,
            train_dataset=_Rows(len(train_set)),
            eval_dataset=_Rows(len(val_set)),
            callbacks=[*callbacks, _tensorboard(out)],
        )
        self.remove_callback(PrinterCallback)  # a library does not print; the command line shows a bar
        self.config, self.spec, self.out = config, spec, out
        self.augmenter = Augmenter(config.augment, spec.preprocess)
        self.low_augmenter = _low_augmenter(model, config, spec)
        device = self.args.device
        self.images = resident(train_set, device)
        self.targets = torch.from_numpy(targets).to(device)
        self.class_weights, self.log_shares = _against_imbalance(train_set, config, device)
        self.val_images = resident(val_set, device)
        self.val_targets = np.asarray(val_set.targets)
        freeze(model, config.frozen_layers)
        if config.drop_path:
            add_drop_path(model, config.drop_path)
        self.ema: list[Tensor] | None = None
        if config.ema_decay:
            self.ema = [tensor.detach().clone() for tensor in averaged(self.model)]
        self.best, self.waited = _read_best(out), 0
        self._epoch_start = time.monotonic()

    # --- the step -----------------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take one batch: augment it, average the weights so far, find the gradient (twice with `sam_rho`)."""
        self._update_average()
        rows = inputs["rows"]
        low = self.low_augmenter is not None and (self.state.epoch or 0) < self.config.low_epochs
        augmenter = self.low_augmenter if low and self.low_augmenter else self.augmenter
        x, targets = augmenter(self.images[rows], self.targets[rows])
        batch = {"x": x, "targets": targets}
        loss: Tensor = super().training_step(model, dict(batch), num_items_in_batch)
        if self.config.sam_rho:
            with at_the_sharpest_near_point(self.model, self.config.sam_rho):
                super().training_step(model, dict(batch), num_items_in_batch)
        return loss

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of one augmented batch: the architecture's own, or cross-entropy with soft targets."""
        x, targets = inputs["x"], inputs["targets"]
        if hasattr(model, "training_loss"):
            loss, logits = model.training_loss(x, targets)
        else:
            logits = model(pixel_values=x, **self._position_arguments(x)).logits.float()
            loss = soft_cross_entropy(logits + self.log_shares, targets * self.class_weights)
        return (loss, {"logits": logits}) if return_outputs else loss

    def _position_arguments(self, x: Tensor) -> dict[str, bool]:
        """Return what makes a ViT interpolate its positions for smaller pictures; a DINOv2 does by itself."""
        small = x.shape[-1] != self.spec.preprocess.image_size
        return {"interpolate_pos_encoding": True} if small and self.spec.arch == "vit" else {}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Build AdamW with a learning rate that falls by `layer_decay` per layer below the head."""
        if self.optimizer is None:
            groups = parameter_groups(self.model, self.config)
            fused = self.args.device.type in ("cuda", "cpu")
            self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, fused=fused)
        return self.optimizer

    def _update_average(self) -> None:
        """Move the weight average toward the weights that the last optimizer step left."""
        if self.ema is not None and self.state.global_step:
            # a short memory first: the average must not remember the random head
            decay = min(self.config.ema_decay, self.state.global_step / (self.state.global_step + 10))
            torch._foreach_lerp_(self.ema, [tensor.detach() for tensor in averaged(self.model)], 1 - decay)

    # --- validation ---------------------------------------------------------------------------------------

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the (averaged) weights on the validation split and keep them when they are the best so far."""
        self._swap_ema()
        try:
            logits = self.predict_logits(self.val_images)
            figures = figures_of(logits, self.val_targets)
            metrics = {f"eval_{name}": value for name, value in figures.items()}
            metrics["epoch"] = round(self.state.epoch or 0.0, 3)
            better = figures["accuracy"] > self.best
            if better:
                self.best = figures["accuracy"]
                save_checkpoint(self.model, self.spec, self.out / "best")
                write_json(self.out / "best" / "figures.json", figures | {"epoch": metrics["epoch"]})
        finally:
            self._swap_ema()
        self._write_row(metrics)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._count_patience(better)
        return metrics

    @torch.inference_mode()
    def predict_logits(self, images: Tensor) -> np.ndarray:
        """Return `(N, K)` float32 logits of resident uint8 pictures, without augmentation."""
        self.model.eval()
        parts = []
        for start in range(0, len(images), EVAL_BATCH):
            x = to_input(images[start : start + EVAL_BATCH], self.spec.preprocess)
            with self.compute_loss_context_manager():
                parts.append(self.model(pixel_values=x).logits.float().cpu())
        self.model.train()
        return torch.cat(parts).numpy()

    def _swap_ema(self) -> None:
        if self.ema is None:
            return
        for average, tensor in zip(self.ema, averaged(self.model), strict=True):
            kept = tensor.data.clone()
            tensor.data.copy_(average)
            average.copy_(kept)

    def _count_patience(self, better: bool) -> None:
        self.waited = 0 if better else self.waited + 1
        if self.config.patience and self.waited >= self.config.patience:
            self.control.should_training_stop = True

    def _write_row(self, metrics: dict[str, float]) -> None:
        path = self.out / "metrics.csv"
        losses = [entry["loss"] for entry in self.state.log_history if "loss" in entry]
        row = {
            "epoch": metrics["epoch"],
            "step": self.state.global_step,
            "train_loss": round(losses[-1], 5) if losses else "",
            **{name: round(value, 5) for name, value in metrics.items() if name.startswith("eval_")},
            "seconds": round(time.monotonic() - self._epoch_start, 1),
        }
        self._epoch_start = time.monotonic()
        earlier = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            # a run that was cut between measuring and saving comes here twice
            writer.writerows(past for past in earlier if int(past["step"]) < self.state.global_step)
            writer.writerow(row)

    # --- saving -------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        from safetensors.torch import save_file

        folder = self.out / CHECKPOINTS / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        averages = {f"{EMA}{k}": tensor for k, tensor in enumerate(self.ema or ())}
        save_file({f"{WEIGHTS}{k}": t for k, t in self.model.state_dict().items()} | averages, folder / RESUME_FILE)
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


def training_arguments(config: TrainConfig, out: Path) -> TrainingArguments:
    """Translate a `TrainConfig` for `transformers.Trainer`."""
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        max_grad_norm=config.grad_clip,
        warmup_steps=config.warmup,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(config.schedule, config.schedule),
        bf16=use_bf16(config.precision),
        use_cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        logging_strategy="steps",
        logging_steps=25,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        seed=config.seed,
    )


def _low_augmenter(model: Any, config: TrainConfig, spec: ModelSpec) -> Augmenter | None:
    """Return what draws the first, smaller pictures of progressive resolution, or None."""
    if not (config.low_size and config.low_epochs):
        return None
    if spec.arch not in ("vit", "dinov2"):
        raise ConfigError(f"low_size needs positions that can be interpolated (arch vit), and this is a {spec.arch}")
    if config.low_size % model.config.patch_size:
        raise ConfigError(f"low_size {config.low_size} is no multiple of the patch size {model.config.patch_size}")
    return Augmenter(config.augment, dataclasses.replace(spec.preprocess, image_size=config.low_size))


def _against_imbalance(train_set: Dataset, config: TrainConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the `(K,)` loss weights and the `(K,)` offset of the logits while training; 1 and 0 where off."""
    classes = len(train_set.labels)
    weights = class_weights(train_set.targets, classes, config.class_balance)
    # Menon et al. 2021, arXiv 2007.07314, eq. 10: the model need not learn what the class shares tell already
    offset = config.logit_adjust * np.log(class_shares(train_set.targets, classes))
    return tuple(torch.from_numpy(v.astype(np.float32)).to(device) for v in (weights, offset))  # type: ignore[return-value]


def resident(dataset: Dataset, device: torch.device) -> Tensor:
    """Copy the pictures to the device as `(N, C, H, W)` uint8."""
    return torch.from_numpy(np.array(dataset.images)).permute(0, 3, 1, 2).contiguous().to(device)


def _tensorboard(out: Path) -> TrainerCallback:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    build: Any = TensorBoardCallback
    callback: TrainerCallback = build(SummaryWriter(log_dir=str(out / "tensorboard")))
    return callback


def _read_best(out: Path) -> float:
    path = out / "best" / "figures.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["accuracy"]) if path.is_file() else -math.inf


def figures_of(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return accuracy, macro-F1 and loss of `(N, K)` logits."""
    predicted = logits.argmax(axis=1)
    return {
        "accuracy": float((predicted == targets).mean()),
        "macro_f1": float(macro_f1(confusion_matrix(targets, predicted, logits.shape[1]))),
        "loss": nll(softmax(logits), targets),
    }
