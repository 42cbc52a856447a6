"""Runs of pre-training as a whole: what they learn, leave behind and resume."""

import csv
import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fervit.training.pretraining.run
from fervit.config.augmentation import AugmentConfig
from fervit.data import load
from fervit.errors import ConfigError, DataError, ModelError
from fervit.inference.model_files import folder_licences
from fervit.licences import KNOWN, Licence
from fervit.models import build_model
from fervit.models.architectures.vit import build_backbone
from fervit.models.backbone import backbone_of, head_of
from fervit.training.pretraining.mae import build_autoencoder
from fervit.training.pretraining.run import PretrainTrainer, pretrain
from tests.helpers.licences import RAF, learnt_from_raf
from tests.helpers.pretraining import backbone_weights, features, pretrain_config, slopes
from tests.helpers.training import StopAfterEpoch
from tests.helpers.weights import save_timm


@pytest.mark.slow
def test_without_a_learning_step_the_features_are_those_of_the_start(tmp_path: Path, weights: Path) -> None:
    figures = pretrain(pretrain_config(epochs=0), [slopes()], tmp_path / "run", init=weights)
    assert figures == {"n": 24, "epochs": 0, "first_loss": None, "loss": None}
    torch.testing.assert_close(
        features(build_backbone(tmp_path / "run", 32)[0]), features(build_backbone(weights, 32)[0]), atol=0, rtol=0
    )


@pytest.mark.slow
def test_positions_come_interpolated_to_the_input_size_and_stay(tmp_path: Path, weights: Path) -> None:
    start, _ = build_backbone(weights, 48)
    pretrain(pretrain_config(epochs=1, image_size=48), [slopes()], tmp_path / "run", init=weights)
    kept, _ = build_backbone(tmp_path / "run", 48)
    positions, weight = "embeddings.position_embeddings", "layers.0.mlp.fc1.weight"
    torch.testing.assert_close(kept.get_parameter(positions), start.get_parameter(positions))
    assert kept.config.layer_norm_eps == start.config.layer_norm_eps == 1e-6
    assert not torch.equal(kept.get_parameter(weight), start.get_parameter(weight))


@pytest.mark.slow
def test_the_loss_falls_and_the_run_leaves_a_backbone_folder_with_its_log(tmp_path: Path, weights: Path) -> None:
    settings = pretrain_config(epochs=25, augment=AugmentConfig())
    figures = pretrain(settings, [slopes(64)], tmp_path / "run", init=weights, command="test")
    assert figures["loss"] is not None and figures["first_loss"] is not None
    assert figures["loss"] < 0.7 * figures["first_loss"]
    values = json.loads((tmp_path / "run" / "config.json").read_text())
    assert values["model_type"] == "vit"
    assert values["architectures"] == ["ViTModel"]
    assert (tmp_path / "run" / "model.safetensors").is_file()
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["command"] == "test"
    assert run["config"]["mask_ratio"] == 0.75
    assert run["config"]["seed"] == 0
    assert run["data"]["n_train"] == 48
    assert run["pretraining"] == figures
    assert {"torch", "transformers"} <= run["versions"].keys()
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 25
    assert float(rows[-1]["train_loss"]) == figures["loss"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"{figures['loss']:.4f} in the last of 25" in card
    assert "fervit train --recipe tiny --init run" in card
    with Image.open(tmp_path / "run" / "reconstruction.png") as picture:
        assert picture.height == 3 * (96 + 2) - 2


@pytest.mark.slow
def test_a_recipe_starts_from_the_folder_and_keeps_its_preprocessing(tmp_path: Path, weights: Path) -> None:
    pretrain(pretrain_config(), [slopes()], tmp_path / "run", init=weights)
    model, preprocess = build_model(tmp_path / "run", ("a", "b", "c"), 32)
    assert preprocess == build_model(weights, ("a", "b", "c"), 32)[1]
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert head_of(model).weight.shape == (3, 64)
    saved = backbone_weights(tmp_path / "run")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in backbone_of(model).state_dict().items())
    larger, _ = build_model(tmp_path / "run", ("a", "b"), 64)
    assert larger.config.image_size == 64


@pytest.mark.slow
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path, weights: Path) -> None:
    settings, data = pretrain_config(epochs=3), [slopes(), slopes(16, size=24, channels=3, name="colour")]
    whole = pretrain(settings, data, tmp_path / "whole", init=weights)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings, data, tmp_path / "cut", init=weights, callbacks=[StopAfterEpoch()])
    cut = pretrain(settings, data, tmp_path / "cut", init=weights, resume=True)
    assert cut == whole
    old, new = (backbone_weights(tmp_path / name) for name in ("whole", "cut"))
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_resuming_with_other_settings_or_data_names_them(tmp_path: Path, weights: Path) -> None:
    pretrain(pretrain_config(), [slopes()], tmp_path / "run", init=weights)
    with pytest.raises(ConfigError, match="another data, mask_ratio: give the same"):
        pretrain(pretrain_config(mask_ratio=0.5), [slopes(16)], tmp_path / "run", init=weights, resume=True)


