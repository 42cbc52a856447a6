"""Runs of fine-tuning as a whole: what they learn, leave behind, repeat and resume."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fervit.inference.model_files
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError, DataError, ModelError
from fervit.labels import FER7
from fervit.licences import Licence
from fervit.models import TorchClassifier, build_model, load_checkpoint, save_checkpoint
from fervit.models.checkpoint import read_checkpoint
from fervit.training import Teacher, train
from fervit.training.parallel import Workers
from fervit.types import ModelSpec
from tests.helpers import faces
from tests.helpers.licences import RAF, learnt_from_raf
from tests.helpers.training import StopAfterEpoch, quick_config


@pytest.mark.slow
def test_a_run_learns_and_leaves_a_model_folder_with_its_log(tmp_path: Path, weights: Path) -> None:
    figures = train(
        quick_config(epochs=25, lr=3e-3, ema_decay=0.9), faces(112), tmp_path / "run", init=weights, command="test"
    )
    assert figures["accuracy"] >= 0.9
    model, spec = read_checkpoint(tmp_path / "run")
    assert spec.labels == FER7
    assert spec.metrics["public_test"] == figures
    assert model.config.image_size == 32
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["command"] == "test"
    source = {"name": "levels", "hash": "0" * 64, "n_train": 56, "n_val": 28}
    classes = dict.fromkeys(FER7, 8)
    assert run["data"] == source | {"sources": [source | {"licence": "", "weight": 1.0, "classes": classes}]}
    assert run["config"]["epochs"] == 25
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 25
    assert max(float(row["eval_accuracy"]) for row in rows) == pytest.approx(figures["accuracy"], abs=1e-4)
    assert any((tmp_path / "run" / "tensorboard").iterdir())
    assert "license:" in (tmp_path / "run" / "README.md").read_text()


@pytest.mark.slow
def test_thirty_two_images_are_learnt_by_heart(tmp_path: Path, weights: Path) -> None:
    dataset = faces(32)
    both = Dataset(**{**vars(dataset), "images": np.concatenate([dataset.images] * 2),
                      "targets": np.tile(dataset.targets, 2), "rows": np.arange(64),
                      "split_ids": np.repeat(np.array([0, 1], np.int8), 32)})  # fmt: skip
    assert train(quick_config(epochs=30, lr=3e-3), both, tmp_path / "run", init=weights)["accuracy"] == 1.0


@pytest.mark.slow
def test_private_test_is_never_opened(tmp_path: Path, weights: Path, splits_read: list[str]) -> None:
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights)
    assert splits_read == ["train", "public_test"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path, weights: Path, cores: int) -> None:
    augment = {"flip_prob": 0.5, "rotate_deg": 10.0, "mix_prob": 0.5, "mixup_alpha": 0.4}
    logits: list[np.ndarray] = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(quick_config(seed=seed, augment=augment, drop_path=0.2), faces(), tmp_path / name, init=weights)
        logits.append(TorchClassifier(tmp_path / name).logits(faces(4).images))
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.allclose(logits[0], logits[2])


@pytest.mark.slow
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path, weights: Path, cores: int) -> None:
    options = quick_config(
        epochs=3,
        ema_decay=0.9,
        drop_path=0.2,
        patch_drop=0.5,
        schedule="cosine",
        augment={"flip_prob": 0.5, "shift": 0.1},
    )
    train(options, faces(), tmp_path / "whole", init=weights)
    with pytest.raises(KeyboardInterrupt):
        train(options, faces(), tmp_path / "cut", init=weights, callbacks=[StopAfterEpoch()])
    (tmp_path / "cut" / "checkpoints" / "checkpoint-99").mkdir()  # one that was cut short while it was written
    train(options, faces(), tmp_path / "cut", init=weights, resume=True)
    whole, cut = (TorchClassifier(tmp_path / name).logits(faces(7).images) for name in ("whole", "cut"))
    np.testing.assert_allclose(cut, whole, atol=1e-5)
    assert len((tmp_path / "cut" / "metrics.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.slow
def test_batch_norms_and_dropout_in_chunks_give_one_result_for_a_seed_and_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    gradients = Workers.gradients

    def spy(self: Workers, *args: Any) -> torch.Tensor:
        counts.append(self.count)
        return gradients(self, *args)

    monkeypatch.setattr(Workers, "gradients", spy)
    model = {"channels": 8, "dropout": 0.2}
    options = quick_config(
        arch="cnn", init="scratch", image_size=24, batch_size=64, epochs=2, ema_decay=0.9, model=model
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for name in ("a", "b"):
            train(options, faces(140), tmp_path / name)
        with pytest.raises(KeyboardInterrupt):
            train(options, faces(140), tmp_path / "cut", callbacks=[StopAfterEpoch()])
        train(options, faces(140), tmp_path / "cut", resume=True)
    finally:
        torch.set_num_threads(before)
    assert set(counts) == {2}
    first, again, resumed = (load_checkpoint(tmp_path / name)[0].state_dict() for name in ("a", "b", "cut"))
    for name, tensor in first.items():
        assert torch.equal(again[name], tensor), name
        torch.testing.assert_close(resumed[name], tensor, msg=name)
    means = [tensor for name, tensor in first.items() if name.endswith("running_mean")]
    assert means and all(mean.any() for mean in means)


@pytest.mark.slow
def test_a_recipe_may_start_from_the_shipped_model(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fervit.inference.model_files, "shipped_checkpoint", lambda: weights)
    train(quick_config(epochs=1, init="shipped"), faces(), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["init"] == "w.safetensors"


@pytest.mark.slow
def test_an_earlier_run_survives_a_mistake_in_the_command_that_would_replace_it(tmp_path: Path, weights: Path) -> None:
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights)
    with pytest.raises(ModelError, match="no weights at"):
        train(quick_config(epochs=1), faces(), tmp_path / "run", init=tmp_path / "none.safetensors", overwrite=True)
    with pytest.raises(DataError, match="--votes"):
        train(quick_config(votes_weight=0.5), faces(), tmp_path / "run", init=weights, overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_data_set_without_validation_images_is_an_error(tmp_path: Path, weights: Path) -> None:
    dataset = faces()
    with pytest.raises(DataError, match="no public_test images"):
        train(quick_config(), dataset.take(dataset.split_ids == 0), tmp_path / "run", init=weights)


@pytest.mark.slow
def test_calibration_is_folded_into_the_head(tmp_path: Path, weights: Path) -> None:
    logits = {}
    for method in ("none", "temperature", "bcts"):
        figures = train(quick_config(calibration=method), faces(112), tmp_path / method, init=weights)
        logits[method] = TorchClassifier(tmp_path / method).logits(faces(14).images)
        assert figures["loss"] <= figures["before_calibration"]["loss"] + 1e-6
    _, spec = load_checkpoint(tmp_path / "temperature")
    np.testing.assert_allclose(logits["temperature"] * spec.temperature, logits["none"], rtol=1e-3, atol=1e-4)
    _, spec = load_checkpoint(tmp_path / "bcts")
    shift = logits["bcts"] - logits["none"] / spec.temperature
    np.testing.assert_allclose(shift - shift[:1], 0, atol=1e-3)
    assert np.abs(shift).max() > 1e-3


@pytest.mark.slow
def test_a_run_with_every_technique_learns_and_resumes_to_the_same_weights(tmp_path: Path, weights: Path) -> None:
    options = quick_config(
        epochs=3,
        low_size=16,
        low_epochs=1,
        sam_rho=0.05,
        class_balance=0.9,
        logit_adjust=1.0,
        frozen_layers=1,
        drop_conflicts=True,
        ema_decay=0.9,
        teacher_weight=0.5,
    )
    teacher = Teacher(np.full((56, 7), 1 / 7), {"name": "even"})
    dataset = faces(112)
    train(options, dataset, tmp_path / "whole", init=weights, teacher=teacher)
    with pytest.raises(KeyboardInterrupt):
        train(options, dataset, tmp_path / "cut", init=weights, teacher=teacher, callbacks=[StopAfterEpoch()])
    with pytest.raises(ConfigError, match="another teacher"):
        other = Teacher(teacher.predictions, {"name": "odd"})
        train(options, dataset, tmp_path / "cut", init=weights, teacher=other, resume=True)
    train(options, dataset, tmp_path / "cut", init=weights, teacher=teacher, resume=True)
    whole, cut = (TorchClassifier(tmp_path / name).logits(dataset.images[:7]) for name in ("whole", "cut"))
    np.testing.assert_allclose(cut, whole, atol=1e-5)
    start, _ = build_model(weights, FER7, 32)
    end, _ = load_checkpoint(tmp_path / "whole")
    fixed, free = (f"vit.layers.{k}.mlp.fc1.weight" for k in (0, 1))
    torch.testing.assert_close(end.state_dict()[fixed], start.state_dict()[fixed])
    assert not torch.allclose(end.state_dict()[free], start.state_dict()[free])


def test_images_of_one_label_are_nothing_to_learn_though_more_labels_are_declared(
    tmp_path: Path, weights: Path
) -> None:
    dataset = faces(56)
    dataset.targets[:] = FER7.index("happy")
    with pytest.raises(DataError, match="levels has one label, happy, and nothing can be learned from that"):
        train(quick_config(), dataset, tmp_path / "run", init=weights)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_model_carries_the_licences_of_its_data_its_teacher_and_its_start(tmp_path: Path, weights: Path) -> None:
    mine, taught = Licence("levels", "my own photos"), Licence("photos", "CC-BY-NC-4.0", True)
    data = replace(faces(), licence="my own photos")
    train(quick_config(epochs=1), data, tmp_path / "first", init=weights)
    assert load_checkpoint(tmp_path / "first")[1].trained_on == (mine,)
    start = learnt_from_raf(tmp_path / "first")
    predictions = np.full((len(data.split("train")), 7), 1 / 7, np.float32)
    teacher = Teacher(predictions, {"name": "t", "hash": "h"}, (taught,))
    train(quick_config(epochs=1, teacher_weight=0.5), data, tmp_path / "second", init=start, teacher=teacher)
    spec = load_checkpoint(tmp_path / "second")[1]
    assert spec.trained_on == (RAF, mine, taught) and spec.non_commercial
    run = json.loads((tmp_path / "second" / "run.json").read_text())
    assert [entry["name"] for entry in run["trained_on"]] == ["RAF-DB", "levels", "photos"]
    card = (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    assert 'license_name: "non-commercial (RAF-DB, photos)"' in card
    assert "**Not for commercial use.** It has learnt from RAF-DB: non-commercial research only (http" in card
    assert "levels: my own photos" in card


def test_an_encoder_of_its_own_gives_its_licence_and_its_name_but_not_its_place(tmp_path: Path, weights: Path) -> None:
    model, preprocess = build_model(weights, FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7, name="mine"), tmp_path / "private" / "vit")
    start = learnt_from_raf(tmp_path / "private" / "vit")
    options = {"channels": 16, "grid": 4, "width": 64, "depth": 2, "heads": 1, "mlp": 256, "encoder": str(start)}
    train(quick_config(arch="vtff", init="scratch", epochs=1, model=options), faces(), tmp_path / "m")
    assert RAF in load_checkpoint(tmp_path / "m")[1].trained_on
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert 'encoder = "mine"' in card
    for name in ("README.md", "config.json"):
        assert str(tmp_path) not in (tmp_path / "m" / name).read_text(encoding="utf-8")
