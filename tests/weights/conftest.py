"""A small model folder to put on a stand-in for the Hub."""

from pathlib import Path

import pytest

from fervit.labels import FER7
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ViT with random weights as a model folder of fervit's."""
    from fervit.models import build_model, save_checkpoint

    folder = tmp_path_factory.mktemp("small")
    save_timm(folder / "timm.safetensors")
    model, preprocess = build_model(folder / "timm.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7, name="small one"), folder / "model")
    return folder / "model"
