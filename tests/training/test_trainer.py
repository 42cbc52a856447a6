"""Steps and epochs of fine-tuning: patience, progressive resolution, logit adjustment, a live teacher."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import fervit.training.trainer
from fervit.errors import ConfigError
from fervit.labels import FER7
from fervit.models import TorchClassifier
from fervit.training import Teacher, train
from fervit.training.teachers import LiveTeacher
from fervit.types import ModelSpec, Preprocess
from tests.helpers import faces
from tests.helpers.training import StopAfterEpoch, quick_config
from tests.helpers.weights import save_timm


@pytest.mark.slow
def test_patience_stops_early(tmp_path: Path, weights: Path) -> None:
    train(quick_config(epochs=9, lr=1e-12, patience=2), faces(), tmp_path / "run", init=weights)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.slow
def test_patience_goes_on_counting_where_a_run_was_cut(tmp_path: Path, weights: Path) -> None:
    options = quick_config(epochs=9, patience=2, lr=1e-12)  # nothing is learnt: the first epoch stays the best
    with pytest.raises(KeyboardInterrupt):
        train(options, faces(), tmp_path / "run", init=weights, callbacks=[StopAfterEpoch()])
    for _ in range(3):  # goes on; and is then over, however often it is resumed
        train(options, faces(), tmp_path / "run", init=weights, resume=True)
        assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low_size": 6, "low_epochs": 1}, "no multiple of the patch size"),
        ({"frozen_layers": 9}, "at most 2, the model's layers; got 9"),
        ({"arch": "cnn", "init": "scratch", "model": {"channels": 8}, "frozen_layers": 1}, "batch norms keep changing"),
        ({"arch": "cnn", "init": "scratch", "model": {"channels": 8}, "patch_drop": 0.5}, "and this is a cnn"),
    ],
)
def test_settings_that_do_not_fit_the_model_cost_no_earlier_run(
    tmp_path: Path, weights: Path, changes: dict[str, object], message: str
) -> None:
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights)
    with pytest.raises(ConfigError, match=message):
        init = str(changes.get("init", weights))
        train(quick_config(epochs=1, **changes), faces(), tmp_path / "run", init=init, overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("dinov2", [False, True])
def test_the_first_epochs_see_smaller_images_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dinov2: bool
) -> None:
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    sizes: list[int] = []
    step = fervit.training.trainer.FervitTrainer.loss_and_output

    def spy(self: Any, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> Any:
        sizes.append(inputs["x"].shape[-1])
        return step(self, model, inputs)

    monkeypatch.setattr(fervit.training.trainer.FervitTrainer, "loss_and_output", spy)
    train(quick_config(epochs=2, low_size=16, low_epochs=1), faces(), tmp_path / "run", init=tmp_path / "w.safetensors")
    chunks = torch.get_num_threads()  # of each batch, one for every thread
    assert sizes == [16] * 3 * chunks + [32] * 3 * chunks
    with pytest.raises(ConfigError, match="no multiple of the patch size 8"):
        train(quick_config(low_size=12, low_epochs=1), faces(), tmp_path / "b", init=tmp_path / "w.safetensors")


@pytest.mark.slow
def test_logit_adjustment_changes_what_is_learnt_and_not_how_it_is_measured(tmp_path: Path, weights: Path) -> None:
    dataset = faces(56)
    train_rows = np.flatnonzero(dataset.split_ids == 0)
    dataset.targets[train_rows] = 0  # the other classes count as one image each
    dataset.targets[train_rows[0]] = 1
    losses = {}
    for tau in (0.0, 1.0):
        for lr in (1e-12, 1e-3):
            run = tmp_path / f"{tau:g}-{lr:g}"
            train(quick_config(epochs=1, lr=lr, logit_adjust=tau, calibration="none"), dataset, run, init=weights)
            losses[tau, lr] = json.loads((run / "run.json").read_text())["public_test"]["loss"]
    assert losses[0.0, 1e-12] == pytest.approx(losses[1.0, 1e-12])
    assert losses[1.0, 1e-3] < losses[0.0, 1e-3]  # the offset already says that class 0 is common, so no bias learns it


def test_an_architecture_with_a_loss_of_its_own_refuses_what_that_loss_would_ignore(
    tmp_path: Path, weights: Path
) -> None:
    options = quick_config(arch="pf_vit", class_balance=0.9, model={"face_px": 16, "channels": 16})
    with pytest.raises(ConfigError, match="pf_vit has a loss of its own"):
        train(options, faces(), tmp_path / "run", init=weights)


class ByBrightness(torch.nn.Module):
    """A teacher that predicts the levels of `faces`, and keeps its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        self.seen.append(pixel_values)
        level = ((pixel_values.mean(dim=(1, 2, 3)) * 0.25 + 0.5) * 255 // 33).long().clamp(0, 6)  # mean .5, std .25
        return SimpleNamespace(logits=20.0 * torch.nn.functional.one_hot(level, 7))


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_a_live_teacher_predicts_every_augmented_image_and_has_its_weight(
    tmp_path: Path, weights: Path, cores: int, weight: float
) -> None:
    dataset, stub = faces(112), ByBrightness()
    wrong = np.where(dataset.split_ids == 0, (dataset.targets + 1) % 7, dataset.targets)  # in the train split
    teacher = Teacher(LiveTeacher(stub, ModelSpec("s", Preprocess(16, (0.5,) * 3, (0.25,) * 3)), FER7), {"name": "s"})
    options = quick_config(epochs=12, teacher_weight=weight, teacher_views=0, augment={"flip_prob": 0.5})
    train(options, dataclasses.replace(dataset, targets=wrong), tmp_path / "run", init=weights, teacher=teacher)
    assert {tuple(x.shape) for x in stub.seen} == {(8, 3, 16, 16)}  # its own size, the whole batch
    assert len(stub.seen) == 12 * 7
    assert not torch.equal(stub.seen[0], stub.seen[7])
    predicted = TorchClassifier(tmp_path / "run").logits(dataset.images).argmax(axis=1)
    assert ((predicted == dataset.targets).mean() > 0.8) == (weight == 1.0)
