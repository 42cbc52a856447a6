"""Ensembles as models: one folder, one module, one exported file."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput

import fervit
from fervit.errors import ModelError
from fervit.evaluation.explanations import explain
from fervit.export.onnx import _to_onnx, export
from fervit.inference.classifier import OnnxClassifier
from fervit.labels import FER7
from fervit.media.crops import shrink_crop
from fervit.models import TorchClassifier, load_checkpoint
from fervit.models.checkpoint import read_checkpoint
from fervit.models.mixture import Mixture, mixture_spec, save_mixture
from tests.helpers.ensembles import mixed_crops, save_members


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two ViTs of one shape, and a DINOv2 with a larger input, another normalisation and another label order."""
    return save_members(tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="module")
def made(members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of all three with equal weights."""
    folder = tmp_path_factory.mktemp("ensemble") / "E"
    loaded = [read_checkpoint(member) for member in members]
    spec = replace(mixture_spec([own for _, own in loaded], name="E"), temperature=1.2)
    save_mixture(loaded, [1 / 3] * 3, spec, folder)
    return folder


@pytest.mark.slow
def test_members_with_other_input_sizes_get_an_input_of_their_own(made: Path) -> None:
    _, spec = load_checkpoint(made)
    assert {name: preprocess.image_size for name, preprocess in spec.inputs.items()} == {
        "pixel_values": 48,
        "pixel_values_1": 32,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["members"][0].update(folder="../../first"), "is no folder in members/"),
        (lambda values: values["members"][0].update(folder=".."), "is no folder in members/"),
        (lambda values: values["members"][0].update(weight=0.9), "sum to 1"),
        (lambda values: values["members"][0].update(weight=float("nan")), "sum to 1"),
        (lambda values: values.update(members=[]), "positive weights"),
        (lambda values: values.pop("spec"), "not readable"),
        (lambda values: values["spec"].update(extra_inputs=[{"image_size": 32}]), "not readable"),
        (lambda values: values["spec"].update(extra_inputs=[]), "not those that it was made of"),
        (lambda values: values["members"][0].update(folder="gone"), "no config.json"),
    ],
)
def test_a_tampered_ensemble_is_refused(
    made: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    shutil.copytree(made, tmp_path / "E")
    path = tmp_path / "E" / "ensemble.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_checkpoint(tmp_path / "E")


def test_a_pickle_among_the_members_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "E")
    weights = tmp_path / "E" / "members" / "1-first" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(ModelError, match="pickle"):
        load_checkpoint(tmp_path / "E")


@pytest.fixture(scope="module")
def exported(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "E.onnx"
    assert export(made, path) < 1e-4
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_exported_file_predicts_as_the_folder_whatever_the_crops(made: Path, exported: Path, name: str) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    ours, theirs = OnnxClassifier(exported, runtime=name, threads=1), TorchClassifier(made)
    assert ours.spec == theirs.spec
    for count in (1, 6):
        crops = mixed_crops(count, count)
        np.testing.assert_allclose(ours.probs(crops, batch_size=4), theirs.probs(crops, batch_size=4), atol=1e-5)
    assert ours.probs([]).shape == (0, 7)


@pytest.mark.slow
def test_a_recognizer_takes_the_folder_and_the_file(made: Path, exported: Path, astronaut: np.ndarray) -> None:
    for model in (made, exported):
        recognizer = fervit.load(model, detector="none", threads=1)
        expected = recognizer.classifier.probs([astronaut])  # no member may be given an image that was resized before
        np.testing.assert_array_equal(recognizer(astronaut)[0].probs, expected[0])
        np.testing.assert_array_equal(next(recognizer.images([astronaut])).predictions[0].probs, expected[0])


def test_crops_that_wait_for_an_ensemble_keep_no_large_image_in_memory(made: Path) -> None:
    _, spec = load_checkpoint(made)
    image = np.zeros((3000, 3000, 3), np.uint8)
    assert shrink_crop(image, spec).shape == (1024, 1024, 3)
    assert shrink_crop(image[:100, :100], spec).base is None
    assert shrink_crop(image[:100, :100], replace(spec, extra_inputs=())).shape == (48, 48, 3)


def test_maps_of_an_ensemble_are_made_by_occlusion_and_others_point_to_the_members(
    made: Path, astronaut: np.ndarray
) -> None:
    classifier = TorchClassifier(made)
    assert explain(classifier, astronaut, method="occlusion").heat.shape == (48, 48)
    with pytest.raises(ModelError, match=r"members/.*--method occlusion"):
        explain(classifier, astronaut, method="gradient")


class Certain(nn.Module):
    """Predicts one label, whatever the input, by logits whose softmax underflows."""

    logits: torch.Tensor

    def __init__(self, label: int) -> None:
        super().__init__()
        self.register_buffer("logits", 1e4 * torch.eye(7)[label])

    def forward(self, pixel_values: torch.Tensor) -> ImageClassifierOutput:
        return ImageClassifierOutput(logits=pixel_values.mean(dim=(1, 2, 3))[:, None] + self.logits)


@pytest.mark.slow
def test_certain_members_that_disagree_keep_finite_logits(members: list[Path], tmp_path: Path) -> None:
    own = load_checkpoint(members[0])[1]
    spec = mixture_spec([own, own], name="E")
    model = Mixture([Certain(0), Certain(3)], [own, own], [0.25, 0.75], spec)
    _to_onnx(model, spec, tmp_path / "E.onnx")
    crops = mixed_crops(3)
    for classifier in (OnnxClassifier(tmp_path / "E.onnx"), TorchClassifier(model, spec)):
        probs = classifier.probs(crops)  # refuses what is not finite
        np.testing.assert_allclose(probs[:, [0, 3]], [[0.25, 0.75]] * 3, atol=1e-3)


def test_members_that_crop_faces_differently_or_have_other_labels_are_refused(members: list[Path]) -> None:
    spec = load_checkpoint(members[0])[1]
    wider = replace(spec, name="wider", preprocess=replace(spec.preprocess, crop_margin=0.3))
    with pytest.raises(ModelError, match="first and wider crop faces differently"):
        mixture_spec([spec, wider], name="E")
    with pytest.raises(ModelError, match="have different labels"):
        mixture_spec([spec, replace(spec, labels=(*FER7, "contempt"))], name="E")
