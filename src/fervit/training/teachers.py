"""Knowledge distillation: a model's (or an ensemble's) probabilities as soft targets for another one."""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from fervit.config.training import AugmentConfig, TrainConfig
from fervit.data.cache import cache_folder, cannot_write
from fervit.data.dataset import TRAIN, Dataset
from fervit.errors import ConfigError, ModelError
from fervit.labels import canonical, label_places
from fervit.models.backbone import fuse_attention
from fervit.models.inputs import denormalise, normalise, resize
from fervit.probabilities import soften
from fervit.training.augment import random_affine
from fervit.types import ModelSpec, Preprocess

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
        ConfigError: `teacher_views` is 0, which is for a `LiveTeacher`: nothing would be asked.
        ModelError: the teacher answers with other labels than the data set's.
    """
    if not config.teacher_views:
        raise ConfigError("teacher_views is 0, so no answers are made ahead: train with a LiveTeacher")
    order = _label_places(teacher.spec, dataset.labels)
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
    return soften(np.concatenate(parts), config.teacher_temperature).astype(np.float32)


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


class LiveTeacher:
    """A teacher that answers about every augmented picture while the student learns from it.

    The student then matches the teacher's function where it looks, also between faces that were mixed, in place of a
    fixed answer to a face that the teacher itself was trained on (Beyer et al. 2022, arXiv 2106.05237).

    Args:
        model: what `models.load_checkpoint` returns: a classifier, or an ensemble's mixture.
        spec: its description.
        labels: the data set's, in whose order it answers.
        temperature: softens its answers, see `soften`.

    Raises:
        ModelError: it answers with other labels.
    """

    def __init__(self, model: Any, spec: ModelSpec, labels: Sequence[str], *, temperature: float = 1.0):
        self.model = model.eval().requires_grad_(False)
        self.spec = spec
        self.temperature = temperature
        self._order = torch.tensor(_label_places(spec, labels))

    def to(self, device: torch.device) -> "LiveTeacher":
        """Move it to where the student learns."""
        self.model.to(device)
        self._order = self._order.to(device)
        for member in getattr(self.model, "members", [self.model]):
            fuse_attention(member, device)
        return self

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
        """Return `(B, K)` probabilities of a student's input `(B, 3, S, S)`, which `preprocess` normalised."""
        shown = denormalise(x, preprocess)
        seen = {name: normalise(resize(shown, way), way) for name, way in self.spec.inputs.items()}
        logits: torch.Tensor = self.model(**seen).logits.float()
        return (logits / self.temperature).softmax(dim=1).index_select(1, self._order)


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


def _label_places(spec: ModelSpec, labels: Sequence[str]) -> list[int]:
    """Return where each of the data set's labels stands among the teacher's."""
    if {canonical(name) for name in spec.labels} != {canonical(name) for name in labels}:
        raise ModelError(f"the teacher answers with {', '.join(spec.labels)}; the data set has {', '.join(labels)}")
    return label_places(spec.labels, labels)
