import csv
import errno
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TrainerCallback
from typer.testing import CliRunner

import fervit.training.pretraining.run
from fervit.cli import app
from fervit.config.pretraining import PretrainConfig, load_pretrain_config
from fervit.config.training import AugmentConfig
from fervit.data import load
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError, DataError, FervitError, ModelError
from fervit.models import build_model
from fervit.models.architectures.vit import build_backbone
from fervit.training.pretraining.mae import build_autoencoder, reconstruct, reconstruction_picture, to_backbone
from fervit.training.pretraining.run import PretrainTrainer, pretrain
from fervit.types import Preprocess
from tests.helpers.weights import save_timm

QUICK = {
    "image_size": 32,
    "batch_size": 16,
    "lr": 2e-3,
    "epochs": 2,
    "decoder_depth": 1,
    "decoder_width": 32,
    "decoder_heads": 2,
    "precision": "fp32",
}
HALF = Preprocess(image_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)


def config(**values):
    return PretrainConfig(**QUICK | values)


def slopes(count=32, size=16, channels=1, name="slopes"):
    """Pictures that rise along one of four directions: what is masked follows from what is seen. 3/4 are train."""
    ramp = np.linspace(0, 255, size, dtype=np.uint8)
    rising = np.repeat(ramp[None], size, 0)
    kinds = np.stack([rising, rising[:, ::-1], rising.T, rising.T[::-1]])[..., None].repeat(channels, -1)
    order = np.arange(count) % 4
    return Dataset(
        name=name,
        labels=("unlabelled",),
        images=kinds[order],
        targets=np.zeros(count, np.int64),
        split_ids=(np.arange(count) // 4 % 4 == 3).astype(np.int8) * 2,
        rows=np.arange(count),
        data_hash=f"{count}{size}{channels}",
    )


@pytest.fixture
def weights(tmp_path):
    save_timm(tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def features(backbone, size=32):
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return backbone.eval()(pixel_values=x).last_hidden_state


def backbone_weights(folder):
    return build_backbone(folder, 32)[0].state_dict()


class StopAfterEpoch(TrainerCallback):
    """Interrupts a run as Ctrl-C would, once the checkpoint of an epoch is written."""

    def on_save(self, args, state, control, **_):
        raise KeyboardInterrupt


def test_without_a_learning_step_the_features_are_those_of_the_start(tmp_path, weights):
    figures = pretrain(config(epochs=0), [slopes()], tmp_path / "run", init=weights)
    assert figures == {"n": 24, "epochs": 0, "first_loss": None, "loss": None}
    torch.testing.assert_close(
        features(build_backbone(tmp_path / "run", 32)[0]), features(build_backbone(weights, 32)[0]), atol=0, rtol=0
    )


def test_the_encoder_computes_what_the_vit_computes_when_it_sees_every_patch(weights):
    start, _ = build_backbone(weights, 32)
    model, _ = build_autoencoder(weights, config())
    model.config.mask_ratio = 0.0
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():  # noise that rises keeps the patches in their order
        seen = model.vit.eval()(pixel_values=x, noise=torch.arange(16.0).expand(2, -1)).last_hidden_state
    torch.testing.assert_close(seen, features(start))


def test_positions_come_interpolated_to_the_input_size_and_stay(tmp_path, weights):
    start, _ = build_backbone(weights, 48)
    pretrain(config(epochs=1, image_size=48), [slopes()], tmp_path / "run", init=weights)
    kept, _ = build_backbone(tmp_path / "run", 48)
    torch.testing.assert_close(kept.embeddings.position_embeddings, start.embeddings.position_embeddings)
    assert kept.config.layer_norm_eps == start.config.layer_norm_eps == 1e-6
    assert not torch.equal(kept.layers[0].mlp.fc1.weight, start.layers[0].mlp.fc1.weight)


def test_the_decoder_knows_where_a_masked_patch_lies(weights):
    model, _ = build_autoencoder(weights, config())
    positions = model.decoder.decoder_pos_embed[0]  # transformers 5.23 leaves them at zero
    assert len(torch.unique(positions, dim=0)) == 1 + 16
    assert not model.decoder.decoder_pos_embed.requires_grad
    assert model.decoder.mask_token.abs().sum() > 0


def test_masked_patches_only_count(weights):
    model, _ = build_autoencoder(weights, config())
    x = torch.randn(4, 3, 32, 32)
    output = model(pixel_values=x, noise=torch.rand(4, 16))
    assert output.mask.sum(dim=1).tolist() == [12.0] * 4
    output.logits.retain_grad()
    output.loss.backward()
    touched = output.logits.grad.abs().sum(dim=-1) > 0
    assert torch.equal(touched, output.mask > 0)
    patches = model.patchify(x)
    normalised = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    error = ((output.logits - normalised) ** 2).mean(-1)
    torch.testing.assert_close(output.loss, error[output.mask > 0].mean())


def test_the_loss_falls_and_the_run_leaves_a_backbone_folder_with_its_log(tmp_path, weights):
    settings = config(epochs=25, augment=AugmentConfig())
    figures = pretrain(settings, [slopes(64)], tmp_path / "run", init=weights, command="test")
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


def test_a_recipe_starts_from_the_folder_and_keeps_its_preprocessing(tmp_path, weights):
    pretrain(config(), [slopes()], tmp_path / "run", init=weights)
    model, preprocess = build_model(tmp_path / "run", ("a", "b", "c"), 32)
    assert preprocess == build_model(weights, ("a", "b", "c"), 32)[1]
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.classifier.weight.shape == (3, 64)
    saved = backbone_weights(tmp_path / "run")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.vit.state_dict().items())
    larger, _ = build_model(tmp_path / "run", ("a", "b"), 64)
    assert larger.config.image_size == 64


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path, weights):
    settings, data = config(epochs=3), [slopes(), slopes(16, size=24, channels=3, name="colour")]
    whole = pretrain(settings, data, tmp_path / "whole", init=weights)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings, data, tmp_path / "cut", init=weights, callbacks=[StopAfterEpoch()])
    cut = pretrain(settings, data, tmp_path / "cut", init=weights, resume=True)
    assert cut == whole
    old, new = (backbone_weights(tmp_path / name) for name in ("whole", "cut"))
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, atol=1e-6, rtol=1e-6)


