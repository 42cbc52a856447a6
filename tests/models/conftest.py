"""A small model for the tests of `fervit.models`."""

from pathlib import Path

import pytest
import torch

from fervit.labels import FER7
from fervit.models import build_model
from tests.helpers.weights import Built, save_timm


@pytest.fixture
def small(tmp_path: Path) -> Built:
    """A small ViT built from timm weights, `w.safetensors` in the test's folder, with its preprocessing."""
    save_timm(tmp_path / "w.safetensors")
    torch.manual_seed(0)
    return build_model(tmp_path / "w.safetensors", FER7, 32)
