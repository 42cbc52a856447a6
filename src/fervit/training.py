"""Fine-tuning on `transformers.Trainer`: resident data, augmentation on the device, soft targets, EMA.

A run folder holds, when it is done, a plain model folder (`config.json`, `model.safetensors`,
`preprocessor_config.json`, `README.md`) beside `run.json` (what ran), `metrics.csv` (a row per epoch),
`tensorboard/`, `best/` (the best weights so far) and `checkpoints/` (to resume from).
"""

import csv
import dataclasses
import errno
import json
import logging
import math
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.utils.data import Dataset as TorchDataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from fervit.augment import Augmenter, soft_cross_entropy, to_input
from fervit.calibration import fit_bcts
from fervit.card import model_card
from fervit.config import TABLES, TrainConfig
from fervit.data.dataset import PUBLIC_TEST, TRAIN, Dataset
from fervit.errors import ConfigError, DataError
from fervit.metrics import confusion_matrix, fit_temperature, macro_f1, nll, softmax
from fervit.models import build_model, save_checkpoint
from fervit.models.checkpoint import TorchClassifier, load_checkpoint
from fervit.models.vit import add_drop_path, fold_luma, layer_index, quiet_transformers
from fervit.types import ModelSpec

logger = logging.getLogger(__name__)
Tensor = torch.Tensor
RESUME_FILE, WEIGHTS, EMA = "resume.safetensors", "weights.", "ema."  # a file and its two groups of tensors
CHECKPOINTS = "checkpoints"
EVAL_BATCH = 256


def train(
    config: TrainConfig,
    dataset: Dataset,
    out: str | Path,
    *,
    init: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    callbacks: list[TrainerCallback] | None = None,
) -> dict[str, Any]:
    """Fine-tune on `dataset`'s train split, choosing the best epoch on its public_test split.

    The private_test split is never read. Returns the validation figures of the kept weights.

    Raises:
        ConfigError: `out` already holds something and neither `resume` nor `overwrite` was given; or the disk
            is full (what was saved before stays, and `resume` goes on from there).
        DataError: the data set has no train or no public_test split.
    """
    out, init = Path(out), init or config.init
    _claim(out, resume=resume, overwrite=overwrite)
    train_set, val_set = dataset.split(TRAIN), dataset.split(PUBLIC_TEST)
    if config.drop_not_a_face:
        if train_set.votes is None:
            raise DataError("drop_not_a_face needs FER+ votes: give --votes FILE")
        train_set = train_set.take(train_set.votes.sum(axis=1) > 0)
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
    run = _describe(config, dataset, init=str(init), command=command, n_train=len(train_set), n_val=len(val_set))
    if resume:
        _check_same(out, run)
    try:
        _write_json(out / "run.json", run)
        trainer = FervitTrainer(model, config, spec, train_set, val_set, out, callbacks or [])
        start = time.monotonic()
        with quiet_transformers():
            trainer.train(resume_from_checkpoint=_last_checkpoint(out) if resume else None)
        figures = _finish(out, spec, train_set, val_set, run)
        _write_json(out / "run.json", run | {"seconds": round(time.monotonic() - start, 1), PUBLIC_TEST: figures})
    except (OSError, SafetensorError, RuntimeError) as error:
        if _disk_is_full(error, out):
            raise ConfigError(f"the disk is full while saving to {out}; free some space and add --resume") from error
        raise
    return figures