def test_resuming_with_other_settings_or_data_names_them(tmp_path, weights):
    pretrain(config(), [slopes()], tmp_path / "run", init=weights)
    with pytest.raises(ConfigError, match="another data, mask_ratio: give the same"):
        pretrain(config(mask_ratio=0.5), [slopes(16)], tmp_path / "run", init=weights, resume=True)


def test_train_splits_alone_are_read(tmp_path, weights, monkeypatch):
    opened = []
    split = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: opened.append(name) or split(self, name))
    figures = pretrain(config(epochs=1), [slopes(), slopes(16)], tmp_path / "run", init=weights)
    assert opened == ["train", "train"]
    assert figures["n"] == 24 + 12


def test_data_sets_of_other_sizes_and_channels_share_a_batch(tmp_path, weights):
    model, preprocess = build_autoencoder(weights, config())
    data = [slopes(16), slopes(16, size=24, channels=3, name="colour")]
    trainer = PretrainTrainer(model, config(), preprocess, [part.split("train") for part in data], tmp_path, [])
    grey, colour = trainer._gather(torch.tensor([0, 23, 11, 12]))
    assert grey.shape == (2, 1, 16, 16)
    assert colour.shape == (2, 3, 24, 24)
    assert trainer._augmented(torch.tensor([0, 23, 11, 12])).shape == (4, 3, 32, 32)
    assert trainer.shown().shape == (8, 3, 32, 32)


def test_a_folder_of_unlabelled_crops_is_pretrained_on_whole(tmp_path, weights):
    (tmp_path / "faces" / "train" / "unlabelled").mkdir(parents=True)
    for k, picture in enumerate(slopes(8).images):
        Image.fromarray(picture[..., 0]).save(tmp_path / "faces" / "train" / "unlabelled" / f"{k}.png")
    figures = pretrain(config(epochs=1), [load(tmp_path / "faces")], tmp_path / "run", init=weights)
    assert figures["n"] == 8


def test_vectors_and_tokens_do_not_decay_and_positions_do_not_learn(tmp_path, weights):
    model, preprocess = build_autoencoder(weights, config())
    trainer = PretrainTrainer(model, config(), preprocess, [slopes().split("train")], tmp_path, [])
    optimizer = trainer.create_optimizer()
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)
    assert decay[id(named["vit.layers.0.mlp.fc1.weight"])] == 0.05
    assert decay[id(named["vit.layers.0.mlp.fc1.bias"])] == 0
    assert decay[id(named["vit.embeddings.cls_token"])] == decay[id(named["decoder.mask_token"])] == 0
    assert id(named["vit.embeddings.position_embeddings"]) not in decay
    assert len(decay) == len(named) - 2


@pytest.mark.parametrize("norm_pix", [True, False])
def test_seen_patches_of_a_reconstruction_are_the_originals(weights, norm_pix):
    model, _ = build_autoencoder(weights, config(norm_pix=norm_pix))
    x = torch.randn(2, 3, 32, 32)
    filled, mask = reconstruct(model, x, torch.rand(2, 16))
    seen = (mask == 0).expand_as(x)
    assert mask.mean() == 0.75
    torch.testing.assert_close(filled[seen], x[seen])
    assert (filled != x)[~seen].float().mean() > 0.99


def test_the_picture_shows_masked_reconstructed_and_original_rows(weights):
    model, preprocess = build_autoencoder(weights, config())
    x = torch.full((3, 3, 32, 32), 1.0)  # white
    picture = reconstruction_picture(model, x, preprocess)
    faces = np.asarray(picture)[:, -(3 * (96 + 2) - 2) :]
    cells = faces[12:96:24, 12:96:24, 0]  # the middle of each of the first face's 4 x 4 patches
    assert (cells == 128).mean() == 0.75  # grey where masked
    assert (cells[cells != 128] == 255).all()
    assert (faces[-96:, :96] == 255).all()


