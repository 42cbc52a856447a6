# mypy: disallow-untyped-calls=False
"""Poker Face ViT: what each term of its loss teaches and what it leaves alone, and the faces that it paints."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from fervit.cli import app
from fervit.config.architectures import PFViTOptions
from fervit.data import load
from fervit.errors import ConfigError, ImageError, ModelError
from fervit.evaluation.poker_face import draw_poker_face, make_poker_face
from fervit.export.onnx import export
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, load_checkpoint, save_checkpoint
from fervit.models.architectures.pf_vit import PFViTForImageClassification, squared_cosine
from fervit.models.backbone import backbone_of
from fervit.models.checkpoint import read_checkpoint
from fervit.types import ModelSpec
from tests.helpers.weights import save_timm

SMALL: dict[str, Any] = {"face_px": 16, "channels": 16}
NEUTRAL = FER7.index("neutral")
Batch = tuple[torch.Tensor, torch.Tensor]
Build = Callable[..., PFViTForImageClassification]
History = list[dict[str, float]]
Histories = list[History]


def new(init: Path, labels: Sequence[str] = FER7, **options: Any) -> PFViTForImageClassification:
    torch.manual_seed(0)
    model, _ = build_model(init, labels, 32, arch="pf_vit", options=PFViTOptions(**SMALL | options))
    assert isinstance(model, PFViTForImageClassification)
    return model


def read(folder: Path) -> PFViTForImageClassification:
    model, _ = read_checkpoint(folder)
    assert isinstance(model, PFViTForImageClassification)
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_timm(folder / "w.safetensors")
    return folder / "w.safetensors"


@pytest.fixture
def build(weights: Path) -> Build:
    return partial(new, weights)


@pytest.fixture(scope="module")
def folder(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with random weights."""
    torch.manual_seed(0)
    model, preprocess = build_model(weights, FER7, 32, arch="pf_vit", options=PFViTOptions(**SMALL))
    out = tmp_path_factory.mktemp("folder") / "m"
    save_checkpoint(model, ModelSpec("pf_vit", preprocess), out)
    return out


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Fourteen synthetic faces as normalised input, with one-hot targets."""
    faces = load("synthetic:14")
    x = torch.from_numpy(np.array(faces.images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = torch.nn.functional.interpolate(x, (32, 32), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    return x, torch.eye(7)[torch.from_numpy(faces.targets).long()]


def learn(model: PFViTForImageClassification, batch: Batch, steps: int, lr: float = 4e-3) -> History:
    """Take steps on one batch; return the terms at each, and the parts' squared cosine whatever its weight."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    history = []
    for _ in range(steps):
        optimizer.zero_grad()
        terms, _ = model.loss_terms(*batch)
        with torch.no_grad():
            cosine = squared_cosine(*model.separate(batch[0]))
        history.append({name: float(term.detach()) for name, term in (terms | {"orthogonality": cosine}).items()})
        model.training_loss(*batch)[0].backward()
        optimizer.step()
    return history


def taught(model: PFViTForImageClassification, term: torch.Tensor) -> set[str]:
    """Return which parts of the model a term gives a gradient to."""
    model.zero_grad(set_to_none=True)
    term.backward(retain_graph=True)
    return {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_each_term_teaches_its_own_parts(build: Build, batch: Batch) -> None:
    model = build()
    terms, _ = model.loss_terms(*batch)
    painter = {"backbone", "separator", "generator"}
    assert {name: taught(model, term) for name, term in terms.items()} == {
        "classification": {"backbone", "separator", "classifier"},
        "orthogonality": {"backbone", "separator"},
        "reconstruction": painter,
        "adversarial": painter,
        "discriminator": {"discriminator"},
        "poker": painter,
        "anchor": painter,
    }


@pytest.mark.parametrize("term", ["poker", "anchor"])
def test_the_poker_face_teaches_the_disturbance_and_not_the_emotion(build: Build, batch: Batch, term: str) -> None:
    model = build()
    model.loss_terms(*batch)[0][term].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.separator.emotion.parameters())
    assert all(p.grad is not None and p.grad.any() for p in model.separator.disturbance.parameters())


def test_without_emotion_nothing_of_it_reaches_the_poker_face(build: Build, batch: Batch) -> None:
    model = build().eval()
    with torch.no_grad():
        v_e, v_p = model.separate(batch[0])
        reconstruction, poker = model.paint(v_e, v_p)
        other_reconstruction, other_poker = model.paint(v_e + 1, v_p)
    torch.testing.assert_close(poker, other_poker)
    assert (reconstruction - other_reconstruction).abs().max() > 0.01
    assert poker.shape == (14, 3, 16, 16)


