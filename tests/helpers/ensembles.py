"""Small models with smooth images to predict for, and random probabilities: what tests of ensembles share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, save_checkpoint
from fervit.models.backbone import head_of
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm

COUNT = 60  # images of public_test


def save_member(
    root: Path,
    name: str,
    *,
    seed: int = 0,
    size: int = 32,
    dinov2: bool = False,
    labels: Sequence[str] = FER7,
    spread: float = 2.0,
    **preprocess: Any,
) -> Path:
    """Write a tiny model folder whose logits deviate by `spread` from image to image."""
    save_timm(root / "weights.safetensors", dinov2=dinov2, seed=seed)
    torch.manual_seed(seed)
    model, own = build_model(root / "weights.safetensors", labels, size)
    own = replace(own, **preprocess)
    spec = ModelSpec(model.config.model_type, own, labels=tuple(labels), name=name, licence="MIT")
    with torch.no_grad():
        head = head_of(model)
        head.weight.normal_()
        head.bias.zero_()
        logits = torch.from_numpy(TorchClassifier(model, spec).logits(make_dataset().images))
        scale = spread / logits.std(dim=0)
        head.weight.mul_(scale[:, None])
        head.bias.sub_(logits.mean(dim=0) * scale)
    save_checkpoint(model, spec, root / name)
    return root / name


def save_members(root: Path) -> list[Path]:
    """Write two ViTs of one shape, and a DINOv2 with a larger input, another normalisation and label order."""
    return [
        save_member(root, "first", seed=0),
        save_member(root, "second", seed=1),
        save_member(root, "third", seed=2, size=48, dinov2=True, labels=FER7[::-1]),
    ]


def make_dataset(
    targets: np.ndarray | None = None, *, labels: Sequence[str] = FER7, split: int | None = None
) -> Dataset:
    """Return smooth grey images: train, public_test, private_test, in this order, or all in one split."""
    rng = np.random.default_rng(5)
    count = 2 * COUNT
    coarse = rng.integers(0, 256, (count, 4, 4, 1))
    images = coarse.repeat(10, axis=1).repeat(10, axis=2).astype(np.uint8)  # (N, 40, 40, 1)
    split_ids = np.repeat([0, 1, 2], [COUNT // 2, COUNT, COUNT // 2]) if split is None else np.full(count, split)
    drawn = rng.integers(0, len(labels), count) if targets is None else targets
    return Dataset("made", tuple(labels), images, drawn, split_ids.astype(np.int8), np.arange(count), "ab" * 32)


def draw_probs(
    members: int,
    count: int,
    classes: int,
    *,
    seed: int = 0,
    targets: np.ndarray | None = None,
    skill: Sequence[float] = (),
) -> np.ndarray:
    """Return `(M, N, K)` random probabilities; `skill` is added to the truth's logit of each member."""
    logits = np.random.default_rng(seed).normal(size=(members, count, classes))
    for k, strength in enumerate(skill):
        logits[k, np.arange(count), targets] += strength
    return probabilities.softmax(2 * logits)


def mixed_crops(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return crops of several sizes, colour and grey; small: where torch and Pillow scale down, they round apart."""
    rng = np.random.default_rng(seed)
    sizes = [(20 + 4 * (k % 4), 30) for k in range(count)]
    return [rng.integers(0, 256, (*size, 1 if k % 3 else 3), dtype=np.uint8) for k, size in enumerate(sizes)]
