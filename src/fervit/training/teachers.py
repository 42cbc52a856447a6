"""Knowledge distillation: a model's (or an ensemble's) probabilities as soft targets for another one."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fervit.config.augmentation import AugmentConfig
from fervit.config.training import TrainConfig
from fervit.data.cache import cached_array
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.data.labelling.matching import explain_missing
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.errors import ConfigError, ModelError
from fervit.inference.loading import open_classifier
from fervit.inference.model_files import find_folder, find_model, model_hash
from fervit.labels import canonical, find_places, label_places, spelt_differently
from fervit.licences import Licence
from fervit.models import load_checkpoint
from fervit.models.backbone import fuse_attention
from fervit.models.inputs import denormalise, normalise, resize
from fervit.probabilities import soften
from fervit.training.augment import random_affine
from fervit.types import Classifier, ModelSpec, Preprocess

log = logging.getLogger(__name__)

# The views are mild: the teacher should predict the same face, not what strong augmentation leaves of it.
VIEW = AugmentConfig(rotate_deg=8.0, scale_min=0.9, scale_max=1.0, shift=0.04)
VERSION = 1  # of the views; part of the cache's key
STEP = 256  # images in a batch of predictions

Progress = Callable[[int, int], None]
"""Called with the number of predictions done and of all."""


class LiveTeacher:
    """A teacher that predicts every augmented image while the student learns from it.

    The student then matches the teacher's function on what it sees, also on mixed faces, in place of one prediction
    per face that the teacher itself was trained on (Beyer et al. 2022, arXiv 2106.05237).

    Args:
        model: what `models.load_checkpoint` returns: a classifier, or an ensemble's mixture.
        spec: its description.
        labels: the data set's, in whose order it predicts.
        temperature: softens its predictions, see `soften`.

    Raises:
        ModelError: it has other labels.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, labels: Sequence[str], *, temperature: float = 1.0):
        self.model = model.eval().requires_grad_(False)
        self.spec = spec
        self.temperature = temperature
        self._order = torch.tensor(_label_places(spec, labels))

    def to(self, device: torch.device) -> "LiveTeacher":
        """Move it to the student's device."""
        self.model.to(device)
        self._order = self._order.to(device)
        for member in _members(self.model):
            fuse_attention(member, device)
        return self

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
        """Return `(B, K)` probabilities of a student's input `(B, 3, S, S)`, which `preprocess` normalised."""
        images = denormalise(x, preprocess)
        inputs = {name: normalise(resize(images, own), own) for name, own in self.spec.inputs.items()}
        logits: torch.Tensor = self.model(**inputs).logits.float()
        return (logits / self.temperature).softmax(dim=1).index_select(1, self._order)


@dataclass(frozen=True, eq=False)
class Teacher:
    """Another model to learn from.

    Attributes:
        predictions: `(N, K)` probabilities, a row per image of the train split, or what predicts each augmented one.
        description: what `run.json` says of the teacher: its name and its hash.
        trained_on: the licences of what the teacher was trained on, which its student has as well.
    """

    predictions: np.ndarray | LiveTeacher
    description: Mapping[str, str]
    trained_on: tuple[Licence, ...] = ()


