"""Knowledge distillation: a model's (or an ensemble's) probabilities as soft targets for another one."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from fervit.augment import random_affine
from fervit.config import AugmentConfig, TrainConfig
from fervit.data.cache import cache_folder, cannot_write, file_digest
from fervit.data.dataset import TRAIN, Dataset
from fervit.errors import ModelError
from fervit.types import ModelSpec

# Mild views: the teacher is asked about the same face, not about what is left of one after strong augmentation.
VIEW = AugmentConfig(rotate_deg=8.0, scale_min=0.9, scale_max=1.0, shift=0.04)
VERSION = 1  # of the views; part of the cache's key
STEP = 256  # pictures asked about at a time


class Teacher(Protocol):
    """What can teach: any classifier of face crops."""

    spec: ModelSpec

    def probs(self, crops: np.ndarray) -> np.ndarray:
        """Return `(N, K)` probabilities of `(N, H, W, C)` uint8 crops."""
        ...


def soft_targets(
    teacher: Teacher, dataset: Dataset, config: TrainConfig, *, progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Return the teacher's `(N, K)` float32 probabilities for the train split, averaged over augmented views.

    The first view is the picture as it is, the second its mirror image; each further one is mirrored at random,
    rotated, scaled and shifted a little (`VIEW`), seeded by `config.seed`. `config.teacher_temperature` softens the
    average. Other splits are not read.

    Raises:
        ModelError: the teacher answers with other labels than the data set's.
    """
    if set(teacher.spec.labels) != set(dataset.labels):
        theirs, ours = ", ".join(teacher.spec.labels), ", ".join(dataset.labels)
        raise ModelError(f"the teacher answers with {theirs}; the data set has {ours}")
    order = [teacher.spec.labels.index(name) for name in dataset.labels]
    images = dataset.split(TRAIN).images
    generator = torch.Generator().manual_seed(config.seed)
    total = config.teacher_views * len(images)
    parts = []
    for start in range(0, len(images), STEP):
        batch = np.ascontiguousarray(images[start : start + STEP])
        views = [_view(batch, k, generator) for k in range(config.teacher_views)]
        parts.append(np.mean([teacher.probs(view) for view in views], axis=0)[:, order])
        if progress is not None:
            progress(min(total, (start + STEP) * config.teacher_views), total)
    return soften(np.concatenate(parts), config.teacher_temperature)


def cached_soft_targets(
    teacher: Teacher,
    teacher_hash: str,
    dataset: Dataset,
    config: TrainConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return `soft_targets`, kept in fervit's cache folder under what they depend on, so that `--resume` is quick."""
    wanted = (VERSION, teacher_hash, dataset.data_hash, config.teacher_views, config.teacher_temperature, config.seed)
    key = hashlib.sha256(json.dumps([*wanted, *dataset.labels]).encode()).hexdigest()[:32]
    path = cache_folder() / "soft-targets" / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError):
        kept: np.ndarray = np.load(path, allow_pickle=False)
        if kept.shape == (len(dataset.split(TRAIN)), len(dataset.labels)):
            return kept
    probs = soft_targets(teacher, dataset, config, progress=progress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as file:
            np.save(file, probs)
        Path(file.name).replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    return probs


def model_hash(path: Path) -> str:
    """Return the hex digest of a model: of the exported file's bytes, or of a folder's weights and settings."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    if path.is_dir():  # but not what else lies in the folder of a run: its log, its checkpoints
        folders = [path, *sorted(path.glob("members/*"))]
        files = [file for folder in folders for file in sorted(folder.iterdir()) if _is_model_file(file)]
    return hashlib.sha256("".join(file_digest(file) for file in files).encode()).hexdigest()


def _is_model_file(file: Path) -> bool:
    return file.suffix == ".safetensors" or file.name in ("config.json", "preprocessor_config.json", "ensemble.json")


def soften(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Return `(N, K)` float32 probabilities raised to `1 / temperature` and normalised again."""
    logs = np.log(np.maximum(probs, 1e-12)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: np.ndarray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _view(images: np.ndarray, k: int, generator: torch.Generator) -> np.ndarray:
    """Return view number `k` of `(N, H, W, C)` uint8 pictures, of the same shape."""
    if k == 0:
        return images
    mirrored = images[:, :, ::-1]
    if k == 1:
        return np.ascontiguousarray(mirrored)
    flips = torch.rand(len(images), generator=generator).numpy() < 0.5
    x = torch.from_numpy(np.where(flips[:, None, None, None], mirrored, images)).permute(0, 3, 1, 2)
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):  # random_affine draws from the global generator
        torch.manual_seed(seed)
        warped: Any = random_affine(x.float(), x.shape[-1], VIEW)
    view: np.ndarray = warped.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return view
