"""Fine-tuning: from a recipe and a data set to a calibrated model folder with its log.

A run folder holds, when it is done, a plain model folder (`config.json`, `model.safetensors`,
`preprocessor_config.json`, `README.md`) beside `run.json` (what ran), `metrics.csv` (a row per epoch),
`tensorboard/`, `best/` (the best weights so far) and `checkpoints/` (to resume from).
"""

import dataclasses
import json
import logging
from pathlib import Path
from typing import NotRequired, Unpack

import numpy as np
import torch
from transformers import PreTrainedModel, set_seed

from fervit.config.training import TrainConfig
from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.evaluation.calibration import fit_checked
from fervit.evaluation.report import Report
from fervit.folders import RUN_FILE, run_folder
from fervit.inference.model_files import describe_weights, starting_weights
from fervit.licences import Licence
from fervit.models import build_model, save_checkpoint
from fervit.models.backbone import fold_luma, head_of
from fervit.models.checkpoint import read_checkpoint
from fervit.models.classifier import TorchClassifier
from fervit.reports.card import Origin, model_card
from fervit.reports.settings_text import to_toml
from fervit.training.mixed.data import TrainingData, prepare
from fervit.training.mixed.validation import FIGURES, Figures, SourceFigures, figures_of, mixed_figures
from fervit.training.options import RunKeywords, RunOptions
from fervit.training.parallel import torch_threads
from fervit.training.run_folder import (
    BEST,
    RunRecord,
    describe,
    note_licences,
    open_run,
    seconds_of,
    weights_licences,
    write_json,
)
from fervit.training.teachers import Teacher
from fervit.training.trainer import EVAL_BATCH, FervitTrainer, check_fits
from fervit.types import ModelSpec

logger = logging.getLogger(__name__)


class RunFigures(Figures):
    """The validation figures of a run's model.

    Attributes:
        epoch: the best one, whose weights were kept.
        n: validation images.
        calibration: what was fitted on these images and folded into the head: `bcts`, `temperature` or `none`.
        before_calibration: accuracy and loss of that epoch.
        cross_validated: accuracy, macro-F1 and loss after calibration, each image calibrated by a fit to others.
        sources: after calibration, the figures on each of several data sets.
    """

    epoch: float
    n: int
    calibration: str
    before_calibration: dict[str, float]
    cross_validated: dict[str, float]
    sources: NotRequired[list[SourceFigures]]


def train(
    config: TrainConfig,
    dataset: Dataset | Mixture,
    out: str | Path,
    *,
    init: str | Path | None = None,
    teacher: Teacher | None = None,
    **options: Unpack[RunKeywords],
) -> RunFigures:
    """Fine-tune on `dataset`'s train split, choosing the best epoch on its public_test split.

    Of a mixture, the best epoch is that with the highest mean of the data sets' accuracies on public_test, each
    counting alike. The private_test split is never predicted; with `drop_leaks`, its images (not their labels) are
    compared with those to learn from. Returns the validation figures of the kept weights.

    Args:
        config: the settings of the run.
        dataset: with the splits train and public_test; of a mixture, every data set may lack one of them.
        out: the folder of the run, which becomes a model folder.
        init: starting weights, see `TrainConfig.init`; None takes the configuration's.
        teacher: what to learn from besides the labels, see `TrainConfig.teacher_weight`.
        **options: see `RunOptions`.

    Raises:
        ConfigError: `out` already holds something and neither `resume` nor `overwrite` was given; or the disk
            is full (what was saved before stays, and `resume` continues from there).
        DataError: the data set has no train or no public_test split.
        ModelError: the starting weights are missing, unsafe, truncated or do not fit.
    """
    out, how = Path(out), RunOptions(**options)
    with run_folder(out, resume=how.resume, overwrite=how.overwrite), torch_threads(how.threads):
        init = starting_weights(init or config.init)
        data, record = prepare(as_mixture(dataset), config, teacher)
        set_seed(config.seed)
        model, spec = _new_model(init, dataset, config, name=out.name)
        run = describe(dataclasses.asdict(config), record, init=str(init), command=how.command)
        if teacher is not None:
            run["teacher"] = teacher.description
        taught = () if teacher is None else teacher.trained_on
        licences = note_licences(run, out, weights_licences(init), _encoder_licences(config), dataset.licences, taught)
        spec = dataclasses.replace(spec, trained_on=licences)
        defaults = dataclasses.asdict(TrainConfig(model=type(config.model)()))
        # Only now: with wrong weights, data or settings an earlier run in the folder stays as it is.
        with open_run(out, run, defaults, how):
            trainer = FervitTrainer(model, config, spec, data, out, how.callbacks)
            data = data.without_pixels()  # they are on the device by now
            if not (how.resume and trainer.out_of_patience()):
                trainer.fit(resume=how.resume)
            figures = _finish(out, spec, data, run)
            write_json(out / RUN_FILE, {**run, "seconds": seconds_of(out), PUBLIC_TEST: figures})
    return figures


