"""Maps over faces, and checks that they say something true."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from fervit.cli import app
from fervit.config.architectures import CNNOptions
from fervit.data import load
from fervit.errors import ConfigError, ImageError, ModelError
from fervit.evaluation.explanations import METHODS, deletion_curve, draw_sheet, explain, methods_of, overlay
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import default_model, find_model, shipped_checkpoint
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, save_checkpoint
from fervit.types import ModelSpec, Preprocess


@pytest.fixture(scope="module")
def trained() -> TorchClassifier:
    return TorchClassifier(shipped_checkpoint(), device="cpu")


@pytest.fixture(scope="module")
def randomised() -> TorchClassifier:
    """The same model with the weights of all its layers redrawn (Adebayo et al. 2018, arXiv 1810.03292)."""
    from fervit.models.backbone import layers_of

    classifier = TorchClassifier(shipped_checkpoint(), device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in layers_of(classifier.model).parameters():
            if weights.ndim == 2:
                weights.normal_(std=float(weights.std()), generator=generator)
    return classifier


@pytest.fixture(scope="module")
def faces(trained: TorchClassifier) -> np.ndarray:
    """Synthetic faces that the model is fairly sure about."""
    images = load("synthetic:140").images
    probs = trained.probs(images)
    chosen: np.ndarray = images[np.argsort(-probs.max(axis=1))[:10]]
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_map_has_the_size_of_the_input_and_lies_in_0_to_1(
    trained: TorchClassifier, faces: np.ndarray, method: str
) -> None:
    found = explain(trained, faces[0], method=method)
    side = trained.spec.preprocess.image_size
    assert found.heat.shape == (side, side) and found.crop.shape == (side, side, 3)
    assert found.heat.dtype == np.float32 and found.heat.min() >= 0 and 0.9 < found.heat.max() <= 1
    probs = trained.probs(faces[:1])[0]
    assert found.label == trained.spec.labels[probs.argmax()]
    assert found.score == pytest.approx(probs.max(), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_map_repeats(trained: TorchClassifier, faces: np.ndarray, method: str) -> None:
    first, second = (explain(trained, faces[0], method=method).heat for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_maps_of_a_randomised_model_differ(
    trained: TorchClassifier, randomised: TorchClassifier, faces: np.ndarray, method: str
) -> None:
    label = trained.spec.labels[0]
    correlations = []
    for face in faces[:3]:
        maps = [explain(model, face, method=method, label=label).heat.ravel() for model in (trained, randomised)]
        correlations.append(np.corrcoef(maps)[0, 1])
    assert np.mean(correlations) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_deleting_what_a_map_shows_lowers_the_answer_faster_than_random_deletion(
    trained: TorchClassifier, faces: np.ndarray, method: str
) -> None:
    rng = np.random.default_rng(0)
    side = trained.spec.preprocess.image_size
    areas = []
    for face in faces[:5]:
        found = explain(trained, face, method=method)
        patches = rng.random((side // 8, side // 8)).repeat(8, axis=0).repeat(8, axis=1)  # as coarse as a map
        by_chance = np.argsort(-patches.ravel(), kind="stable")
        curves = [deletion_curve(trained, found, order=order) for order in (None, by_chance)]
        assert curves[0][0] == pytest.approx(found.score, abs=1e-6) == curves[1][0]
        areas.append([curve.mean() for curve in curves])
    mapped, random = np.mean(areas, axis=0)
    assert mapped < random - 0.02


@pytest.mark.slow
def test_a_gradient_map_depends_on_the_label_and_attention_does_not(
    trained: TorchClassifier, faces: np.ndarray
) -> None:
    def difference(method: str) -> float:
        maps = [explain(trained, faces[0], method=method, label=label).heat for label in ("happy", "angry")]
        return float(np.abs(maps[0] - maps[1]).max())

    assert difference("gradient") > 0.1
    assert difference("rollout") == 0


@pytest.mark.slow
def test_explaining_leaves_the_model_as_it_was(trained: TorchClassifier, faces: np.ndarray) -> None:
    before = trained.probs(faces)
    explain(trained, faces[0], method="gradient")
    assert all(weights.grad is None for weights in trained.model.parameters())
    np.testing.assert_array_equal(before, trained.probs(faces))


def test_a_dinov2_model_is_explained_too(faces: np.ndarray) -> None:
    from transformers import Dinov2Config, Dinov2ForImageClassification

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, image_size=28, patch_size=14)
    config.num_labels = 7
    config._attn_implementation = "eager"
    spec = ModelSpec(arch="dinov2", preprocess=Preprocess(28, (0.5,) * 3, (0.5,) * 3))
    classifier = TorchClassifier(Dinov2ForImageClassification(config), spec, device="cpu")
    for method in METHODS:
        assert explain(classifier, faces[0], method=method).heat.shape == (28, 28)


@pytest.mark.slow
def test_an_exported_model_is_explained_by_occlusion_and_nothing_else(faces: np.ndarray) -> None:
    classifier = OnnxClassifier(default_model())
    assert explain(classifier, faces[0]).method == "occlusion"
    for method in ("gradient", "rollout"):
        with pytest.raises(ConfigError, match="model folder"):
            explain(classifier, faces[0], method=method)


@pytest.mark.slow
def test_both_runtimes_give_one_occlusion_map(trained: TorchClassifier, faces: np.ndarray) -> None:
    maps = [explain(c, faces[0], method="occlusion").heat for c in (trained, OnnxClassifier(find_model("tiny")))]
    np.testing.assert_allclose(maps[0], maps[1], atol=0.02)


@pytest.mark.slow
def test_a_blank_picture_has_a_map(trained: TorchClassifier) -> None:
    for method in METHODS:
        assert np.isfinite(explain(trained, np.full((50, 50, 3), 127, np.uint8), method=method).heat).all()


def test_unknown_methods_and_labels_name_the_choices(trained: TorchClassifier, faces: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="did you mean 'gradient'"):
        explain(trained, faces[0], method="gradiant")
    with pytest.raises(ConfigError, match="did you mean 'happy'"):
        explain(trained, faces[0], label="hapy")


@pytest.mark.slow
def test_all_methods_are_those_that_the_model_allows(
    trained: TorchClassifier, faces: np.ndarray, tmp_path: Path
) -> None:
    preprocess = Preprocess(image_size=48, mean=(0.5,) * 3, std=(0.5,) * 3)
    model, _ = build_model("scratch", FER7, 48, arch="cnn", options=CNNOptions(channels=8, blocks=1))
    save_checkpoint(model, ModelSpec("cnn", preprocess, FER7, name="cnn"), tmp_path / "cnn")
    assert methods_of(trained) == list(METHODS)
    assert methods_of(TorchClassifier(tmp_path / "cnn")) == methods_of(OnnxClassifier(default_model())) == ["occlusion"]
    assert explain(TorchClassifier(tmp_path / "cnn"), faces[0]).method == "occlusion"
    Image.fromarray(np.array(faces[0]).repeat(3, axis=2)).save(tmp_path / "face.png")
    command = ["explain", str(tmp_path / "cnn"), str(tmp_path / "face.png"), "--crop", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and result.stdout.rstrip().endswith("(occlusion)")


def test_a_model_without_attention_is_told_apart(faces: np.ndarray, trained: TorchClassifier) -> None:
    class Plain(torch.nn.Module):
        def forward(self, pixel_values: torch.Tensor, output_attentions: bool = False) -> SimpleNamespace:
            return SimpleNamespace(logits=pixel_values.mean(dim=(2, 3)).repeat(1, 3)[:, :7])

    classifier = TorchClassifier(Plain(), trained.spec, device="cpu")
    with pytest.raises(ModelError, match="no attention"):
        explain(classifier, faces[0], method="rollout")


def test_overlays_fit_any_picture_and_leave_cold_places_grey() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    cold = overlay(picture, np.zeros((5, 5)))
    assert cold.shape == picture.shape and (cold == cold[..., :1]).all()
    hot = overlay(picture, np.ones((5, 5)))
    assert (hot != cold).any()


@pytest.mark.slow
def test_a_sheet_shows_the_face_and_every_map(trained: TorchClassifier, faces: np.ndarray) -> None:
    maps = [explain(trained, faces[0], method=method) for method in METHODS]
    sheet = draw_sheet(maps[0].crop, maps)
    assert sheet.shape[1] > 4 * 280 and sheet.dtype == np.uint8


@pytest.mark.slow
def test_the_command_writes_a_picture_for_each_face(media: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["explain", str(media / "two_people.jpg"), "--out", str(out), "--method", "rollout"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["two_people-face1.png", "two_people-face2.png"]
    assert done.output.count("rollout") == 2
    assert done.output.count(" %, says tiny  (") == 2  # not the default model, which has no attention


@pytest.mark.slow
def test_the_command_takes_a_model_before_the_photo(faces: np.ndarray, tmp_path: Path) -> None:
    photo = tmp_path / "face.png"
    Image.fromarray(faces[0][:, :, 0]).save(photo)
    for model in (str(default_model()), "mobilenet"):
        done = CliRunner().invoke(app, ["explain", model, str(photo), "--crop", "--out", str(tmp_path / model[-9:])])
        assert done.exit_code == 0, done.output
        assert "(occlusion)" in done.output and (tmp_path / model[-9:] / "face-face1.png").is_file()


@pytest.mark.slow
def test_a_photo_without_a_face_is_an_error(tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), "teal").save(tmp_path / "plain.png")
    done = CliRunner().invoke(app, ["explain", str(tmp_path / "plain.png"), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, ImageError) and "no face found" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["a", "b", "c"], ["a.jpg", "--method", "grad"]])
def test_the_command_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, ["explain", *arguments]).exception, ConfigError)