@pytest.mark.slow
def test_train_splits_alone_are_read(tmp_path: Path, weights: Path, splits_read: list[str]) -> None:
    figures = pretrain(pretrain_config(epochs=1), [slopes(), slopes(16)], tmp_path / "run", init=weights)
    assert splits_read == ["train", "train"]
    assert figures["n"] == 24 + 12


def test_data_sets_of_other_sizes_and_channels_share_a_batch(tmp_path: Path, weights: Path) -> None:
    model, preprocess = build_autoencoder(weights, pretrain_config())
    data = [slopes(16), slopes(16, size=24, channels=3, name="colour")]
    trainer = PretrainTrainer(
        model, pretrain_config(), preprocess, [part.split("train") for part in data], tmp_path, []
    )
    rows = np.array([0, 23, 11, 12])
    (places, grey), (others, colour) = trainer.images.gather(rows)
    assert (places.tolist(), others.tolist()) == ([0, 2], [1, 3])
    assert grey.shape == (2, 1, 16, 16)
    assert colour.shape == (2, 3, 24, 24)
    assert trainer.images.placed(rows, trainer.augmenter).shape == (4, 3, 32, 32)
    assert trainer.shown().shape == (8, 3, 32, 32)


@pytest.mark.slow
def test_a_folder_of_unlabelled_crops_is_pretrained_on_whole(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "faces" / "train" / "unlabelled").mkdir(parents=True)
    for k, picture in enumerate(slopes(8).images):
        Image.fromarray(picture[..., 0]).save(tmp_path / "faces" / "train" / "unlabelled" / f"{k}.png")
    figures = pretrain(pretrain_config(epochs=1), [load(tmp_path / "faces")], tmp_path / "run", init=weights)
    assert figures["n"] == 8


def test_vectors_and_tokens_do_not_decay_and_positions_do_not_learn(tmp_path: Path, weights: Path) -> None:
    model, preprocess = build_autoencoder(weights, pretrain_config())
    trainer = PretrainTrainer(model, pretrain_config(), preprocess, [slopes().split("train")], tmp_path, [])
    optimizer = trainer.create_optimizer()
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)
    assert decay[id(named["vit.layers.0.mlp.fc1.weight"])] == 0.05
    assert decay[id(named["vit.layers.0.mlp.fc1.bias"])] == 0
    assert decay[id(named["vit.embeddings.cls_token"])] == decay[id(named["decoder.mask_token"])] == 0
    assert id(named["vit.embeddings.position_embeddings"]) not in decay
    assert len(decay) == len(named) - 2


def test_a_dinov2_is_refused_with_the_reason(tmp_path: Path) -> None:
    save_timm(tmp_path / "dino.safetensors", dinov2=True)
    with pytest.raises(ModelError, match=r"dino.safetensors is a dinov2, whose layer scales .* start .* a plain ViT"):
        pretrain(pretrain_config(), [slopes()], tmp_path / "run", init=tmp_path / "dino.safetensors")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_wrong_weights_do_not_cost_the_run_that_overwrite_would_delete(tmp_path: Path, weights: Path) -> None:
    pretrain(pretrain_config(), [slopes()], tmp_path / "run", init=weights)
    with pytest.raises(ModelError, match="no weights at"):
        pretrain(pretrain_config(), [slopes()], tmp_path / "run", init=tmp_path / "none.safetensors", overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()
    pretrain(pretrain_config(epochs=1), [slopes()], tmp_path / "run", init=weights, overwrite=True)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 1


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="--resume goes on with it, --overwrite deletes it"):
        pretrain(pretrain_config(), [slopes()], tmp_path / "mine", init=weights)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_without_faces_to_learn_from_it_says_so(tmp_path: Path, weights: Path) -> None:
    data = slopes()
    with pytest.raises(DataError, match="slopes has no train images"):
        pretrain(pretrain_config(), [data.take(data.split_ids != 0)], tmp_path / "run", init=weights)
    with pytest.raises(DataError, match="at least one data set"):
        pretrain(pretrain_config(), [], tmp_path / "run", init=weights)


@pytest.mark.slow
def test_a_full_disk_says_so_and_what_to_do(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fervit.training.pretraining.run, "save_checkpoint", full)
    with pytest.raises(ConfigError, match=r"disk is full.*--resume"):
        pretrain(pretrain_config(epochs=0), [slopes()], tmp_path / "run", init=weights)


def test_a_backbone_carries_the_licences_of_all_faces_and_of_its_start(tmp_path: Path, weights: Path) -> None:
    pretrain(pretrain_config(epochs=0), [replace(slopes(), licence="MIT")], tmp_path / "first", init=weights)
    start = learnt_from_raf(tmp_path / "first")
    parts = [replace(slopes(), licence="a: MIT"), replace(slopes(), licence="AffectNet")]
    pretrain(pretrain_config(epochs=0), parts, tmp_path / "second", init=start)
    assert folder_licences(tmp_path / "second") == (RAF, Licence("a", "MIT"), KNOWN["affectnet"])
    card = (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    assert 'license_name: "non-commercial (RAF-DB, AffectNet)"' in card and "**Not for commercial use.**" in card