@pytest.fixture(scope="module")
def histories(weights: Path, batch: Batch) -> Histories:
    """The terms over two short runs, without and with the orthogonality's own."""
    result = []
    for weight in (0.0, 1.0):
        result.append(learn(new(weights, orthogonality=weight, poker=0.1), batch, steps=14))
    return result


@pytest.mark.slow
def test_reconstructions_get_better_and_poker_faces_more_neutral(histories: Histories) -> None:
    for history in histories:
        assert history[-1]["reconstruction"] < 0.8 * history[0]["reconstruction"]
        assert history[-1]["anchor"] < 0.95 * history[0]["anchor"]
        assert history[-1]["poker"] < history[0]["poker"]


@pytest.mark.slow
def test_parts_become_orthogonal_by_their_term_alone(histories: Histories) -> None:
    without, trained = histories
    assert trained[-1]["orthogonality"] < 0.3 * trained[0]["orthogonality"]
    assert trained[-1]["orthogonality"] < 0.5 * without[-1]["orthogonality"]


@pytest.mark.slow
def test_the_discriminator_learns_to_distinguish_faces_from_paintings(build: Build, batch: Batch) -> None:
    model = build()
    with torch.no_grad():
        fake = model.paint(*model.separate(batch[0]))[0]
    real = model.to_face(batch[0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(20):
        optimizer.zero_grad()
        model.loss_terms(*batch)[0]["discriminator"].backward()  # the generator has no gradient: it stays as it is
        optimizer.step()
    with torch.no_grad():
        assert model.discriminator(real).mean() > 0.5 > -0.5 > model.discriminator(fake).mean()


def test_squared_cosine_is_0_for_orthogonal_and_1_for_parallel_parts() -> None:
    v_e = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    across = torch.tensor([[[0.0, 3.0]], [[-1.0, 0.0]]])
    assert squared_cosine(v_e, across) == 0
    assert squared_cosine(v_e, -3 * v_e[:, None]) == pytest.approx(1)
    assert torch.isfinite(squared_cosine(torch.zeros(2, 2), across))


def test_inference_does_not_touch_generator_or_discriminator(build: Build, batch: Batch) -> None:
    model = build().eval()
    with torch.no_grad():
        expected = model(pixel_values=batch[0]).logits
        del model.generator, model.discriminator
        assert torch.equal(model(pixel_values=batch[0]).logits, expected)


@pytest.mark.slow
def test_the_exported_file_holds_no_generator(folder: Path, tmp_path: Path) -> None:
    import onnx

    assert export(folder, tmp_path / "m.onnx") < 1e-4
    graph = onnx.load(tmp_path / "m.onnx").graph
    parts = {i.name.removeprefix("model.").split(".")[0] for i in graph.initializer if i.name.startswith("model.")}
    assert parts == {"backbone", "separator", "classifier"}
    model = read(folder)
    predicting = (model.backbone, model.separator.emotion, model.classifier)
    held = sum(p.numel() for part in predicting for p in part.parameters())
    assert sum(int(np.prod(i.dims)) for i in graph.initializer) == pytest.approx(held, rel=0.02)


def test_the_logits_of_training_are_those_of_inference(build: Build, batch: Batch) -> None:
    model = build().eval()
    with torch.no_grad():
        torch.testing.assert_close(model.training_loss(*batch)[1], model(pixel_values=batch[0]).logits)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_loss_is_finite_for_any_targets(build: Build, batch: Batch, kind: str) -> None:
    targets = torch.full((14, 7), 1 / 7) if kind == "soft" else batch[1]
    loss, logits = build().training_loss(batch[0], targets)
    assert torch.isfinite(loss) and logits.shape == (14, 7)


def test_a_term_of_weight_0_is_not_computed(build: Build, batch: Batch) -> None:
    off = dict.fromkeys(("reconstruction", "adversarial", "orthogonality", "poker", "anchor"), 0.0)
    model = build(**off)
    del model.generator, model.discriminator
    loss, _ = model.training_loss(*batch)
    assert set(model.loss_terms(*batch)[0]) == {"classification"}
    assert loss == model.loss_terms(*batch)[0]["classification"]


def test_the_loss_is_the_weighted_sum_of_its_terms(build: Build, batch: Batch) -> None:
    model = build(reconstruction=2.0, adversarial=0.3, orthogonality=0.5, poker=0.7, anchor=0.2)
    terms, _ = model.loss_terms(*batch)
    expected = terms["classification"] + 2.0 * terms["reconstruction"] + 0.5 * terms["orthogonality"]
    expected += 0.7 * terms["poker"] + 0.2 * terms["anchor"] + 0.3 * (terms["adversarial"] + terms["discriminator"])
    torch.testing.assert_close(model.training_loss(*batch)[0], expected)


def test_without_a_neutral_label_the_poker_term_is_dropped_and_a_warning_given(
    build: Build, batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = build(labels=("angry", "happy"))
    assert "no label is called neutral" in caplog.text and "angry, happy" in caplog.text
    assert {"poker", "anchor"}.isdisjoint(model.loss_terms(batch[0], torch.full((14, 2), 0.5))[0])


def test_only_neutral_faces_are_their_own_poker_faces(build: Build, batch: Batch) -> None:
    model = build()
    x, targets = batch
    with torch.no_grad():
        poker = model.paint(*model.separate(x))[1]
        away = (poker - model.to_face(x)).abs().mean(dim=(1, 2, 3))
        term = model.loss_terms(x, targets)[0]["anchor"]
        others = targets[:, NEUTRAL] == 0
        assert model.loss_terms(x[others], targets[others])[0]["anchor"] == 0
    torch.testing.assert_close(term, away[~others].sum() / len(x))


def test_painting_starts_grey_and_a_read_model_keeps_its_colours(
    build: Build, folder: Path, batch: Batch, tmp_path: Path
) -> None:
    model = build()
    with torch.no_grad():
        faces = torch.cat(model.paint(*model.separate(batch[0])))
        assert (faces.amax(dim=1) - faces.amin(dim=1)).max() < 1e-5
        model.generator.leave.weight.normal_()
        model.generator.canvas.normal_()
    spec = load_checkpoint(folder)[1]
    save_checkpoint(model, spec, tmp_path / "m")
    again = read(tmp_path / "m").generator
    assert torch.equal(again.leave.weight, model.generator.leave.weight)
    assert torch.equal(again.canvas, model.generator.canvas)


def test_what_is_painted_lies_between_black_and_white(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors", dinov2=True)  # with ImageNet's mean and deviation
    options = PFViTOptions(**SMALL)
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32, arch="pf_vit", options=options)
    assert isinstance(model, PFViTForImageClassification)
    with torch.no_grad():
        v_e, v_p = model.separate(torch.randn(4, 3, 32, 32))
        faces = torch.cat(model.paint(100 * v_e, 100 * v_p))
    levels = faces * torch.tensor(preprocess.std)[:, None, None] + torch.tensor(preprocess.mean)[:, None, None]
    assert -1e-6 < levels.min() < 0.1 and 0.9 < levels.max() < 1 + 1e-6


def test_neutral_is_found_by_name_whatever_its_place(build: Build, batch: Batch) -> None:
    model = build(labels=("happy", "neutral", "sad"))
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
        term = model.loss_terms(batch[0], torch.full((14, 3), 1 / 3))[0]["poker"]
    assert float(term) == pytest.approx(np.log(1 + 2 * np.exp(-5)), rel=1e-4)


def test_training_starts_from_the_plain_vit(build: Build, weights: Path, batch: Batch) -> None:
    plain = build_model(weights, FER7, 32)[0].eval()
    model = build().eval()
    with torch.no_grad():
        expected = backbone_of(plain)(pixel_values=batch[0]).last_hidden_state[:, 0]
        v_e = model.separate(batch[0])[0]
    assert torch.nn.functional.cosine_similarity(v_e, expected).min() > 0.99


def test_smaller_images_are_accepted_too(build: Build, batch: Batch) -> None:
    model = build()
    loss, _ = model.training_loss(batch[0][:, :, ::2, ::2], batch[1])
    assert torch.isfinite(loss)


def test_a_folder_of_its_own_starts_another_run(folder: Path, batch: Batch) -> None:
    parent = read(folder)
    again, _ = build_model(folder, FER7, 32, arch="pf_vit", options=PFViTOptions(**SMALL, poker=0.0))
    assert isinstance(again, PFViTForImageClassification)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in parent.state_dict().items())
    assert again.weights.poker == 0 and not hasattr(again.config, "fervit")
    child, preprocess = build_model(folder, ("no", "yes"), 48, arch="pf_vit", options=PFViTOptions(**SMALL))
    assert isinstance(child, PFViTForImageClassification)
    assert child(pixel_values=torch.zeros(1, 3, 48, 48)).logits.shape == (1, 2)
    assert preprocess.image_size == child.config.image_size == 48
    assert torch.equal(child.generator.leave.weight, parent.generator.leave.weight)


def test_starting_weights_that_do_not_fit_are_refused_with_both_shapes(folder: Path, weights: Path) -> None:
    with pytest.raises(ModelError, match=r"face_px 16 \(model.face_px is 48\).*channels 16 .*--set model.face_px=16"):
        build_model(folder, FER7, 32, arch="pf_vit")
    for init in (folder, weights):
        with pytest.raises(ModelError, match="multiple of the patch size 8; try 32"):
            build_model(init, FER7, 33, arch="pf_vit", options=PFViTOptions(**SMALL))
    with pytest.raises(ConfigError, match="multiple of 8"):
        PFViTOptions(face_px=20)
    with pytest.raises(ConfigError, match="multiple of 16"):
        PFViTOptions(channels=8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(load("synthetic:14").images[3][:, :, 0]).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["poker-face", *map(str, arguments)])


@pytest.mark.slow
def test_the_command_draws_three_faces(folder: Path, photo: Path, tmp_path: Path) -> None:
    done = run(folder, photo, "--crop", "--out", tmp_path / "out.png")
    assert done.exit_code == 0, done.output
    assert all(word in done.output for word in ("input", "reconstruction", "poker face"))
    sheet = np.asarray(Image.open(tmp_path / "out.png"))
    assert sheet.shape[1] > 3 * 280 and sheet.shape[2] == 3
    done = run(folder, photo, "--crop", "--out", tmp_path / "out.png")
    assert isinstance(done.exception, ConfigError) and "--overwrite" in str(done.exception)
    assert run(folder, photo, "--crop", "--out", tmp_path / "out.png", "--overwrite").exit_code == 0


def test_the_command_finds_the_face_in_a_photo(folder: Path, media: Path, tmp_path: Path) -> None:
    done = run(folder, media / "two_people.jpg", "--out", tmp_path / "out.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out.png").is_file()
    done = run(folder, media / "no-faces.jpg", "--out", tmp_path / "none.png")
    assert isinstance(done.exception, ImageError) and "no face found" in str(done.exception)
    assert not (tmp_path / "none.png").exists()


@pytest.mark.slow
def test_the_command_refuses_what_it_cannot_use(folder: Path, photo: Path, tmp_path: Path) -> None:
    from fervit.inference.model_files import default_model, shipped_checkpoint

    out = tmp_path / "out.png"
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    cases = {
        (shipped_checkpoint(), photo, "--out", out): (ModelError, "--recipe pf_vit.*this model is a vit"),
        (default_model(), photo, "--out", out): (ModelError, "holds no generator"),
        (folder, tmp_path / "none.jpg", "--out", out): (ImageError, "does not exist"),
        (folder, tmp_path / "broken.jpg", "--out", out): (ImageError, "broken.jpg"),
        (folder, photo, "--out", tmp_path / "out.jpg"): (ConfigError, r"must end in \.png"),
        (folder, photo, "--out", tmp_path / "no" / "out.png"): (ConfigError, "there is no folder"),
    }
    for arguments, (kind, message) in cases.items():
        with pytest.raises(kind, match=message):
            raise run(*arguments).exception or AssertionError("no error")
    assert not out.exists()


def test_painted_faces_are_what_the_model_paints(folder: Path) -> None:
    classifier, model = TorchClassifier(folder, device="cpu"), read(folder)
    crop = load("synthetic:14").images[3]
    found = make_poker_face(classifier, crop)
    assert [image.shape for image in found.images] == [(48, 48, 3), (16, 16, 3), (16, 16, 3)]
    np.testing.assert_allclose(found.probs, classifier.probs(list(found.images)))
    x = torch.from_numpy(np.array(Image.fromarray(crop[:, :, 0]).resize((32, 32), Image.Resampling.BILINEAR)))
    x = (x.float() / 127.5 - 1).expand(1, 3, 32, 32)
    with torch.no_grad():
        expected = model.paint(*model.separate(x))[1][0].permute(1, 2, 0)
    np.testing.assert_allclose(found.images[2], (127.5 * (expected + 1)).clamp(0, 255), atol=0.51)
    assert draw_poker_face(found).dtype == np.uint8
