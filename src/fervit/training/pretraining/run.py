"""A pre-training run: from faces without labels to a backbone folder with its log.

The run folder holds, when it is done, a plain Hugging Face ViT without a head (`config.json`, `model.safetensors`,
`preprocessor_config.json`, `README.md`) beside `run.json`, `metrics.csv` (a row per epoch), `reconstruction.png`,
`tensorboard/` and `checkpoints/` (to resume from, with the decoder).
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import nn
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    ViTMAEForPreTraining,
    set_seed,
)

from fervit.config.pretraining import PretrainConfig
from fervit.data.dataset import TRAIN, Dataset
from fervit.errors import DataError
from fervit.folders import RUN_FILE, run_folder
from fervit.inference.model_files import describe_weights
from fervit.models import save_checkpoint
from fervit.models.inputs import to_input
from fervit.reports.card import Origin
from fervit.reports.card_backbone import PretrainingFigures, backbone_card
from fervit.reports.settings_text import to_toml
from fervit.training.augment import Augmenter
from fervit.training.mixed.images import ResidentImages
from fervit.training.options import RunKeywords, RunOptions
from fervit.training.parallel import torch_threads
from fervit.training.pretraining.mae import build_autoencoder, count_patches, reconstruction_image, to_backbone
from fervit.training.resident import ResidentTrainer, trainer_arguments
from fervit.training.run_folder import (
    DataRecord,
    RunRecord,
    describe,
    note_licences,
    open_run,
    read_rows,
    seconds_of,
    weights_licences,
    write_json,
)
from fervit.types import ModelSpec, Preprocess

Tensor = torch.Tensor
BETAS = (0.9, 0.95)  # of AdamW: He et al. 2021, arXiv 2111.06377, table 8
SHOWN = 8  # faces in the image of reconstructions
RECONSTRUCTION_FILE = "reconstruction.png"


class PretrainFigures(TypedDict):
    """What pre-training reports, as `run.json` has it.

    Attributes:
        n: faces.
        epochs: passes over them.
        first_loss: mean loss of the first epoch; None where there was no epoch.
        loss: mean loss of the last epoch.
    """

    n: int
    epochs: int
    first_loss: float | None
    loss: float | None


def pretrain(
    config: PretrainConfig,
    datasets: Sequence[Dataset],
    out: str | Path,
    *,
    init: str | Path,
    **options: Unpack[RunKeywords],
) -> PretrainFigures:
    """Pre-train the ViT in `init` as a masked autoencoder on the train splits of `datasets`; labels are not used.

    Args:
        config: the settings of the run.
        datasets: one or more, whose images may differ in size and channels.
        out: the folder of the run, which becomes a backbone folder.
        init: a plain ViT: a Hub id, a model folder or a safetensors file.
        **options: see `RunOptions`.

    Raises:
        ConfigError: `out` already holds something and neither `resume` nor `overwrite` was given; `mask_ratio` does
            not fit the size; or the disk is full (`resume` continues from what was saved).
        DataError: no data set was given, or one has no train split.
        ModelError: the starting weights are missing, unsafe, truncated or a DINOv2's.
    """
    out, how = Path(out), RunOptions(**options)
    if not datasets:
        raise DataError("pre-training needs at least one data set")
    with run_folder(out, resume=how.resume, overwrite=how.overwrite), torch_threads(how.threads):
        faces = [dataset.split(TRAIN) for dataset in datasets]
        set_seed(config.seed)
        model, preprocess = build_autoencoder(init, config)
        data = _describe_data(datasets, faces)
        run = describe(dataclasses.asdict(config), data, init=str(init), command=how.command)
        licences = note_licences(run, out, weights_licences(init), *(dataset.licences for dataset in datasets))
        # Only now: with wrong weights an earlier run in the folder stays as it is.
        with open_run(out, run, dataclasses.asdict(PretrainConfig()), how):
            if config.epochs:
                trainer = PretrainTrainer(model, config, preprocess, faces, out, how.callbacks)
                trainer.fit(resume=how.resume)
                image = reconstruction_image(model, trainer.shown(), preprocess, seed=config.seed)
                image.save(out / RECONSTRUCTION_FILE)
            figures = _figures(out, config, n=data["n_train"])
            spec = ModelSpec("vit", preprocess, (), name=out.name, data_hash=data["hash"], trained_on=licences)
            _save(model, spec, out, run, figures)
            write_json(out / RUN_FILE, {**run, "seconds": seconds_of(out), "pretraining": figures})
    return figures


class PretrainTrainer(ResidentTrainer):
    """Trains a `ViTMAEForPreTraining` on one or several data sets, whose images may differ in size and channels."""

    def __init__(
        self,
        model: ViTMAEForPreTraining,
        config: PretrainConfig,
        preprocess: Preprocess,
        faces: Sequence[Dataset],
        out: Path,
        callbacks: Sequence[TrainerCallback] = (),
    ):
        args = trainer_arguments(config, out, schedule="cosine", evaluate=False)
        count = sum(map(len, faces))
        super().__init__(model, args, out, [*callbacks, _EpochEnd(self)], count=count)
        self.config, self.preprocess = config, preprocess
        self.augmenter = Augmenter(config.augment, preprocess)
        self.images = ResidentImages(faces, self.args.device)
        self.patches = count_patches(model.config, preprocess.image_size)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Augment and mask one batch and compute the gradient."""
        x = self.images.placed(inputs["host_rows"], self.augmenter)
        x, _ = self.augmenter.finish(x, x.new_zeros(len(x), 0))
        noise = torch.rand(len(x), self.patches).to(x.device)  # on the CPU, so that every device masks alike
        loss = super().training_step(model, {"pixel_values": x, "noise": noise}, num_items_in_batch)
        self.losses.append(loss.detach())
        return loss

    def loss_and_output(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the mean squared error over the masked patches' pixels, and the model's output."""
        with self.autocast():
            output = model(**inputs)
        return output.loss, output

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Build AdamW; biases, norms and tokens do not decay."""
        if self.optimizer is None:
            learned = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
            matrices = [p for name, p in learned if p.ndim > 1 and not name.endswith("_token")]
            others = [p for name, p in learned if p.ndim <= 1 or name.endswith("_token")]
            groups = [
                {"params": matrices, "weight_decay": self.config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ]
            fused = self.args.device.type in ("cuda", "cpu")
            self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, betas=BETAS, fused=fused)
        return self.optimizer

    def end_epoch(self) -> None:
        """Write the epoch's row and log its mean loss for the callbacks."""
        loss = self.epoch_loss()
        epoch = round(self.state.epoch or 0.0, 3)
        self.write_row({"epoch": epoch, "train_loss": round(loss, 5)})
        self.log({"epoch_loss": loss})

    def shown(self) -> Tensor:
        """Return `(B, 3, S, S)` input of a few faces from all over the data, as they are."""
        rows = np.unique(np.linspace(0, len(self.images) - 1, SHOWN).round().astype(int))
        return torch.cat([to_input(images, self.preprocess) for _, images in self.images.gather(rows)])


class _EpochEnd(TrainerCallback):
    """Calls the trainer at the end of an epoch, before the checkpoint of that epoch is written."""

    def __init__(self, trainer: PretrainTrainer):
        self.trainer = trainer

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        self.trainer.end_epoch()


def _describe_data(datasets: Sequence[Dataset], faces: Sequence[Dataset]) -> DataRecord:
    """Return what `run.json` says of the data: their hash is the data set's own, or one over those of all."""
    hashes = [dataset.data_hash for dataset in datasets]
    joint = hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    return {
        "name": ", ".join(dataset.name for dataset in datasets),
        "hash": joint,
        "n_train": sum(map(len, faces)),
        "grey": all(part.images.shape[-1] == 1 for part in faces),
        "sources": [
            {"name": dataset.name, "hash": dataset.data_hash, "n_train": len(part)}
            for dataset, part in zip(datasets, faces, strict=True)
        ],
    }


def _figures(out: Path, config: PretrainConfig, *, n: int) -> PretrainFigures:
    losses = [float(row["train_loss"]) for row in read_rows(out)]
    first, last = (losses[0], losses[-1]) if losses else (None, None)
    return {"n": n, "epochs": config.epochs, "first_loss": first, "loss": last}


def _save(model: ViTMAEForPreTraining, spec: ModelSpec, out: Path, run: RunRecord, figures: PretrainFigures) -> None:
    """Write the encoder as a backbone folder with its card."""
    backbone = to_backbone(model.cpu())
    save_checkpoint(backbone, spec, out)
    (out / "README.md").write_text(_card(spec, run, figures), encoding="utf-8")


def _card(spec: ModelSpec, run: RunRecord, figures: PretrainFigures) -> str:
    data = run["data"]
    base, licence = describe_weights(run["init"])
    return backbone_card(
        spec,
        Origin(data["name"], base, to_toml(run["config"]), run["command"], base_licence=licence),
        PretrainingFigures(figures["n"], figures["epochs"], figures["first_loss"], figures["loss"]),
        sources=[source["name"] for source in data["sources"]],
        grey=data["grey"],
    )
