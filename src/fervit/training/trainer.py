"""`transformers.Trainer` as fervit trains: images resident on the device, soft targets, a weight average."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import Dinov2Config, PreTrainedModel, TrainerCallback, ViTConfig

from fervit.config.training import TrainConfig
from fervit.data.mixtures.mixture import Mixture
from fervit.errors import ConfigError
from fervit.files import replacing_folder
from fervit.models import save_checkpoint
from fervit.models.backbone import layers_of
from fervit.models.contract import HasTrainingLoss
from fervit.models.inputs import to_input
from fervit.models.losses import soft_cross_entropy
from fervit.training.augment import Augmenter
from fervit.training.dropping import add_drop_path, add_patch_drop
from fervit.training.mixed.data import TrainingData
from fervit.training.mixed.images import ResidentImages
from fervit.training.mixed.sampler import sampler_for
from fervit.training.mixed.validation import columns_of, mixed_figures, score_of
from fervit.training.optim import averaged, freeze, parameter_groups, sam_perturbation
from fervit.training.resident import ResidentTrainer, trainer_arguments
from fervit.training.run_folder import BEST, read_rows, write_json
from fervit.training.targets import class_frequencies, class_weights
from fervit.types import ModelSpec

Tensor = torch.Tensor
EVAL_BATCH = 256


class FervitTrainer(ResidentTrainer):
    """`transformers.Trainer` with resident images, soft targets, layer-wise decay and a weight average."""

    def __init__(
        self,
        model: PreTrainedModel,
        config: TrainConfig,
        spec: ModelSpec,
        data: TrainingData,
        out: Path,
        callbacks: Sequence[TrainerCallback] = (),
    ):
        schedule = {"constant": "constant_with_warmup"}.get(config.schedule, config.schedule)
        args = trainer_arguments(config, out, schedule=schedule, evaluate=True)
        super().__init__(model, args, out, callbacks, count=len(data.train), eval_count=len(data.validation))
        self.sampler = sampler_for(data.train, config.class_sampling, seed=config.seed)
        self.config, self.spec = config, spec
        self.augmenter = Augmenter(config.augment, spec.preprocess)
        self.low_augmenter = _low_augmenter(config, spec)
        device = self.args.device
        self.images = ResidentImages(data.train.parts, device)
        self.targets = torch.from_numpy(data.targets).to(device)
        self.teacher = None if data.teacher is None else data.teacher.to(device)
        self.class_weights, self.logit_offset = _against_imbalance(data.train, config, device)
        self.val_images = ResidentImages(data.validation.parts, device)
        self.validation = data.validation
        freeze(model, config.frozen_layers)
        if config.drop_path:
            add_drop_path(model, config.drop_path)
        if config.patch_drop:
            add_patch_drop(model, config.patch_drop)
        if config.ema_decay:
            self.ema = [tensor.detach().clone() for tensor in averaged(self.model)]
        self.best = _read_best(out)

    # --- the step -----------------------------------------------------------------------------------------

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Take one batch: average the weights so far, augment it, compute the gradient (twice with `sam_rho`)."""
        self._update_average()
        rows = inputs["rows"]
        low = self.low_augmenter if (self.state.epoch or 0) < self.config.low_epochs else None
        augmenter = low or self.augmenter
        x, targets = augmenter.finish(self.images.placed(inputs["host_rows"], augmenter), self.targets[rows])
        if self.teacher is not None:
            with self.autocast():
                targets = targets.lerp(self.teacher(x, self.spec.preprocess), self.config.teacher_weight)
        batch = {"x": x, "targets": targets}
        loss = super().training_step(model, dict(batch), num_items_in_batch)
        if self.config.sam_rho:
            with sam_perturbation(self.model, self.config.sam_rho):
                super().training_step(model, dict(batch), num_items_in_batch)
        self.losses.append(loss.detach())
        return loss

    def loss_and_output(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of augmented images (the architecture's own, or cross-entropy) and their logits."""
        x, targets = inputs["x"], inputs["targets"]
        with self.autocast():
            if isinstance(model, HasTrainingLoss):
                loss, logits = model.training_loss(x, targets)
            else:
                logits = model(pixel_values=x, **self._position_arguments(x)).logits.float()
                loss = soft_cross_entropy(logits + self.logit_offset, targets * self.class_weights)
        return loss, {"logits": logits}

    def _position_arguments(self, x: Tensor) -> dict[str, bool]:
        """Return what makes a ViT interpolate its positions for smaller images; a DINOv2 does by itself."""
        small = x.shape[-1] != self.spec.preprocess.image_size
        return {"interpolate_pos_encoding": True} if small and self.spec.arch == "vit" else {}

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Build AdamW with a learning rate that falls by `layer_decay` per layer below the head."""
        if self.optimizer is None:
            groups = parameter_groups(self.model, self.config)
            fused = self.args.device.type in ("cuda", "cpu")
            self.optimizer = torch.optim.AdamW([{**group} for group in groups], lr=self.config.lr, fused=fused)
        return self.optimizer

    def _update_average(self) -> None:
        """Move the weight average toward the weights that the last optimizer step left."""
        if self.ema is not None and self.state.global_step:
            # The decay starts small, so that the random weights of the new head leave the average quickly.
            decay = min(self.config.ema_decay, self.state.global_step / (self.state.global_step + 10))
            torch._foreach_lerp_(self.ema, [tensor.detach() for tensor in averaged(self.model)], 1 - decay)

    # --- validation ---------------------------------------------------------------------------------------

    def evaluate(self, *_: object, **__: object) -> dict[str, float]:
        """Measure the (averaged) weights on the validation split and keep them when they are the best so far."""
        epoch = round(self.state.epoch or 0.0, 3)
        self._swap_ema()
        try:
            figures, sources = mixed_figures(self.predict_logits(self.val_images), self.validation)
            if score_of(figures) > self.best:
                self.best = score_of(figures)
                with replacing_folder(self.out / BEST) as folder:  # a kill leaves the best one of before
                    save_checkpoint(self.model, self.spec, folder)
                    write_json(folder / "figures.json", {**figures, "epoch": epoch})
        finally:
            self._swap_ema()
        metrics = columns_of(figures, sources)
        rounded = {name: round(value, 5) for name, value in metrics.items()}
        self.write_row({"epoch": epoch, "train_loss": round(self.epoch_loss(), 5)} | rounded)
        metrics["epoch"] = epoch
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.out_of_patience():
            self.control.should_training_stop = True
        return metrics

    def out_of_patience(self) -> bool:
        """Return whether none of the last `patience` epochs, also of those before a resume, was the best so far."""
        scores = [score_of(row, "eval_") for row in read_rows(self.out)]
        waited = len(scores) - 1 - scores.index(max(scores)) if scores else 0
        return bool(self.config.patience) and waited >= self.config.patience

    def predict_logits(self, images: ResidentImages) -> np.ndarray:
        """Return `(N, K)` float32 logits of resident images, part after part, without augmentation."""

        def logits_of(chunk: Tensor) -> Tensor:
            with torch.inference_mode(), self.autocast():
                logits: Tensor = self.model(pixel_values=to_input(chunk, self.spec.preprocess)).logits.float().cpu()
            return logits

        self.model.train(False)
        chunks = [chunk for part in images.parts for chunk in torch.split(part, EVAL_BATCH)]
        logits = self.workers.map(logits_of, chunks)
        self.model.train()
        result: np.ndarray = torch.cat(logits).numpy()
        return result

    def _swap_ema(self) -> None:
        """Exchange the weights and their average, where there is one."""
        if self.ema is None:
            return
        for average, tensor in zip(self.ema, averaged(self.model), strict=True):
            kept = tensor.data.clone()
            tensor.data.copy_(average)
            average.copy_(kept)


def check_fits(model: PreTrainedModel, config: TrainConfig, spec: ModelSpec) -> None:
    """Refuse settings that the model cannot be trained with.

    Raises:
        ConfigError: a loss of its own has no class weights, all layers would be frozen or frozen ones would still
            change, no patches can be left out, or the images of `low_size` do not fit.
    """
    if isinstance(model, HasTrainingLoss) and (config.class_balance or config.logit_adjust):
        raise ConfigError(f"{spec.arch} has a loss of its own, without class_balance and logit_adjust")
    if config.frozen_layers > (depth := len(layers_of(model))):
        raise ConfigError(f"frozen_layers must be at most {depth}, the model's layers; got {config.frozen_layers}")
    if config.frozen_layers and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise ConfigError(f"frozen_layers must be 0 for a {spec.arch}: the statistics of its batch norms keep changing")
    if config.patch_drop and spec.arch not in ("vit", "dinov2", "vit_se"):
        raise ConfigError(f"patch_drop leaves out patches of a plain ViT (arch vit, vit_se), and this is a {spec.arch}")
    if config.low_size and config.low_epochs:
        if not isinstance(model.config, ViTConfig | Dinov2Config):
            raise ConfigError(
                f"low_size needs positions that can be interpolated (arch vit), and this is a {spec.arch}"
            )
        patch = model.config.patch_size
        assert isinstance(patch, int), patch
        if config.low_size % patch:
            raise ConfigError(f"low_size {config.low_size} is no multiple of the patch size {patch}")


def _low_augmenter(config: TrainConfig, spec: ModelSpec) -> Augmenter | None:
    """Return the augmenter of the first epochs with smaller images (progressive resolution), or None."""
    if not (config.low_size and config.low_epochs):
        return None
    return Augmenter(config.augment, dataclasses.replace(spec.preprocess, image_size=config.low_size))


def _against_imbalance(train_set: Mixture, config: TrainConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the `(K,)` loss weights and the `(K,)` offset of the logits while training; 1 and 0 where off."""
    classes = len(train_set.labels)
    weights = class_weights(train_set.targets, classes, config.class_balance)
    # Menon et al. 2021, arXiv 2007.07314, eq. 10: with it the model need not learn how frequent each class is.
    offset = config.logit_adjust * np.log(class_frequencies(train_set.targets, classes))
    on_device = [torch.from_numpy(v.astype(np.float32)).to(device) for v in (weights, offset)]
    return on_device[0], on_device[1]


def _read_best(out: Path) -> float:
    """Return the validation score of the best epoch before a resume; minus infinity where there was none."""
    path = out / BEST / "figures.json"
    return score_of(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else -math.inf
