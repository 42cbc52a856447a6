# mypy: disallow-untyped-calls=False
"""The baseline CNN: what is its own beside the contract in test_contract.py."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fervit.config.architectures import CNNOptions
from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.architectures.cnn import CNNForImageClassification


def cnn(image_size: int = 48, **options: Any) -> CNNForImageClassification:
    torch.manual_seed(0)
    model, _ = build_model("scratch", FER7, image_size, arch="cnn", options=CNNOptions(**options))
    assert isinstance(model, CNNForImageClassification)
    return model


def test_the_baseline_has_about_as_many_parameters_as_a_vit_tiny() -> None:
    assert sum(parameter.numel() for parameter in cnn().parameters()) == 4_374_427


def test_a_face_of_48_px_is_halved_four_times() -> None:
    model = cnn(channels=8)
    assert model.backbone(torch.zeros(2, 3, 48, 48)).shape == (2, 64, 3, 3)


def test_blocks_start_as_their_shortcuts() -> None:
    model = cnn(channels=8, blocks=3).eval()
    x = torch.rand(2, 8, 12, 12)
    assert torch.equal(model.backbone.layers[1](x), x)  # ReLU of x + 0


def test_the_smallest_image_trains_even_alone_in_its_batch() -> None:
    model = cnn(24, channels=8).train()
    assert model(pixel_values=torch.randn(1, 3, 24, 24)).logits.isfinite().all()
    with pytest.raises(ModelError, match=r"23 is too small for a cnn.*give 24"):
        cnn(23)


def test_foreign_starting_weights_are_refused_by_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder, and a cnn starts from scratch"):
        build_model("owner/name", FER7, 48, arch="cnn")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ModelError, match="is a vit, and a cnn starts from scratch"):
        build_model(tmp_path, FER7, 48, arch="cnn")
