import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fervit.cli import app
from fervit.cli.training.train import _ask
from fervit.config.training import TrainConfig
from fervit.errors import ConfigError, ModelError
from fervit.inference.model_files import find_model, model_hash
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, save_checkpoint
from fervit.models.inputs import to_input
from fervit.probabilities import soften
from fervit.training import teachers as distill
from fervit.training.teachers import LiveTeacher, cached_soft_targets, soft_targets
from fervit.types import ModelSpec, Preprocess
from tests.helpers import faces
from tests.helpers.weights import save_timm

SPEC = ModelSpec("stub", Preprocess(16, (0.5,) * 3, (0.5,) * 3))


class Stub:
    """A teacher that answers by brightness and remembers what it was asked."""

    def __init__(self, labels=FER7):
        self.spec = ModelSpec("stub", SPEC.preprocess, labels=labels)
        self.asked = []

    def probs(self, crops):
        self.asked.append(crops)
        answer = np.full((len(crops), len(self.spec.labels)), 0.01)
        answer[np.arange(len(crops)), (crops.mean(axis=(1, 2, 3)) // 33).astype(int).clip(max=6)] = 0.94
        return answer


def test_the_teacher_sees_the_train_split_in_so_many_views_and_its_answers_are_averaged():
    teacher, dataset = Stub(), faces(56)
    probs = soft_targets(teacher, dataset, TrainConfig(teacher_views=3))
    train_set = dataset.split("train")
    assert probs.shape == (28, 7)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(probs.argmax(axis=1), train_set.targets)
    plain, mirrored, warped = teacher.asked
    np.testing.assert_array_equal(plain, train_set.images)
    np.testing.assert_array_equal(mirrored, train_set.images[:, :, ::-1])
    assert warped.dtype == np.uint8 and warped.shape == plain.shape
    assert not np.array_equal(warped, plain) and not np.array_equal(warped, mirrored)


def test_views_repeat_with_the_seed_and_leave_the_global_generator_alone():
    dataset = faces(56)
    first, again, other = Stub(), Stub(), Stub()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    soft_targets(first, dataset, TrainConfig(seed=1))
    assert torch.equal(torch.rand(3), expected)
    soft_targets(again, dataset, TrainConfig(seed=1))
    soft_targets(other, dataset, TrainConfig(seed=2))
    np.testing.assert_array_equal(first.asked[3], again.asked[3])
    assert not np.array_equal(first.asked[3], other.asked[3])


def test_the_teachers_label_order_is_that_of_the_data_afterwards():
    turned = FER7[::-1]
    straight, reversed_ = Stub(), Stub(labels=turned)
    dataset = faces(56)
    a = soft_targets(straight, dataset, TrainConfig(teacher_views=1))
    b = soft_targets(reversed_, dataset, TrainConfig(teacher_views=1))
    np.testing.assert_allclose(a, b[:, ::-1])
    with pytest.raises(ConfigError, match="teacher_views is 0"):
        soft_targets(straight, dataset, TrainConfig(teacher_views=0))
    with pytest.raises(ModelError, match="the teacher answers with yes, no"):
        soft_targets(Stub(labels=("yes", "no")), dataset, TrainConfig())


def test_a_temperature_softens_and_one_leaves_alone():
    probs = np.array([[0.9, 0.1, 0.0]])
    np.testing.assert_allclose(soften(probs, 1.0), probs, atol=1e-6)
    soft = soften(probs, 2.0)
    assert soft[0, 0] / soft[0, 1] == pytest.approx(3, rel=1e-4)


def test_answers_are_kept_and_asked_for_again_when_something_changes(monkeypatch, tmp_path):
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path))
    dataset, teacher = faces(56), Stub()
    first = cached_soft_targets(teacher, "hash", dataset, TrainConfig())
    asked = len(teacher.asked)
    np.testing.assert_array_equal(cached_soft_targets(teacher, "hash", dataset, TrainConfig()), first)
    assert len(teacher.asked) == asked
    cached_soft_targets(teacher, "another", dataset, TrainConfig())
    cached_soft_targets(teacher, "hash", dataset, TrainConfig(teacher_views=2))
    assert len(teacher.asked) > asked
    for path in (tmp_path / "soft-targets").glob("*.npy"):
        path.write_bytes(b"cut short")
    np.testing.assert_array_equal(cached_soft_targets(teacher, "hash", dataset, TrainConfig()), first)