def _claim(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make `out` ready, never clobbering an earlier run by accident."""
    if resume and overwrite:
        raise ConfigError("--resume goes on with a run and --overwrite deletes it: give one of them")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; --out takes a folder")
    if out.is_dir() and any(out.iterdir()) and not resume:
        if not overwrite:
            raise ConfigError(f"{out} is not empty: --resume goes on with it, --overwrite deletes it first")
        if not (out / "run.json").is_file():
            raise ConfigError(f"{out} holds no run of fervit (no run.json), so it is not deleted: take another folder")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create {out}: {error.strerror}") from error


def _check_same(out: Path, run: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was started with other settings, data or starting weights."""
    path = out / "run.json"
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    old, new = ({"init": r["init"], "data": r["data"]["hash"]} | r["config"] for r in (before, run))
    other = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if other:
        raise ConfigError(f"{out} was started with another {', '.join(other)}: give the same, or take a new --out")


def _disk_is_full(error: Exception, out: Path) -> bool:
    """Tell whether a failed write was for want of space; torch's own writer does not say why it failed."""
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        return True
    return "inline_container" in str(error) and shutil.disk_usage(out).free < 2**26


def _last_checkpoint(out: Path) -> str | None:
    """Return the newest complete checkpoint; one that was cut short while saving has no trainer_state.json."""
    complete = [path.parent for path in out.glob(f"{CHECKPOINTS}/checkpoint-*/trainer_state.json")]
    return str(max(complete, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if complete else None


def _describe(config: TrainConfig, dataset: Dataset, *, init: str, command: str, **counts: int) -> dict[str, Any]:
    """Return what `run.json` says of a run before it starts."""
    packages = ("fervit", "torch", "transformers", "numpy")
    return {
        "command": command,
        "config": dataclasses.asdict(config),
        "init": Path(init).name if Path(init).is_file() else init,
        "data": {"name": dataset.name, "hash": dataset.data_hash, **counts},
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "git": _git_revision(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def _git_revision() -> str | None:
    """Return the revision of a checkout that fervit runs from, or None."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def make_targets(dataset: Dataset, config: TrainConfig) -> np.ndarray:
    """Return `(N, K)` float32 rows that sum to 1: labels, FER+ votes and smoothing mixed as configured."""
    classes = len(dataset.labels)
    targets = np.eye(classes)[dataset.targets]
    if config.votes_weight:
        if dataset.votes is None:
            raise DataError("votes_weight needs FER+ votes: give --votes FILE, or --set votes_weight=0")
        voted = dataset.votes.sum(axis=1, keepdims=True) > 0
        mixed = (1 - config.votes_weight) * targets + config.votes_weight * dataset.votes
        targets = np.where(voted, mixed, targets)
    smooth = config.label_smoothing
    result: np.ndarray = ((1 - smooth) * targets + smooth / classes).astype(np.float32)
    return result


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
        device = self.args.device
        self.images = _resident(train_set, device)
        self.targets = torch.from_numpy(make_targets(train_set, config)).to(device)
        self.val_images = _resident(val_set, device)
        self.val_targets = np.asarray(val_set.targets)
        if config.drop_path:
            add_drop_path(model, config.drop_path)
        self.ema: list[Tensor] | None = None
        if config.ema_decay:
            self.ema = [tensor.detach().clone() for tensor in averaged(self.model)]
        self.best, self.waited = _read_best(out), 0
        self._epoch_start = time.monotonic()

    # --- the step -----------------------------------------------------------------------------------------

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of one augmented batch: the architecture's own, or cross-entropy with soft targets."""
        rows = inputs["rows"]
        with torch.autocast(rows.device.type, enabled=False):
            x, targets = self.augmenter(self.images[rows], self.targets[rows])
        if hasattr(model, "training_loss"):
            loss, logits = model.training_loss(x, targets)
        else:
            logits = model(pixel_values=x).logits
            loss = soft_cross_entropy(logits, targets)
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Build AdamW with a learning rate that falls by `layer_decay` per layer below the head."""
        if self.optimizer is None:
            groups = parameter_groups(self.model, self.config)
            fused = self.args.device.type in ("cuda", "cpu")
            self.optimizer = torch.optim.AdamW(groups, lr=self.config.lr, fused=fused)
        return self.optimizer

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Move the weight average toward the weights that the last optimizer step left, then step."""
        if self.ema is not None and self.state.global_step:
            # a short memory first: the average must not remember the random head
            decay = min(self.config.ema_decay, self.state.global_step / (self.state.global_step + 10))
            torch._foreach_lerp_(self.ema, [tensor.detach() for tensor in averaged(self.model)], 1 - decay)
        loss: Tensor = super().training_step(*args, **kwargs)
        return loss

    # --- validation ---------------------------------------------------------------------------------------

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the (averaged) weights on the validation split and keep them when they are the best so far."""
        self._swap_ema()
        try:
            logits = self.predict_logits(self.val_images)
            figures = _figures(logits, self.val_targets)
            metrics = {f"eval_{name}": value for name, value in figures.items()}
            metrics["epoch"] = round(self.state.epoch or 0.0, 3)
            better = figures["accuracy"] > self.best
            if better:
                self.best = figures["accuracy"]
                save_checkpoint(self.model, self.spec, self.out / "best")
                _write_json(self.out / "best" / "figures.json", figures | {"epoch": metrics["epoch"]})
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


def averaged(model: Any) -> list[Tensor]:
    """Return what the weight average covers: every parameter, and the running statistics of batch norms."""
    return [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]


def parameter_groups(model: Any, config: TrainConfig) -> list[dict[str, Any]]:
    """Group parameters by depth and by whether they decay.

    Layer k of L below the head learns at `lr * layer_decay ** (L + 1 - k)` (BEiT, arXiv 2106.08254); biases,
    norms, layer scales, tokens and positions do not decay.
    """
    index = layer_index(model)
    depth = index("classifier.weight")
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(("_token", "position_embeddings"))
            groups.setdefault((index(name), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * config.layer_decay ** (depth - k),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (k, decays), parameters in groups.items()
    ]


def _resident(dataset: Dataset, device: torch.device) -> Tensor:
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


def _figures(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    predicted = logits.argmax(axis=1)
    return {
        "accuracy": float((predicted == targets).mean()),
        "macro_f1": float(macro_f1(confusion_matrix(targets, predicted, logits.shape[1]))),
        "loss": nll(softmax(logits), targets),
    }


def _finish(out: Path, spec: ModelSpec, train_set: Dataset, val_set: Dataset, run: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the best weights into the run's model folder: grey folded in, calibrated, with its figures."""
    model, _ = load_checkpoint(out / "best")
    best = json.loads((out / "best" / "figures.json").read_text(encoding="utf-8"))
    if train_set.images.shape[-1] == 1:
        fold_luma(model, spec.preprocess)
    logits = TorchClassifier(model, spec).logits(val_set.images, batch_size=EVAL_BATCH)
    temperature, bias = _calibrate(logits, val_set.targets, run["config"]["calibration"])
    with torch.no_grad():
        model.classifier.weight /= temperature
        model.classifier.bias /= temperature
        model.classifier.bias += torch.from_numpy(bias).to(model.classifier.bias)
    figures: dict[str, Any] = dict(_figures(logits / temperature + bias, val_set.targets))
    figures |= {
        "epoch": best["epoch"],
        "n": len(val_set),
        "before_calibration": {k: best[k] for k in ("accuracy", "loss")},
    }
    spec = dataclasses.replace(spec, temperature=temperature, metrics={PUBLIC_TEST: figures})
    save_checkpoint(model, spec, out)
    (out / "README.md").write_text(card_of(spec, run), encoding="utf-8")
    return figures


def _calibrate(logits: np.ndarray, targets: np.ndarray, method: str) -> tuple[float, np.ndarray]:
    """Return the temperature and the `(K,)` bias to fold into the head."""
    if method == "bcts":
        return fit_bcts(logits, targets)
    temperature = fit_temperature(logits, targets) if method == "temperature" else 1.0
    return temperature, np.zeros(logits.shape[1])


def card_of(spec: ModelSpec, run: Mapping[str, Any], report: Mapping[str, Any] | None = None) -> str:
    """Return the model card of a run from its `run.json`."""
    settings = {key: value for key, value in run["config"].items() if key not in (*TABLES, "init")}
    recipe = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    for table in TABLES:
        if values := run["config"].get(table):
            recipe += ["", f"[{table}]"] + [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return model_card(
        spec,
        report=report,
        dataset=run["data"]["name"],
        base_model=run["init"],
        recipe="\n".join(recipe),
        command=run["command"],
    )