def test_unpretrained_round_trip_keeps_every_tensor(weights):
    start, _ = build_backbone(weights, 32)
    model, _ = build_autoencoder(weights, config())
    there_and_back = to_backbone(model).state_dict()
    assert there_and_back.keys() == start.state_dict().keys()
    assert all(torch.equal(there_and_back[name], tensor) for name, tensor in start.state_dict().items())


def test_a_dinov2_is_refused_with_the_reason(tmp_path):
    save_timm(tmp_path / "dino.safetensors", dinov2=True)
    with pytest.raises(ModelError, match=r"dino.safetensors is a dinov2, whose layer scales .* start .* a plain ViT"):
        pretrain(config(), [slopes()], tmp_path / "run", init=tmp_path / "dino.safetensors")
    assert not (tmp_path / "run").exists()


def test_wrong_weights_do_not_cost_the_run_that_overwrite_would_delete(tmp_path, weights):
    pretrain(config(), [slopes()], tmp_path / "run", init=weights)
    with pytest.raises(ModelError, match="no weights at"):
        pretrain(config(), [slopes()], tmp_path / "run", init=tmp_path / "none.safetensors", overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()
    pretrain(config(epochs=1), [slopes()], tmp_path / "run", init=weights, overwrite=True)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 1


def test_a_folder_with_something_in_it_is_not_touched(tmp_path, weights):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="--resume goes on with it, --overwrite deletes it"):
        pretrain(config(), [slopes()], tmp_path / "mine", init=weights)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_without_faces_to_learn_from_it_says_so(tmp_path, weights):
    data = slopes()
    with pytest.raises(DataError, match="slopes has no train images"):
        pretrain(config(), [data.take(data.split_ids != 0)], tmp_path / "run", init=weights)
    with pytest.raises(DataError, match="at least one data set"):
        pretrain(config(), [], tmp_path / "run", init=weights)


def test_a_full_disk_says_so_and_what_to_do(tmp_path, weights, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fervit.training.pretraining.run, "save_checkpoint", full)
    with pytest.raises(ConfigError, match=r"disk is full.*--resume"):
        pretrain(config(epochs=0), [slopes()], tmp_path / "run", init=weights)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mask_rato=0.5", "did you mean 'mask_ratio'"),
        ("augment.flip_pro=1", "did you mean 'augment.flip_prob'"),
        ("augment=3", "augment must be a table"),
        ("epochs=1.5", "epochs must be int"),
        ("epochs=-1", "epochs must be 0 or more"),
        ("mask_ratio=1.0", "mask_ratio must lie between"),
        ("decoder_width=90", "multiple of 4 and of decoder_heads"),
        ("augment.mix_prob=0.5", "mixes pictures"),
        ("precision=fp8", "unknown precision 'fp8'"),
        ("lr", "--set takes key=value"),
    ],
)
def test_a_wrong_setting_is_an_error_that_says_what_is_right(override, message):
    with pytest.raises(ConfigError, match=message):
        load_pretrain_config([override])


def test_overrides_change_what_they_name_and_nothing_else():
    changed = load_pretrain_config(["lr=1", "augment.shift=0"])
    assert (changed.lr, changed.augment.shift) == (1.0, 0.0)
    assert changed.augment.scale_min == PretrainConfig().augment.scale_min == 0.5
    assert load_pretrain_config() == PretrainConfig()


def test_a_mask_that_leaves_nothing_to_see_is_refused(weights):
    with pytest.raises(ConfigError, match="leaves none of the 16 patches to see"):
        build_autoencoder(weights, config(mask_ratio=0.95))


def test_the_command_pretrains_and_says_where(tmp_path, weights):
    settings = [part for key, value in QUICK.items() for part in ("--set", f"{key}={value}")]
    data = ["--data", "synthetic:70", "--data", "synthetic:80:1"]
    done = CliRunner().invoke(
        app, ["pretrain", *data, "--init", str(weights), "--out", str(tmp_path / "run"), *settings]
    )
    assert done.exit_code == 0, done.output
    assert f"backbone folder: {tmp_path / 'run'}" in done.output
    assert [s["name"] for s in json.loads((tmp_path / "run" / "run.json").read_text())["data"]["sources"]] == [
        "synthetic:70",
        "synthetic:80:1",
    ]


def test_the_command_refuses_a_wrong_key_before_anything_is_read(tmp_path):
    done = CliRunner().invoke(
        app, ["pretrain", "--data", "none.csv", "--init", "none", "--out", str(tmp_path / "r"), "--set", "mask=1"]
    )
    assert isinstance(done.exception, FervitError)
    assert "unknown key 'mask'" in str(done.exception)
