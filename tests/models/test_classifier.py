# mypy: disallow-untyped-calls=False
"""`TorchClassifier`."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import fervit.models.classifier
from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.media.crops import preprocess_batch
from fervit.models import TorchClassifier, build_model
from fervit.models.classifier import torch_device
from fervit.models.inputs import to_input
from fervit.runtime.devices import say_once
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm


def test_the_input_is_the_same_as_in_every_runtime(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 56)
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), dtype=np.uint8)
    pixels = torch.from_numpy(preprocess_batch(crops, preprocess))
    # at 56 px torch's own resizing is not Pillow's
    assert not torch.allclose(to_input(torch.from_numpy(crops).permute(0, 3, 1, 2), preprocess), pixels, atol=1e-3)
    with torch.no_grad():
        expected = model.eval()(pixel_values=pixels).logits.numpy()
    classifier = TorchClassifier(model, ModelSpec("vit", preprocess, labels=FER7))
    np.testing.assert_allclose(classifier.logits(crops, batch_size=2), expected, atol=1e-5)
    mixed = [*crops[:2], np.repeat(crops[2], 3, axis=2), crops[3][:40]]
    np.testing.assert_allclose(classifier.logits(mixed)[:3], expected[:3], atol=1e-5)


@pytest.fixture
def small(tmp_path: Path) -> tuple[torch.nn.Module, ModelSpec]:
    save_timm(tmp_path / "w.safetensors")
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    return model, ModelSpec("vit", preprocess, labels=FER7)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "can use no NVIDIA GPU here; install PyTorch's build for CUDA"),
        ("mps", "has no mps here"),
        ("openvino:GPU", "PyTorch runs models on cpu, cuda, mps, not on openvino:GPU"),
    ],
)
def test_a_device_that_torch_lacks_is_named_with_what_brings_it(
    small: tuple[torch.nn.Module, ModelSpec], monkeypatch: pytest.MonkeyPatch, device: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelError, match=message):
        TorchClassifier(*small, device=device)


def test_a_gpu_beyond_the_last_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device("cuda:1") == torch.device("cuda", 1)
    assert torch_device("auto") == torch.device("cuda")
    with pytest.raises(ModelError, match=r"there is no cuda:2: PyTorch sees 2 GPUs, from cuda:0 on"):
        torch_device("cuda:2")


def test_auto_says_once_that_torch_cannot_use_the_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    say_once.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(fervit.models.classifier, "has_nvidia_gpu", lambda: True)
    with caplog.at_level(logging.WARNING):
        assert {torch_device(name) for name in ("auto", "auto", "cpu")} == {torch.device("cpu")}
    (message,) = caplog.messages
    assert "has an NVIDIA GPU" in message and "PyTorch's build for CUDA" in message


def test_bfloat16_is_for_cuda_alone_and_changes_little(
    small: tuple[torch.nn.Module, ModelSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), dtype=np.uint8)
    exact = TorchClassifier(*small).probs(crops)
    np.testing.assert_array_equal(TorchClassifier(*small, precision="auto").probs(crops), exact)
    monkeypatch.setattr(fervit.models.classifier, "bf16_on", lambda device: True)
    rounded = TorchClassifier(*small, precision="auto").probs(crops)
    assert 0 < np.abs(rounded - exact).max() < 0.01
