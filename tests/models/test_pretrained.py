"""Starting weights and model folders, read through transformers."""

import json
from pathlib import Path

import pytest
import torch

from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model, load_checkpoint, save_checkpoint
from fervit.models.backbone import layers_of
from fervit.types import ModelSpec
from tests.helpers.weights import Built


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image_size", 64, r"position_embeddings has the shape \(1, 17, 64\), and its place \(1, 65, 64\)"),
        ("hidden_size", 128, r"has the shape .*64.*, and its place .*128"),
        ("intermediate_size", 512, r"has the shape \(256,?.*\), and its place \(512"),
        ("num_hidden_layers", 1, r"no place for 16 weights, such as vit\.layers\.1\."),
        ("num_hidden_layers", 3, r"incomplete: 16 of its weights are missing"),
    ],
)
def test_weights_that_do_not_fit_their_configuration_are_refused_with_both_shapes(
    small: Built, tmp_path: Path, key: str, value: int, message: str
) -> None:
    model, preprocess = small
    folder = tmp_path / "m"
    save_checkpoint(model, ModelSpec("vit", preprocess), folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {key: value}))
    for open_folder in (lambda: build_model(folder, FER7, values["image_size"]), lambda: load_checkpoint(folder)):
        with pytest.raises(ModelError, match=message):
            open_folder()


def test_a_saved_folder_starts_another_run_at_another_size_with_other_labels(small: Built, tmp_path: Path) -> None:
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7, temperature=2.0), tmp_path / "first")
    child, child_preprocess = build_model(tmp_path / "first", ("no", "yes"), 64)
    assert child(pixel_values=torch.zeros(1, 3, 64, 64)).logits.shape == (1, 2)
    assert child_preprocess.image_size == 64
    assert not hasattr(child.config, "fervit")
    kept = layers_of(child)[0].state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in layers_of(model)[0].state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resample": 9},
            r"resample 9 is none of Pillow's filters: 0 \(nearest\), 1 \(lanczos\), 2 \(bilinear\), 3 \(",
        ),
        ({"image_mean": None}, "image_mean is None; expected a number for each channel"),
        ({"image_std": [0.5, 0.5]}, "image_std has 2 numbers, and the model's input 3 channels"),
        ({"size": "large"}, "not readable: .*size.*large"),
    ],
)
def test_a_preprocessing_that_cannot_be_followed_is_refused(
    tmp_path: Path, small: Built, changes: dict[str, object], message: str
) -> None:
    model, preprocess = small
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "m")
    path = tmp_path / "m" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=message):
        load_checkpoint(tmp_path / "m")
    path.write_text("{")
    with pytest.raises(ModelError, match="not readable"):
        load_checkpoint(tmp_path / "m")
