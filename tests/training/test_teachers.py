"""Teachers: soft targets made ahead, and teachers that predict while the student learns."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fervit.config.training import TrainConfig
from fervit.errors import ConfigError, ModelError
from fervit.inference.model_files import find_model, model_hash
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, save_checkpoint
from fervit.models.inputs import to_input
from fervit.probabilities import soften
from fervit.training import teachers
from fervit.training.teachers import LiveTeacher, cached_soft_targets, open_teacher, soft_targets
from fervit.types import Classifier, ModelSpec, Preprocess
from tests.helpers import faces
from tests.helpers.licences import RAF
from tests.helpers.weights import save_timm

SPEC = ModelSpec("stub", Preprocess(16, (0.5,) * 3, (0.5,) * 3))


class Stub:
    """A teacher that predicts by brightness and keeps the crops it was given."""

    def __init__(self, labels: tuple[str, ...] = FER7):
        self.spec = ModelSpec("stub", SPEC.preprocess, labels=labels)
        self.seen: list[np.ndarray] = []

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        images = np.asarray(crops)
        self.seen.append(images)
        predicted = np.full((len(images), len(self.spec.labels)), 0.01)
        predicted[np.arange(len(images)), (images.mean(axis=(1, 2, 3)) // 33).astype(int).clip(max=6)] = 0.94
        return predicted


def test_the_teacher_sees_the_train_split_in_so_many_views_and_its_predictions_are_averaged() -> None:
    teacher, dataset = Stub(), faces(56)
    probs = soft_targets(teacher, dataset, TrainConfig(teacher_views=3))
    train_set = dataset.split("train")
    assert probs.shape == (28, 7)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(probs.argmax(axis=1), train_set.targets)
    plain, mirrored, warped = teacher.seen
    np.testing.assert_array_equal(plain, train_set.images)
    np.testing.assert_array_equal(mirrored, train_set.images[:, :, ::-1])
    assert warped.dtype == np.uint8 and warped.shape == plain.shape
    assert not np.array_equal(warped, plain) and not np.array_equal(warped, mirrored)


def test_views_repeat_with_the_seed_and_leave_the_global_generator_alone() -> None:
    dataset = faces(56)
    first, again, other = Stub(), Stub(), Stub()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    soft_targets(first, dataset, TrainConfig(seed=1))
    assert torch.equal(torch.rand(3), expected)
    soft_targets(again, dataset, TrainConfig(seed=1))
    soft_targets(other, dataset, TrainConfig(seed=2))
    np.testing.assert_array_equal(first.seen[3], again.seen[3])
    assert not np.array_equal(first.seen[3], other.seen[3])


def test_the_teachers_label_order_is_that_of_the_data_afterwards() -> None:
    turned = FER7[::-1]
    straight, reversed_ = Stub(), Stub(labels=turned)
    dataset = faces(56)
    a = soft_targets(straight, dataset, TrainConfig(teacher_views=1))
    b = soft_targets(reversed_, dataset, TrainConfig(teacher_views=1))
    np.testing.assert_allclose(a, b[:, ::-1])
    with pytest.raises(ConfigError, match="teacher_views is 0"):
        soft_targets(straight, dataset, TrainConfig(teacher_views=0))
    with pytest.raises(ModelError, match="the teacher predicts yes, no"):
        soft_targets(Stub(labels=("yes", "no")), dataset, TrainConfig())


def test_a_temperature_softens_and_one_leaves_alone() -> None:
    probs = np.array([[0.9, 0.1, 0.0]])
    np.testing.assert_allclose(soften(probs, 1.0), probs, atol=1e-6)
    soft = soften(probs, 2.0)
    assert soft[0, 0] / soft[0, 1] == pytest.approx(3, rel=1e-4)


def test_predictions_are_kept_and_made_again_when_something_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path))
    dataset, teacher = faces(56), Stub()
    first = cached_soft_targets(teacher, "hash", dataset, TrainConfig())
    seen = len(teacher.seen)
    np.testing.assert_array_equal(cached_soft_targets(teacher, "hash", dataset, TrainConfig()), first)
    assert len(teacher.seen) == seen
    cached_soft_targets(teacher, "another", dataset, TrainConfig())
    cached_soft_targets(teacher, "hash", dataset, TrainConfig(teacher_views=2))
    assert len(teacher.seen) > seen
    stored = list(tmp_path.glob("*-soft-targets-*/array.npy"))
    assert len(stored) == 3
    for path in stored:
        path.write_bytes(b"cut short")
    np.testing.assert_array_equal(cached_soft_targets(teacher, "hash", dataset, TrainConfig()), first)


def test_a_live_teacher_predicts_as_it_does_elsewhere(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    torch.manual_seed(0)
    turned = FER7[::-1]
    model, own = build_model(tmp_path / "w.safetensors", turned, 32)
    spec = ModelSpec("vit", own, labels=turned)
    crops = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), dtype=np.uint8)
    expected = TorchClassifier(model, spec).probs(crops)[:, ::-1]
    students = Preprocess(32, (0.2, 0.3, 0.4), (0.3, 0.2, 0.1))
    x = to_input(torch.from_numpy(crops).permute(0, 3, 1, 2), students)
    predicted = LiveTeacher(model, spec, FER7)(x, students)
    np.testing.assert_allclose(predicted.numpy(), expected, atol=1e-5)
    softer = LiveTeacher(model, spec, FER7, temperature=2.0)(x, students)
    np.testing.assert_allclose(softer.numpy(), soften(expected, 2.0), atol=1e-5)
    elsewhere = LiveTeacher(model, spec, FER7).to(torch.device("meta"))(x.to("meta"), students)
    assert elsewhere.shape == (5, 7) and elsewhere.device.type == "meta"
    with pytest.raises(ModelError, match="the teacher predicts neutral"):
        LiveTeacher(model, spec, ("yes", "no"))


def test_a_shipped_model_teaches_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def stub(classifier: Classifier, *_: object, **__: object) -> np.ndarray:
        names.append(classifier.spec.name)
        return np.zeros((1, 7))

    monkeypatch.setattr(teachers, "cached_soft_targets", stub)
    teacher = open_teacher(Path("mobilenet"), faces(), TrainConfig(), threads=1)
    assert names == ["mobilenet"] and isinstance(teacher.predictions, np.ndarray)
    assert teacher.description == {"name": "mobilenet.onnx", "hash": model_hash(find_model("mobilenet"))}


def test_a_teacher_is_known_by_its_model_and_not_by_the_log_of_its_run(tmp_path: Path) -> None:
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


def test_an_opened_classifier_teaches_and_is_described_by_its_predictions() -> None:
    dataset, config = faces(56), TrainConfig(teacher_views=1)
    teacher = open_teacher(Stub(), dataset, config)
    assert isinstance(teacher.predictions, np.ndarray)
    np.testing.assert_array_equal(teacher.predictions, soft_targets(Stub(), dataset, config))
    softer = TrainConfig(teacher_views=1, teacher_temperature=2.0)
    assert teacher.description == open_teacher(Stub(), dataset, config).description
    assert teacher.description != open_teacher(Stub(), dataset, softer).description
    with pytest.raises(ConfigError, match="an opened classifier must be a model folder"):
        open_teacher(Stub(), dataset, TrainConfig(teacher_views=0))


def test_a_teacher_of_any_kind_hands_on_the_licences_of_what_it_has_learnt_from(tmp_path: Path) -> None:
    dataset, one = faces(56), TrainConfig(teacher_views=1)
    opened = Stub()
    opened.spec = replace(opened.spec, trained_on=(RAF,))
    assert open_teacher(opened, dataset, one).trained_on == (RAF,)
    save_timm(tmp_path / "w.safetensors")
    model, own = build_model(tmp_path / "w.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec("vit", own, trained_on=(RAF,)), tmp_path / "T")
    for config in (one, TrainConfig(teacher_views=0)):  # its predictions, and itself
        assert open_teacher(tmp_path / "T", dataset, config).trained_on == (RAF,)