def _new_model(
    init: str | Path, dataset: Dataset | Mixture, config: TrainConfig, *, name: str
) -> tuple[PreTrainedModel, ModelSpec]:
    """Build the model to train and its description.

    Raises:
        ConfigError: the model cannot be trained with these settings.
        ModelError: the starting weights are missing, unsafe, truncated or do not fit.
    """
    model, preprocess = build_model(init, dataset.labels, config.image_size, arch=config.arch, options=config.model)
    spec = ModelSpec(
        arch=str(model.config.model_type),
        preprocess=dataclasses.replace(preprocess, crop_margin=config.crop_margin),
        labels=dataset.labels,
        name=name,
        data_hash=dataset.data_hash,
    )
    check_fits(model, config, spec)
    return model, spec


def _encoder_licences(config: TrainConfig) -> tuple[Licence, ...]:
    """Return the licences of the weights that `model.encoder` names, where the architecture has that option."""
    encoder = getattr(config.model, "encoder", "")
    return weights_licences(encoder) if encoder else ()


def _finish(out: Path, spec: ModelSpec, data: TrainingData, run: RunRecord) -> RunFigures:
    """Turn the best weights into the run's model folder: grey folded in, calibrated, with its figures."""
    model, _ = read_checkpoint(out / BEST)
    best = json.loads((out / BEST / "figures.json").read_text(encoding="utf-8"))
    if all(part.images.shape[-1] == 1 for part in data.train.parts):
        fold_luma(model, spec.preprocess)
    targets, classifier = data.validation.targets, TorchClassifier(model, spec)
    logits = np.concatenate([classifier.logits(part.images, batch_size=EVAL_BATCH) for part in data.validation.parts])
    fit = fit_checked(logits, targets, run["config"]["calibration"])
    if fit.note:
        logger.warning("%s", fit.note)
    temperature, bias = fit.temperature, fit.bias
    with torch.no_grad():
        head = head_of(model)
        head.weight.div_(temperature)
        head.bias.div_(temperature).add_(torch.from_numpy(bias).to(head.bias))
    unseen = figures_of(fit.unseen, targets)
    calibrated, sources = mixed_figures(logits / temperature + bias, data.validation)
    figures: RunFigures = {
        "accuracy": calibrated["accuracy"],
        "macro_f1": calibrated["macro_f1"],
        "loss": calibrated["loss"],
        "epoch": best["epoch"],
        "n": len(targets),
        "calibration": fit.method,
        "before_calibration": {"accuracy": best["accuracy"], "loss": best["loss"]},
        "cross_validated": {name: unseen[name] for name in FIGURES},
    }
    if sources:
        figures["mean_accuracy"] = calibrated["mean_accuracy"]
        figures["sources"] = sources
    spec = dataclasses.replace(spec, temperature=temperature, metrics={PUBLIC_TEST: figures})
    save_checkpoint(model, spec, out)
    (out / "README.md").write_text(card_of(spec, run), encoding="utf-8")
    return figures


def card_of(spec: ModelSpec, run: RunRecord, report: Report | None = None) -> str:
    """Return the model card of a run from its `run.json`."""
    settings = dict(run["config"])
    if encoder := settings["model"].get("encoder"):  # where it lies is private
        settings["model"] = {**settings["model"], "encoder": describe_weights(encoder)[0]}
    recipe = to_toml(settings, leave_out=("init",))
    base, licence = describe_weights(run["init"])
    origin = Origin(run["data"]["name"], base, recipe, run["command"], base_licence=licence)
    return model_card(spec, report=report, origin=origin)
