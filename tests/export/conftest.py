"""A small exact model, and faces whose targets are its own predictions."""

from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.inference.classifier import OnnxClassifier
from fervit.labels import FER7
from fervit.types import ModelSpec
from tests.helpers import write_mlp


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_spec: ModelSpec) -> Path:
    path = tmp_path_factory.mktemp("exact") / "exact.onnx"
    write_mlp(path, tiny_spec)
    return path


@pytest.fixture(scope="module")
def faces(model: Path) -> Dataset:
    """60 noise pictures, 40 of them public_test, whose targets are the model's own answers."""
    images = np.random.default_rng(0).integers(0, 256, (60, 48, 48, 1), dtype=np.uint8)
    targets = OnnxClassifier(model, threads=1).probs(images).argmax(1)
    return Dataset("noise", FER7, images, targets, np.repeat([0, 1], [20, 40]).astype(np.int8), np.arange(60), "hash")
