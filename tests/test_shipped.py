"""The shipped models: what the cards say is what the files do."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import fervit
from fervit.cli._shared import MODEL
from fervit.data import load
from fervit.data.synthetic import dataset as synth
from fervit.errors import ModelError
from fervit.evaluation.measurement import evaluate
from fervit.files import ASSETS
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import (
    SHIPPED_MODELS,
    default_model,
    find_folder,
    find_model,
    folder_licences,
    shipped_checkpoint,
)
from fervit.licences import KNOWN, check_commercial
from fervit.models import TorchClassifier
from tests.helpers import DATA, ROOT

LOG = ROOT / "docs" / "runs" / "tiny"
MODELS = ROOT / "models"


@pytest.mark.slow
def test_both_forms_give_the_same_probabilities_and_the_same_spec() -> None:
    onnx, torch = OnnxClassifier(find_model("tiny")), TorchClassifier(shipped_checkpoint())
    assert onnx.spec == torch.spec
    faces = synth.synthesize(21).images
    np.testing.assert_allclose(onnx.probs(list(faces)), torch.probs(faces), atol=1e-5)


def test_assets_fit_into_the_wheel_and_hold_no_pickle() -> None:
    files = [path for path in default_model().parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert {path.suffix for path in files} <= {".onnx", ".safetensors", ".json", ".md"}


def test_what_comes_with_the_package_excludes_no_commercial_use() -> None:
    folders = [path.parent for path in ASSETS.rglob("config.json")]
    learnt = {
        path.name: OnnxClassifier(path).spec.trained_on for path in ASSETS.glob("*.onnx") if "graph" not in path.name
    }
    learnt |= {folder.name: folder_licences(folder) for folder in folders}
    assert {f"{name}.onnx" for name in SHIPPED_MODELS} | {"tiny"} == learnt.keys()
    for name, licences in learnt.items():
        assert licences == (KNOWN["fer2013"],), name  # noted, and nothing but this
        check_commercial(name, licences)


def test_every_shipped_model_has_a_name_a_card_and_half_the_room() -> None:
    assert {path.stem for path in default_model().parent.glob("*.onnx")} == {*SHIPPED_MODELS, "yunet_graph"}
    assert find_model(None) == default_model() == find_model(SHIPPED_MODELS[0])
    for name in SHIPPED_MODELS:
        assert name in MODEL
        assert OnnxClassifier(find_model(name)).spec.name == name
        assert (find_model(name).with_suffix("") / "README.md").is_file()
    weights = (shipped_checkpoint() / "model.safetensors").stat().st_size
    assert find_model("tiny").stat().st_size < 1.05 * weights  # in 16 bits, as the folder's


def test_the_card_and_the_log_name_the_run() -> None:
    card = (shipped_checkpoint() / "README.md").read_text(encoding="utf-8")
    metrics = OnnxClassifier(find_model("tiny")).spec.metrics
    assert f"{metrics['private_test']['accuracy']:.4f}" in card
    run = json.loads((LOG / "run.json").read_text(encoding="utf-8"))
    assert run["data"]["n_train"] == 28_709
    assert (LOG / "metrics.csv").read_text().count("\n") == 1 + run["config"]["epochs"]
    assert "Art. 5(1)(f)" in card


def test_photos_of_the_media_folder_are_recognised(media: Path) -> None:
    recognizer = fervit.load()
    expected = {
        "expression_happy.jpg": "happy",
        "expression_neutral.jpg": "neutral",
        "expression_surprised.jpg": "surprise",
    }
    for name, label in expected.items():
        (prediction,) = recognizer(media / name)
        assert prediction.label == label, name
    assert recognizer(media / "no-faces.jpg") == []
    labels = [prediction.label for prediction in recognizer(media / "multi_face.jpg")]
    assert len(labels) == 5
    assert labels.count("happy") >= 4  # one smile with closed lips reads as neutral to this model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "base"),
    [
        ("mobilenet", "A convolutional network (`mobilenet_v1`", "VGGFace2"),
        ("inception", "A convolutional network (`inception_resnet_v1`", "FaceNet"),
        ("small", "A Vision Transformer (`dinov2`", "DINOv2 ViT-S/14"),
    ],
)
@pytest.mark.skipif(not MODELS.is_dir(), reason="models/ is in the repository only")
def test_a_model_beside_the_package_is_what_its_card_says(name: str, kind: str, base: str, media: Path) -> None:
    classifier = TorchClassifier(MODELS / name)
    card = (MODELS / name / "README.md").read_text(encoding="utf-8")
    assert kind in card and f"(`{classifier.spec.arch}`" in kind and base in card
    assert f"{classifier.spec.metrics['private_test']['accuracy']:.4f}" in card
    run = json.loads((ROOT / "docs" / "runs" / name / "run.json").read_text(encoding="utf-8"))
    assert run["data"]["hash"] == classifier.spec.data_hash
    assert run["config"]["arch"] == {"dinov2": "vit"}.get(classifier.spec.arch, classifier.spec.arch)
    (prediction,) = fervit.load(MODELS / name)(media / "expression_happy.jpg")
    assert prediction.label == "happy" and prediction.score > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not MODELS.is_dir(), reason="models/ is in the repository only")
def test_the_packages_mobilenet_is_the_one_beside_it() -> None:
    by_name, classifier = find_model("mobilenet"), TorchClassifier(MODELS / "mobilenet")
    card = (MODELS / "mobilenet" / "README.md").read_text(encoding="utf-8")
    assert (by_name.with_suffix("") / "README.md").read_text(encoding="utf-8") == card
    bundled = OnnxClassifier(by_name)
    assert bundled.spec == classifier.spec
    faces = synth.synthesize(21).images
    np.testing.assert_allclose(bundled.probs(list(faces)), classifier.probs(faces), atol=1e-5)


@pytest.mark.slow
def test_the_8_bit_model_predicts_as_the_exact_one_does_and_its_card_says_what_it_is() -> None:
    exact, small = OnnxClassifier(find_model("mobilenet")), OnnxClassifier(find_model("mobilenet_int8"))
    assert small.spec == dataclasses.replace(exact.spec, name="mobilenet_int8", metrics=small.spec.metrics)
    faces = list(synth.synthesize(70).images)
    difference = np.abs(small.probs(faces) - exact.probs(faces))
    assert 0 < difference.mean() < 0.005 and difference.max() < 0.1
    assert find_model("mobilenet_int8").stat().st_size < 0.3 * find_model("mobilenet").stat().st_size
    card = (find_model("mobilenet_int8").with_suffix("") / "README.md").read_text(encoding="utf-8")
    for split, figures in small.spec.metrics.items():
        assert f"{split}, accuracy (95 % interval) | {100 * exact.spec.metrics[split]['accuracy']:.2f} % " in card
        assert f"| {100 * figures['accuracy']:.2f} % (" in card
        assert exact.spec.metrics[split]["accuracy"] - figures["accuracy"] < 0.003
    with pytest.raises(ModelError, match=r"ONNX file only; a model folder is needed here: mobilenet$"):
        find_folder("mobilenet_int8")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_evaluation_on_fer2013_reproduces_the_card_to_the_digit(name: str) -> None:
    path = DATA / "fer2013.parquet"
    if not path.is_file():
        pytest.skip(f"FER2013 is not at {path}")
    classifier = OnnxClassifier(find_model(name))
    report = evaluate(classifier, load(path), split="public_test")
    expected = classifier.spec.metrics["public_test"]
    # In 8 bits the last bit of a sum, which CPUs differ in, can be a whole step of what follows.
    faces = 5 if name.endswith("int8") else 1
    assert report.accuracy.value == pytest.approx(expected["accuracy"], abs=faces / 3589)
    assert report.to_dict()["accuracy_leak_free"] == pytest.approx(expected["accuracy_leak_free"], abs=faces / 3309)
