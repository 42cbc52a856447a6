"""Fine-tuning: from a recipe and a data set to a calibrated model folder with its log.

A run folder holds, when it is done, a plain model folder (`config.json`, `model.safetensors`,
`preprocessor_config.json`, `README.md`) beside `run.json` (what ran), `metrics.csv` (a row per epoch),
`tensorboard/`, `best/` (the best weights so far) and `checkpoints/` (to resume from).
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, set_seed

from fervit.config.training import TrainConfig
from fervit.data.dataset import PUBLIC_TEST, TRAIN, Dataset
from fervit.evaluation.calibration import calibrate
from fervit.evaluation.report import Report
from fervit.inference.model_files import starting_weights
from fervit.models import build_model, save_checkpoint
from fervit.models.backbone import fold_luma
from fervit.models.classifier import TorchClassifier
from fervit.models.loading import load_checkpoint
from fervit.models.pretrained import quiet_transformers
from fervit.reports.card import Origin, model_card
from fervit.reports.settings_text import to_toml
from fervit.training.resident import seconds_of
from fervit.training.run_folder import (
    RUN_FILE,
    check_same,
    claim,
    describe,
    full_disk_explained,
    last_checkpoint,
    write_json,
)
from fervit.training.targets import make_targets, training_rows
from fervit.training.teachers import LiveTeacher
from fervit.training.trainer import EVAL_BATCH, FervitTrainer, check_fits, figures_of
from fervit.types import ModelSpec


@dataclass(frozen=True, eq=False)
class Teacher:
    """Another model to learn from.

    Attributes:
        answers: `(N, K)` probabilities, a row per picture of the train split, or who is asked about each augmented one.
        description: what `run.json` says of the teacher: its name and its hash.
    """

    answers: np.ndarray | LiveTeacher
    description: Mapping[str, Any]


def train(
    config: TrainConfig,
    dataset: Dataset,
    out: str | Path,
    *,
    init: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    teacher: Teacher | None = None,
    callbacks: list[TrainerCallback] | None = None,
) -> dict[str, Any]:
    """Fine-tune on `dataset`'s train split, choosing the best epoch on its public_test split.

    The private_test split is never read. Returns the validation figures of the kept weights.

    Raises:
        ConfigError: `out` already holds something and neither `resume` nor `overwrite` was given; or the disk
            is full (what was saved before stays, and `resume` goes on from there).
        DataError: the data set has no train or no public_test split.
    """
    out, init = Path(out), starting_weights(init or config.init)
    train_set, val_set = dataset.split(TRAIN), dataset.split(PUBLIC_TEST)
    rows = training_rows(train_set, config)
    answers = None if teacher is None else teacher.answers
    live = answers if isinstance(answers, LiveTeacher) else None
    targets = make_targets(train_set, config, answers)[rows]
    if len(rows) < len(train_set):
        train_set = train_set.take(rows)
    set_seed(config.seed)
    model, preprocess = build_model(init, dataset.labels, config.image_size, arch=config.arch, options=config.model)
    preprocess = dataclasses.replace(preprocess, crop_margin=config.crop_margin)
    spec = ModelSpec(
        arch=str(model.config.model_type),
        preprocess=preprocess,
        labels=dataset.labels,
        name=out.name,
        data_hash=dataset.data_hash,
    )
    check_fits(model, config, spec)
    claim(out, resume=resume, overwrite=overwrite)  # only now: with bad weights, data or settings an earlier run stays
    counts = {"n_train": len(train_set), "n_val": len(val_set)}
    run = describe(dataclasses.asdict(config), dataset, init=str(init), command=command, **counts)
    if teacher is not None:
        run["teacher"] = teacher.description
    if resume:
        check_same(out, run, dataclasses.asdict(TrainConfig(model=type(config.model)())))
    with full_disk_explained(out):
        write_json(out / RUN_FILE, run)
        trainer = FervitTrainer(model, config, spec, train_set, targets, val_set, out, callbacks or [], live)
        if not (resume and trainer.out_of_patience()):
            with quiet_transformers():
                trainer.train(resume_from_checkpoint=last_checkpoint(out) if resume else None)
        figures = _finish(out, spec, train_set, val_set, run)
        write_json(out / RUN_FILE, run | {"seconds": seconds_of(out), PUBLIC_TEST: figures})
    return figures


def _finish(out: Path, spec: ModelSpec, train_set: Dataset, val_set: Dataset, run: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the best weights into the run's model folder: grey folded in, calibrated, with its figures."""
    model, _ = load_checkpoint(out / "best")
    best = json.loads((out / "best" / "figures.json").read_text(encoding="utf-8"))
    if train_set.images.shape[-1] == 1:
        fold_luma(model, spec.preprocess)
    logits = TorchClassifier(model, spec).logits(val_set.images, batch_size=EVAL_BATCH)
    temperature, bias = calibrate(logits, val_set.targets, run["config"]["calibration"])
    with torch.no_grad():
        model.classifier.weight /= temperature
        model.classifier.bias /= temperature
        model.classifier.bias += torch.from_numpy(bias).to(model.classifier.bias)
    figures: dict[str, Any] = dict(figures_of(logits / temperature + bias, val_set.targets))
    figures |= {
        "epoch": best["epoch"],
        "n": len(val_set),
        "before_calibration": {k: best[k] for k in ("accuracy", "loss")},
    }
    spec = dataclasses.replace(spec, temperature=temperature, metrics={PUBLIC_TEST: figures})
    save_checkpoint(model, spec, out)
    (out / "README.md").write_text(card_of(spec, run), encoding="utf-8")
    return figures


def card_of(spec: ModelSpec, run: Mapping[str, Any], report: Report | None = None) -> str:
    """Return the model card of a run from its `run.json`."""
    recipe = to_toml(run["config"], leave_out=("init",))
    return model_card(spec, report=report, origin=Origin(run["data"]["name"], run["init"], recipe, run["command"]))
