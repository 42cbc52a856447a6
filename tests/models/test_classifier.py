# mypy: disallow-untyped-calls=False
"""`TorchClassifier`."""

from pathlib import Path

import numpy as np
import torch

from fervit.labels import FER7
from fervit.media.crops import preprocess_batch
from fervit.models import TorchClassifier, build_model
from fervit.models.inputs import to_input
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