def test_distill_trains_a_student_and_names_its_teacher(tmp_path, tiny_onnx, monkeypatch):
    save_timm(tmp_path / "w.safetensors")
    monkeypatch.setattr(distill, "STEP", 7)  # several steps, so that the bar moves
    command = [
        "distill",
        str(tiny_onnx),
        "--data",
        "synthetic:140",
        "--recipe",
        "paper",
        "--out",
        str(tmp_path / "run"),
    ]
    settings = ["image_size=32", "epochs=1", "batch_size=16", "teacher_views=2"]
    command += ["--init", str(tmp_path / "w.safetensors"), *(word for s in settings for word in ("--set", s))]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["teacher"] == {"name": "tiny.onnx", "hash": model_hash(tiny_onnx)}
    assert run["config"]["teacher_weight"] == 0.5
    with monkeypatch.context() as patch:  # a folder that is taken is told before the teacher is asked
        patch.setattr(distill, "cached_soft_targets", None)
        result = CliRunner().invoke(app, command)
    assert "is not empty: --resume goes on with it" in str(result.exception)
    (tmp_path / "own.toml").write_text("teacher_weight = 0.0\n")  # what a recipe says stands
    result = CliRunner().invoke(app, [*command, "--recipe", str(tmp_path / "own.toml")])
    assert "the teacher would teach nothing" in str(result.exception)
    result = CliRunner().invoke(app, [*command, "--set", "teacher_weight=0"])
    assert "the teacher would teach nothing" in str(result.exception)


def test_a_live_teacher_answers_as_it_does_elsewhere(tmp_path):
    save_timm(tmp_path / "w.safetensors")
    torch.manual_seed(0)
    turned = FER7[::-1]
    model, own = build_model(tmp_path / "w.safetensors", turned, 32)
    spec = ModelSpec("vit", own, labels=turned)
    crops = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), dtype=np.uint8)
    expected = TorchClassifier(model, spec).probs(crops)[:, ::-1]
    students = Preprocess(32, (0.2, 0.3, 0.4), (0.3, 0.2, 0.1))
    x = to_input(torch.from_numpy(crops).permute(0, 3, 1, 2), students)
    answer = LiveTeacher(model, spec, FER7)(x, students)
    np.testing.assert_allclose(answer.numpy(), expected, atol=1e-5)
    softer = LiveTeacher(model, spec, FER7, temperature=2.0)(x, students)
    np.testing.assert_allclose(softer.numpy(), soften(expected, 2.0), atol=1e-5)
    elsewhere = LiveTeacher(model, spec, FER7).to(torch.device("meta"))(x.to("meta"), students)
    assert elsewhere.shape == (5, 7) and elsewhere.device.type == "meta"
    with pytest.raises(ModelError, match="the teacher answers with neutral"):
        LiveTeacher(model, spec, ("yes", "no"))


def test_a_folder_teaches_live_and_an_exported_file_cannot(tmp_path, tiny_onnx):
    save_timm(tmp_path / "w.safetensors")
    model, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess, labels=FER7), tmp_path / "teacher")
    settings = ["image_size=16", "epochs=1", "batch_size=16", "teacher_views=0"]
    rest = ["--data", "synthetic:140", "--recipe", "paper", "--out", str(tmp_path / "run")]
    rest += ["--init", str(tmp_path / "w.safetensors"), *(word for s in settings for word in ("--set", s))]
    result = CliRunner().invoke(app, ["distill", str(tiny_onnx), *rest])
    assert "tiny.onnx must be a model folder" in str(result.exception)
    result = CliRunner().invoke(app, ["distill", "mobilenet", *rest])
    assert "a model folder is needed" in str(result.exception)
    result = CliRunner().invoke(app, ["distill", str(tmp_path / "teacher"), *rest], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["teacher"] == {"name": "teacher", "hash": model_hash(tmp_path / "teacher")}
    assert run["config"]["teacher_views"] == 0


def test_a_shipped_model_teaches_by_its_name(monkeypatch):
    monkeypatch.setattr(distill, "cached_soft_targets", lambda classifier, *_, progress: classifier.spec.name)
    teacher = _ask(Path("mobilenet"), None, TrainConfig(), 1)
    assert teacher.answers == "mobilenet"
    assert teacher.description == {"name": "mobilenet.onnx", "hash": model_hash(find_model("mobilenet"))}


def test_a_teacher_is_known_by_its_model_and_not_by_the_log_of_its_run(tmp_path):
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (tmp_path / name).write_text(name)
    before = model_hash(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "model.safetensors").write_text("other")
    assert model_hash(tmp_path) == before
    (tmp_path / "members" / "1-a").mkdir(parents=True)
    (tmp_path / "members" / "1-a" / "model.safetensors").write_text("a member")
    assert model_hash(tmp_path) != before
    for suffix in (".xml", ".bin"):  # OpenVINO's weights stand beside its graph
        (tmp_path / f"m{suffix}").write_text(suffix)
    before = model_hash(tmp_path / "m.xml")
    (tmp_path / "m.bin").write_text("other")
    assert model_hash(tmp_path / "m.xml") != before