def open_teacher(
    model: str | Path | Classifier,
    dataset: Dataset | Mixture,
    config: TrainConfig,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Teacher:
    """Return the teacher of a student: its predictions for the train split, or itself where `teacher_views` is 0.

    Args:
        model: a shipped model's name, an ONNX file, a model or ensemble folder, or an opened classifier.
        dataset: what the student learns from.
        config: the student's settings.
        threads: CPU threads of an ONNX file.
        progress: called while predictions are made; those of a file or folder are cached.

    Raises:
        ConfigError: `teacher_views` is 0 and `model` is no model folder.
        ModelError: the model cannot be read, or has other labels than the data.
    """
    if not config.teacher_views:
        return _open_live(model, dataset, config)
    if not isinstance(model, str | Path):
        opened = model
        probs = _of_all(lambda part, tick: soft_targets(opened, part, config, progress=tick), dataset, progress)
        description = {"name": model.spec.name, "hash": hashlib.sha256(probs.tobytes()).hexdigest()}
        return Teacher(probs, description, model.spec.trained_on)
    path = find_model(model)
    classifier = open_classifier(path, threads=threads)
    digest = model_hash(path)
    probs = _of_all(
        lambda part, tick: cached_soft_targets(classifier, digest, part, config, progress=tick), dataset, progress
    )
    return Teacher(probs, {"name": path.name, "hash": digest}, classifier.spec.trained_on)


def _of_all(
    predict: Callable[[Dataset, Progress | None], np.ndarray], dataset: Dataset | Mixture, progress: Progress | None
) -> np.ndarray:
    """Return the predictions for the train images of every data set, one after the other, with one progress."""
    parts = [part for part in as_mixture(dataset).parts if TRAIN in part.split_names]
    if not parts:
        dataset.split(TRAIN)  # raises
    images = [int((part.split_ids == SPLITS.index(TRAIN)).sum()) for part in parts]
    predictions = []
    for k, part in enumerate(parts):

        def tick(done: int, total: int, before: int = sum(images[:k]), own: int = images[k]) -> None:
            views = total // own
            if progress is not None:
                progress(before * views + done, sum(images) * views)

        predictions.append(predict(part, tick))
    return np.concatenate(predictions)


def _open_live(model: str | Path | Classifier, dataset: Dataset | Mixture, config: TrainConfig) -> Teacher:
    folder = find_folder(model) if isinstance(model, str | Path) else None
    if folder is None or folder.is_file():
        raise ConfigError(
            "teacher_views=0 has the teacher predict every augmented image, for which "
            f"{folder or 'an opened classifier'} must be a model folder"
        )
    live = LiveTeacher(*load_checkpoint(folder), dataset.labels, temperature=config.teacher_temperature)
    return Teacher(live, {"name": folder.name, "hash": model_hash(folder)}, live.spec.trained_on)


def soft_targets(
    teacher: Classifier, dataset: Dataset, config: TrainConfig, *, progress: Progress | None = None
) -> np.ndarray:
    """Return the teacher's `(N, K)` float32 probabilities for the train split, averaged over augmented views.

    The first view is the image as it is, the second its mirror image; each further one is mirrored at random,
    rotated, scaled and shifted a little (`VIEW`), seeded by `config.seed`. `config.teacher_temperature` softens the
    average. Other splits are not read.

    Raises:
        ConfigError: `teacher_views` is 0, which is for a `LiveTeacher`: there is no view to predict.
        ModelError: the teacher has other labels than the data set.
    """
    if not config.teacher_views:
        raise ConfigError("teacher_views is 0, so no predictions are made ahead: train with a LiveTeacher")
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
    teacher: Classifier,
    teacher_hash: str,
    dataset: Dataset,
    config: TrainConfig,
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return `soft_targets`, cached in fervit's cache folder under what they depend on, so that `--resume` is quick.

    Raises:
        DataError: the cache folder cannot be written.
        ConfigError: see `soft_targets`; or `FERVIT_CACHE_LIMIT` is no size.
        ModelError: see `soft_targets`.
    """
    wanted = (VERSION, teacher_hash, dataset.data_hash, config.teacher_views, config.teacher_temperature, config.seed)
    key = hashlib.sha256(json.dumps([*wanted, *dataset.labels]).encode()).hexdigest()[:32]
    return cached_array("soft-targets", key, lambda: soft_targets(teacher, dataset, config, progress=progress))


def _members(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the models of an ensemble's mixture, or the model itself."""
    members = getattr(model, "members", None)
    yield from members if isinstance(members, nn.ModuleList) else (model,)


def _view(images: np.ndarray, k: int, generator: torch.Generator) -> np.ndarray:
    """Return view number `k` of `(N, H, W, C)` uint8 images, of the same shape."""
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
        warped = random_affine(x.float(), x.shape[-1], VIEW)
    view: np.ndarray = warped.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return view


def _label_places(spec: ModelSpec, labels: Sequence[str]) -> list[int]:
    """Return the place of each of the data set's labels among the teacher's."""
    if {canonical(name) for name in spec.labels} != {canonical(name) for name in labels}:
        missing = [name for name, k in zip(labels, find_places(spec.labels, labels), strict=True) if k is None]
        hint = f"; {explain_missing(missing, labels, spec.labels)}" if missing else ""
        raise ModelError(f"the teacher predicts {', '.join(spec.labels)}; the data set has {', '.join(labels)}{hint}")
    if said := spelt_differently(spec.labels, labels):
        log.warning("labels of the data and of the teacher are matched by their meaning: %s", said)
    return label_places(spec.labels, labels)
