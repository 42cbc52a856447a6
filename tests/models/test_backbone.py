"""The parts of a classifier: layers by depth, and the projection with luma folded in."""

from pathlib import Path

import numpy as np
import pytest

from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model
from fervit.models.backbone import fold_luma, layer_index, layers_of
from fervit.types import ModelSpec
from tests.helpers.weights import Built, save_timm


@pytest.mark.parametrize("dinov2", [False, True])
def test_folding_luma_keeps_logits_for_grey_and_makes_colour_grey(tmp_path: Path, dinov2: bool) -> None:
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    classifier = TorchClassifier(model, ModelSpec("vit", preprocess))
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (4, 32, 32, 1), dtype=np.uint8)
    colour = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    luma = (colour @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)[..., None]
    before = classifier.logits(grey)
    fold_luma(model, preprocess)
    np.testing.assert_allclose(classifier.logits(grey), before, atol=1e-4)
    np.testing.assert_allclose(classifier.logits(colour), classifier.logits(luma), atol=0.02)


def test_layer_index_runs_from_embeddings_to_head(small: Built) -> None:
    model, _ = small
    index = layer_index(model)
    depths = {name: index(name) for name, _ in model.named_parameters()}
    assert {d for n, d in depths.items() if ".embeddings." in n} == {0}
    assert depths["classifier.weight"] == len(layers_of(model)) + 1
    assert set(depths.values()) == {0, 1, 2, 3}
