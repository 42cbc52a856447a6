"""`fervit.train`, `fervit.distill` and `fervit.export_onnx`: what the command line does, from Python."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import fervit
from fervit import api
from fervit.config.training import TrainConfig, config_from_dict
from fervit.errors import ConfigError, DataError, ModelError
from fervit.inference.model_files import model_hash
from fervit.models import TorchClassifier
from tests.helpers import QUICK, faces
from tests.helpers.training import quick_config
from tests.helpers.weights import save_timm


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_timm(tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_the_functions_are_found_in_the_package() -> None:
    assert (fervit.train, fervit.distill, fervit.export_onnx) == (api.train, api.distill, api.export_onnx)


@pytest.mark.slow
def test_a_recipe_and_data_by_name_train_as_opened_ones_do(tmp_path: Path, weights: Path) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in QUICK.items()))
    before = torch.get_num_threads()
    figures = fervit.train(recipe, "synthetic:70", tmp_path / "a", init=weights, command="test", threads=before + 1)
    assert torch.get_num_threads() == before
    run = json.loads((tmp_path / "a" / "run.json").read_text())
    assert (run["threads"], run["command"], run["public_test"]) == (before + 1, "test", figures)
    data = fervit.load_dataset("synthetic:70")
    again = fervit.train(config_from_dict(QUICK), data, tmp_path / "b", init=str(weights), threads=before + 1)
    assert again == figures


def test_mistakes_of_training_name_the_way_out(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        fervit.train("tinny", faces(), tmp_path / "run")
    with pytest.raises(DataError, match=r"no data set at none\.csv"):
        fervit.train(quick_config(), "none.csv", tmp_path / "run", init=weights)
    with pytest.raises(ModelError, match="no weights at"):
        fervit.train(quick_config(), faces(), tmp_path / "run", init=tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="pickle"):
        fervit.train(quick_config(), faces(), tmp_path / "run", init="w.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_file_and_an_opened_classifier_teach_a_student(tmp_path: Path, weights: Path, tiny_onnx: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = quick_config(epochs=1, teacher_weight=0.5, teacher_views=1)
    data = faces(56)
    fervit.distill(
        tiny_onnx, data, tmp_path / "a", recipe=config, init=weights, progress=lambda *done: seen.append(done)
    )
    assert seen == [(28, 28)]
    fervit.distill(fervit.OnnxClassifier(tiny_onnx), data, tmp_path / "b", recipe=config, init=weights)
    a, b = (TorchClassifier(tmp_path / name).logits(data.images[:7]) for name in "ab")
    np.testing.assert_array_equal(a, b)
    described = [json.loads((tmp_path / name / "run.json").read_text())["teacher"] for name in "ab"]
    assert described[0] == {"name": "tiny.onnx", "hash": model_hash(tiny_onnx)}
    assert described[1]["name"] == "tiny" and described[1]["hash"] != described[0]["hash"]


def test_a_recipe_that_says_nothing_of_a_teacher_gives_it_half_of_the_target(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the teacher would teach nothing"):
        fervit.distill("mobilenet", faces(), tmp_path / "run", recipe=TrainConfig())
    assert api.configured("paper", teacher_weight=api.TEACHER_WEIGHT).teacher_weight == 0.5


@pytest.mark.slow
def test_a_model_is_exported_and_its_options_belong_together(tmp_path: Path, weights: Path) -> None:
    fervit.train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights)
    out = tmp_path / "m.onnx"
    exported = fervit.export_onnx(tmp_path / "run", out)
    assert exported.path == out and exported.size == out.stat().st_size and exported.int8 is None
    assert exported.difference is not None and exported.difference < 1e-4
    crops = faces(4).images
    np.testing.assert_allclose(
        fervit.OnnxClassifier(out).probs(crops), TorchClassifier(tmp_path / "run").probs(crops), atol=1e-4
    )
    with pytest.raises(ConfigError, match="exists"):
        fervit.export_onnx(tmp_path / "run", out)
    with pytest.raises(ConfigError, match="--int8 needs --data"):
        fervit.export_onnx(out, tmp_path / "m8.onnx", int8=True)
    with pytest.raises(ConfigError, match="belong to --int8"):
        fervit.export_onnx(tmp_path / "run", tmp_path / "other.onnx", data="synthetic:70")
    with pytest.raises(ConfigError, match="is the model itself"):
        fervit.export_onnx(out, out, int8=True, data="none.csv", overwrite=True)
    with pytest.raises(ModelError, match="no model at"):
        fervit.export_onnx(tmp_path / "none.onnx", out, int8=True, data="none.csv")
    assert [path.name for path in tmp_path.glob(".export-*")] == []
