# mypy: disallow-untyped-calls=False
"""ViT+SE: what is its own beside the contract in test_contract.py."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fervit.config.architectures import ViTSEOptions
from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.architectures.vit_se import ViTSEForImageClassification
from fervit.models.backbone import head_of
from tests.helpers.weights import save_timm


@pytest.fixture(params=[False, True], ids=["vit", "dinov2"])
def timm_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    save_timm(tmp_path / "w.safetensors", dinov2=request.param)
    return tmp_path / "w.safetensors"


def se_model(timm_file: Path, **options: Any) -> ViTSEForImageClassification:
    torch.manual_seed(0)
    model, _ = build_model(timm_file, FER7, 32, arch="vit_se", options=ViTSEOptions(**options))
    assert isinstance(model, ViTSEForImageClassification)
    model.eval()
    return model


@pytest.mark.parametrize("se_on", ["cls", "tokens"])
def test_training_starts_from_the_plain_vit(timm_file: Path, se_on: str) -> None:
    model = se_model(timm_file, se_on=se_on)
    plain, _ = build_model(timm_file, FER7, 32)
    with torch.no_grad():  # a head without bias: its logits scale with the gates
        head_of(plain).load_state_dict({"weight": model.classifier.weight, "bias": torch.zeros(7)})
        model.classifier.bias.zero_()
        x = torch.randn(4, 3, 32, 32)
        expected, actual = plain.eval()(pixel_values=x).logits, model(pixel_values=x).logits
    torch.testing.assert_close(actual, torch.sigmoid(torch.tensor(3.0)) * expected, atol=0.01, rtol=0.02)
    assert expected.std() > 0.05


@pytest.mark.parametrize("se_on", ["cls", "tokens"])
def test_the_block_is_the_papers(timm_file: Path, se_on: str) -> None:
    model = se_model(timm_file, se_on=se_on, se_reduction=8)
    for parameter in model.se.parameters():
        torch.nn.init.normal_(parameter)  # gates far from constant
    dinov2 = model.backbone.config.model_type == "dinov2"
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        tokens = model.backbone(pixel_values=x).last_hidden_state
        read = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1) if dinov2 else tokens[:, 0]
        squeezed = read if se_on == "cls" else tokens.mean(1)
        w1, b1, w2, b2 = model.se.parameters()
        assert w1.shape == (squeezed.shape[1] // 8, squeezed.shape[1])
        gates = torch.sigmoid(torch.relu(squeezed @ w1.T + b1) @ w2.T + b2)
        if se_on == "tokens" and dinov2:
            gates = gates.repeat(1, 2)  # the mean of gated patches is the gated mean
        expected = (gates * read) @ model.classifier.weight.T + model.classifier.bias
        torch.testing.assert_close(model(pixel_values=x).logits, expected, atol=1e-5, rtol=1e-4)


def test_attentions_are_returned(timm_file: Path) -> None:
    output = se_model(timm_file)(pixel_values=torch.zeros(2, 3, 32, 32), output_attentions=True)
    assert [attention.shape for attention in output.attentions] == [(2, 1, 17, 17)] * 2
