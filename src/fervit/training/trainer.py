"""`transformers.Trainer` as fervit trains: pictures resident on the device, soft targets, a weight average."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import TrainerCallback

from fervit.config.training import TrainConfig
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError
from fervit.evaluation.metrics import confusion_matrix, macro_f1, nll
from fervit.models import save_checkpoint
from fervit.models.backbone import layers_of
from fervit.models.inputs import to_input
from fervit.models.losses import soft_cross_entropy
from fervit.probabilities import softmax
from fervit.training.augment import Augmenter
from fervit.training.dropping import add_drop_path, add_patch_drop
from fervit.training.optim import at_the_sharpest_near_point, averaged, freeze, parameter_groups
from fervit.training.resident import ResidentTrainer, read_rows, resident, trainer_arguments
from fervit.training.run_folder import write_json
from fervit.training.targets import class_shares, class_weights
from fervit.training.teachers import LiveTeacher
from fervit.types import ModelSpec

Tensor = torch.Tensor
EVAL_BATCH = 256


class FervitTrainer(ResidentTrainer):
    """`transformers.Trainer` with resident pictures, soft targets, layer-wise decay and a weight average."""

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
        teacher: LiveTeacher | None = None,
    ):
        schedule = {"constant": "constant_with_warmup"}.get(config.schedule, config.schedule)
        args = trainer_arguments(config, out, lr_scheduler_type=schedule, eval_strategy="epoch")
        super().__init__(model, args, out, callbacks, count=len(train_set), eval_count=len(val_set))
        self.config, self.spec = config, spec
        self.augmenter = Augmenter(config.augment, spec.preprocess)
        self.low_augmenter = _low_augmenter(config, spec)
        device = self.args.device
        self.images = resident(train_set, device)
        self.targets = torch.from_numpy(targets).to(device)
        self.teacher = None if teacher is None else teacher.to(device)
        self.class_weights, self.log_shares = _against_imbalance(train_set, config, device)
        self.val_images = resident(val_set, device)
        self.val_targets = np.asarray(val_set.targets)
        freeze(model, config.frozen_layers)
        if config.drop_path:
            add_drop_path(model, config.drop_path)
        if config.patch_drop:
            add_patch_drop(model, config.patch_drop)
        if config.ema_decay:
            self.ema = [tensor.detach().clone() for tensor in averaged(self.model)]
        self.best = _read_best(out)

    # --- the step -----------------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Take one batch: augment it, average the weights so far, find the gradient (twice with `sam_rho`)."""
        self._update_average()
        rows = inputs["rows"]
        low = self.low_augmenter if (self.state.epoch or 0) < self.config.low_epochs else None
        augmenter = low or self.augmenter
        x, targets = augmenter(self.images[rows], self.targets[rows])
        if self.teacher is not None:
            with self.autocast():
                targets = targets.lerp(self.teacher(x, self.spec.preprocess), self.config.teacher_weight)
        batch = {"x": x, "targets": targets}
        loss = super().training_step(model, dict(batch), num_items_in_batch)
        if self.config.sam_rho:
            with at_the_sharpest_near_point(self.model, self.config.sam_rho):
                super().training_step(model, dict(batch), num_items_in_batch)
        self.losses.append(loss.detach())
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
        with self.autocast():
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
            if figures["accuracy"] > self.best:
                self.best = figures["accuracy"]
                save_checkpoint(self.model, self.spec, self.out / "best")
                write_json(self.out / "best" / "figures.json", figures | {"epoch": metrics["epoch"]})
        finally:
            self._swap_ema()
        figures_row = {name: round(value, 5) for name, value in metrics.items() if name.startswith("eval_")}
        self.write_row({"epoch": metrics["epoch"], "train_loss": round(self.epoch_loss(), 5)} | figures_row)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.out_of_patience():
            self.control.should_training_stop = True
        return metrics

    def out_of_patience(self) -> bool:
        """Tell whether the last `patience` epochs, those before a resume included, brought no better one."""
        accuracies = [float(row["eval_accuracy"]) for row in read_rows(self.out)]
        waited = len(accuracies) - 1 - accuracies.index(max(accuracies)) if accuracies else 0
        return bool(self.config.patience) and waited >= self.config.patience

    def predict_logits(self, images: Tensor) -> np.ndarray:
        """Return `(N, K)` float32 logits of resident uint8 pictures, without augmentation."""

        def logits_of(part: Tensor) -> Tensor:
            with torch.inference_mode(), self.autocast():
                logits: Tensor = self.model(pixel_values=to_input(part, self.spec.preprocess)).logits.float().cpu()
            return logits

        self.model.eval()
        parts = self.workers.map(logits_of, torch.split(images, EVAL_BATCH))
        self.model.train()
        return torch.cat(parts).numpy()

    def _swap_ema(self) -> None:
        if self.ema is None:
            return
        for average, tensor in zip(self.ema, averaged(self.model), strict=True):
            kept = tensor.data.clone()
            tensor.data.copy_(average)
            average.copy_(kept)


def check_fits(model: Any, config: TrainConfig, spec: ModelSpec) -> None:
    """Refuse settings that the model cannot be trained with.

    Raises:
        ConfigError: a loss of its own knows no class weights, all layers would be frozen or frozen ones would still
            change, no patches can be left out, or the pictures of `low_size` do not fit.
    """
    if hasattr(model, "training_loss") and (config.class_balance or config.logit_adjust):
        raise ConfigError(f"{spec.arch} has a loss of its own, which knows no class_balance or logit_adjust")
    if config.frozen_layers > (depth := len(layers_of(model))):
        raise ConfigError(f"frozen_layers must be at most {depth}, the model's layers; got {config.frozen_layers}")
    if config.frozen_layers and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise ConfigError(f"frozen_layers must be 0 for a {spec.arch}: the statistics of its batch norms go on moving")
    if config.patch_drop and spec.arch not in ("vit", "dinov2", "vit_se"):
        raise ConfigError(f"patch_drop leaves out patches of a plain ViT (arch vit, vit_se), and this is a {spec.arch}")
    if config.low_size and config.low_epochs:
        if spec.arch not in ("vit", "dinov2"):
            raise ConfigError(
                f"low_size needs positions that can be interpolated (arch vit), and this is a {spec.arch}"
            )
        if config.low_size % model.config.patch_size:
            raise ConfigError(f"low_size {config.low_size} is no multiple of the patch size {model.config.patch_size}")


def _low_augmenter(config: TrainConfig, spec: ModelSpec) -> Augmenter | None:
    """Return what draws the first, smaller pictures of progressive resolution, or None."""
    if not (config.low_size and config.low_epochs):
        return None
    return Augmenter(config.augment, dataclasses.replace(spec.preprocess, image_size=config.low_size))


def _against_imbalance(train_set: Dataset, config: TrainConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the `(K,)` loss weights and the `(K,)` offset of the logits while training; 1 and 0 where off."""
    classes = len(train_set.labels)
    weights = class_weights(train_set.targets, classes, config.class_balance)
    # Menon et al. 2021, arXiv 2007.07314, eq. 10: the model need not learn what the class shares tell already
    offset = config.logit_adjust * np.log(class_shares(train_set.targets, classes))
    return tuple(torch.from_numpy(v.astype(np.float32)).to(device) for v in (weights, offset))  # type: ignore[return-value]


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
