import csv
import dataclasses
import errno
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

import fervit.inference.model_files
import fervit.training.finetune
import fervit.training.trainer
from fervit.config.training import TrainConfig, config_from_dict
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError, DataError, ModelError
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, load_checkpoint, save_checkpoint
from fervit.training.finetune import Teacher, train
from fervit.training.optim import at_the_sharpest_near_point, averaged, parameter_groups
from fervit.training.parallel import Workers
from fervit.training.resident import BF16_INSTRUCTIONS, use_bf16
from fervit.training.run_folder import last_checkpoint, write_json
from fervit.training.targets import class_shares, class_weights, conflicting, make_targets
from fervit.training.teachers import LiveTeacher
from fervit.types import ModelSpec, Preprocess
from tests.helpers import QUICK, faces
from tests.helpers.weights import save_timm


def config(**values):
    return config_from_dict(QUICK | values)


@pytest.fixture
def weights(tmp_path):
    save_timm(tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.fixture(params=[1, 3])
def cores(request):
    """As if the machine had that many: with more than one, each takes a share of every batch."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


class StopAfterEpoch(TrainerCallback):
    """Interrupts a run as Ctrl-C would, once the checkpoint of an epoch is written."""

    def on_save(self, args, state, control, **_):
        raise KeyboardInterrupt


def test_a_run_learns_and_leaves_a_model_folder_with_its_log(tmp_path, weights):
    figures = train(
        config(epochs=25, lr=3e-3, ema_decay=0.9), faces(112), tmp_path / "run", init=weights, command="test"
    )
    assert figures["accuracy"] >= 0.9
    model, spec = load_checkpoint(tmp_path / "run")
    assert spec.labels == FER7
    assert spec.metrics["public_test"] == figures
    assert model.config.image_size == 32
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["command"] == "test"
    assert run["data"] == {"name": "levels", "hash": "0" * 64, "n_train": 56, "n_val": 28}
    assert run["config"]["epochs"] == 25
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 25
    assert max(float(row["eval_accuracy"]) for row in rows) == pytest.approx(figures["accuracy"], abs=1e-4)
    assert any((tmp_path / "run" / "tensorboard").iterdir())
    assert "license:" in (tmp_path / "run" / "README.md").read_text()


def test_thirty_two_pictures_are_learnt_by_heart(tmp_path, weights):
    dataset = faces(32)
    both = Dataset(**{**vars(dataset), "images": np.concatenate([dataset.images] * 2),
                      "targets": np.tile(dataset.targets, 2), "rows": np.arange(64),
                      "split_ids": np.repeat(np.array([0, 1], np.int8), 32)})  # fmt: skip
    assert train(config(epochs=30, lr=3e-3), both, tmp_path / "run", init=weights)["accuracy"] == 1.0


def test_private_test_is_never_opened(tmp_path, weights, monkeypatch):
    opened = []
    split = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: opened.append(name) or split(self, name))
    train(config(epochs=1), faces(), tmp_path / "run", init=weights)
    assert opened == ["train", "public_test"]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path, weights, cores):
    augment = {"flip_prob": 0.5, "rotate_deg": 10.0, "mix_prob": 0.5, "mixup_alpha": 0.4}
    logits = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(seed=seed, augment=augment, drop_path=0.2), faces(), tmp_path / name, init=weights)
        logits.append(TorchClassifier(tmp_path / name).logits(faces(4).images))
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.allclose(logits[0], logits[2])


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path, weights, cores):
    options = config(
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


def test_batch_norms_and_dropout_in_shares_give_one_result_for_a_seed_and_resume(tmp_path, monkeypatch):
    shares = []
    gradients = Workers.gradients
    monkeypatch.setattr(Workers, "gradients", lambda self, *args: shares.append(self.count) or gradients(self, *args))
    model = {"channels": 8, "dropout": 0.2}
    options = config(arch="cnn", init="scratch", image_size=24, batch_size=64, epochs=2, ema_decay=0.9, model=model)
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
    assert set(shares) == {2}
    first, again, resumed = (load_checkpoint(tmp_path / name)[0].state_dict() for name in ("a", "b", "cut"))
    for name, tensor in first.items():
        assert torch.equal(again[name], tensor), name
        torch.testing.assert_close(resumed[name], tensor, msg=name)
    means = [tensor for name, tensor in first.items() if name.endswith("running_mean")]
    assert means and all(mean.any() for mean in means)


def test_resuming_with_other_settings_names_them(tmp_path, weights):
    train(config(epochs=1), faces(), tmp_path / "run", init=weights)
    with pytest.raises(ConfigError, match=r"another batch_size, lr: give the same, or take a new --out"):
        train(config(epochs=1, lr=0.1, batch_size=4), faces(), tmp_path / "run", init=weights, resume=True)


def test_a_run_of_before_a_setting_existed_goes_on_as_if_it_were_off(tmp_path, weights):
    train(config(epochs=1), faces(), tmp_path / "run", init=weights)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    del run["config"]["patch_drop"], run["config"]["augment"]["blur_sigma"], run["config"]["model"]["pool"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    train(config(epochs=1), faces(), tmp_path / "run", init=weights, resume=True)
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    with pytest.raises(ConfigError, match="another patch_drop"):
        train(config(epochs=1, patch_drop=0.5), faces(), tmp_path / "run", init=weights, resume=True)


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_a_model_that_is_no_run_is_not_taken_over(tmp_path, weights, flag):
    model, preprocess = build_model(weights, FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=r"no run of fervit \(no run\.json\), so it stays as it is"):
        train(config(epochs=1), faces(), tmp_path / "model", init=weights, **{flag: True})
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_a_run_that_a_full_disk_stopped_at_its_first_file_goes_on(tmp_path, weights):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.part").write_text("{")
    train(config(epochs=1), faces(), tmp_path / "run", init=weights, resume=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_the_log_has_the_mean_loss_of_each_epoch(tmp_path, weights, monkeypatch):
    losses = []
    step = fervit.training.trainer.FervitTrainer.training_step

    def spy(self, *args, **kwargs):
        losses.append(float(step(self, *args, **kwargs)))
        return torch.tensor(losses[-1])

    monkeypatch.setattr(fervit.training.trainer.FervitTrainer, "training_step", spy)
    train(config(epochs=2), faces(), tmp_path / "run", init=weights)
    table = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    logged = [float(row["train_loss"]) for row in csv.DictReader(table)]
    assert logged == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])], abs=1e-5)


def test_a_recipe_may_start_from_the_shipped_model(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(fervit.inference.model_files, "shipped_checkpoint", lambda: weights)
    train(config(epochs=1, init="shipped"), faces(), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["init"] == "w.safetensors"


def test_patience_stops_early(tmp_path, weights):
    train(config(epochs=9, lr=1e-12, patience=2), faces(), tmp_path / "run", init=weights)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 3


def test_patience_goes_on_counting_where_a_run_was_cut(tmp_path, weights):
    options = config(epochs=9, patience=2, lr=1e-12)  # nothing is learnt: the first epoch stays the best
    with pytest.raises(KeyboardInterrupt):
        train(options, faces(), tmp_path / "run", init=weights, callbacks=[StopAfterEpoch()])
    for _ in range(3):  # goes on; and is then over, however often it is resumed
        train(options, faces(), tmp_path / "run", init=weights, resume=True)
        assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 3


def test_the_seconds_of_a_resumed_run_are_those_of_all_its_epochs(tmp_path, weights):
    with pytest.raises(KeyboardInterrupt):
        train(config(), faces(), tmp_path / "run", init=weights, callbacks=[StopAfterEpoch()])
    train(config(), faces(), tmp_path / "run", init=weights, resume=True)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert len(epochs) == 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seconds"] == pytest.approx(sum(epochs))


def test_going_on_with_other_votes_is_refused(tmp_path, weights):
    train(config(votes_weight=0.5), faces(votes=True), tmp_path / "run", init=weights)
    other = faces(votes=True)
    other = dataclasses.replace(other, votes=other.votes[::-1].copy())
    with pytest.raises(ConfigError, match="another votes"):
        train(config(votes_weight=0.5), other, tmp_path / "run", init=weights, resume=True)


def test_a_checkpoint_that_a_full_disk_cut_short_is_passed_over(tmp_path, weights):
    with pytest.raises(KeyboardInterrupt):
        train(config(), faces(), tmp_path / "run", init=weights, callbacks=[StopAfterEpoch()])
    whole = last_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "checkpoint-99").mkdir()
    (tmp_path / "run" / "checkpoints" / "checkpoint-99" / "trainer_state.json").write_text("")
    assert last_checkpoint(tmp_path / "run") == whole


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_json(tmp_path / "run.json", {"a": 1})

    def full(self, text, **_):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError):
        write_json(tmp_path / "run.json", {"a": 2})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low_size": 6, "low_epochs": 1}, "no multiple of the patch size"),
        ({"frozen_layers": 9}, "at most 2, the model's layers; got 9"),
        ({"arch": "cnn", "init": "scratch", "model": {"channels": 8}, "frozen_layers": 1}, "batch norms go on moving"),
        ({"arch": "cnn", "init": "scratch", "model": {"channels": 8}, "patch_drop": 0.5}, "and this is a cnn"),
    ],
)
def test_settings_that_do_not_fit_the_model_cost_no_earlier_run(tmp_path, weights, changes, message):
    train(config(epochs=1), faces(), tmp_path / "run", init=weights)
    with pytest.raises(ConfigError, match=message):
        init = changes.get("init", weights)
        train(config(epochs=1, **changes), faces(), tmp_path / "run", init=init, overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_folder_with_something_in_it_is_not_touched(tmp_path, weights):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="--resume goes on with it, --overwrite deletes it"):
        train(config(), faces(), tmp_path / "mine", init=weights)
    with pytest.raises(ConfigError, match="holds no run of fervit"):
        train(config(), faces(), tmp_path / "mine", init=weights, overwrite=True)
    with pytest.raises(ConfigError, match="give one of them"):
        train(config(), faces(), tmp_path / "mine", init=weights, overwrite=True, resume=True)
    with pytest.raises(ConfigError, match="is a file"):
        train(config(), faces(), tmp_path / "mine" / "thesis.txt", init=weights)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_overwrite_replaces_a_run(tmp_path, weights):
    for _ in range(2):
        train(config(epochs=1), faces(), tmp_path / "run", init=weights, overwrite=True)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 1


def test_an_earlier_run_survives_a_mistake_in_the_command_that_would_replace_it(tmp_path, weights):
    train(config(epochs=1), faces(), tmp_path / "run", init=weights)
    with pytest.raises(ModelError, match="no weights at"):
        train(config(epochs=1), faces(), tmp_path / "run", init=tmp_path / "none.safetensors", overwrite=True)
    with pytest.raises(DataError, match="--votes"):
        train(config(votes_weight=0.5), faces(), tmp_path / "run", init=weights, overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_a_full_disk_says_so_and_what_to_do(tmp_path, weights, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fervit.training.finetune, "save_checkpoint", full)
    with pytest.raises(ConfigError, match=r"disk is full.*--resume"):
        train(config(), faces(), tmp_path / "run", init=weights)


def test_a_data_set_without_validation_pictures_is_an_error(tmp_path, weights):
    dataset = faces()
    with pytest.raises(DataError, match="no public_test images"):
        train(config(), dataset.take(dataset.split_ids == 0), tmp_path / "run", init=weights)


def test_targets_are_rows_that_sum_to_one():
    dataset = faces(14, votes=True)
    dataset.votes[3] = 0  # nobody voted
    targets = make_targets(dataset, TrainConfig(votes_weight=0.25, label_smoothing=0.07))
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(targets[0, :2], [0.93 * 0.75 + 0.01, 0.93 * 0.25 + 0.01], atol=1e-6)
    np.testing.assert_allclose(targets[3, 3], 0.93 + 0.01, atol=1e-6)
    with pytest.raises(DataError, match="--votes"):
        make_targets(faces(14), TrainConfig(votes_weight=0.25))


def test_pictures_that_nobody_calls_a_face_are_left_out(tmp_path, weights):
    dataset = faces(56, votes=True)
    dataset.votes[:5] = 0
    train(config(epochs=1, drop_not_a_face=True), dataset, tmp_path / "run", init=weights)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["n_train"] == 28 - 5
    with pytest.raises(DataError, match="--votes"):
        train(config(drop_not_a_face=True), faces(), tmp_path / "other", init=weights)


def test_layers_learn_slower_toward_the_input_and_vectors_do_not_decay(weights):
    model, _ = build_model(weights, FER7, 32)
    groups = parameter_groups(model, TrainConfig(lr=1.0, layer_decay=0.5, weight_decay=0.1))
    by_id = {id(p): group for group in groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert len(by_id) == len(named)
    assert by_id[id(named["classifier.weight"])]["lr"] == 1.0
    assert by_id[id(named["vit.layers.1.mlp.fc1.weight"])]["lr"] == 0.5
    assert by_id[id(named["vit.embeddings.patch_embeddings.projection.weight"])]["lr"] == 0.125
    assert all(by_id[id(p)]["weight_decay"] == 0 for p in named.values() if p.ndim == 1)
    assert by_id[id(named["vit.embeddings.position_embeddings"])]["weight_decay"] == 0
    assert by_id[id(named["classifier.weight"])]["weight_decay"] == 0.1


@pytest.mark.parametrize("instruction", [*BF16_INSTRUCTIONS, None])
def test_bf16_is_taken_where_the_cpu_multiplies_it_faster(instruction, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in BF16_INSTRUCTIONS:
        assert isinstance(getattr(torch.cpu, name)(), bool)  # torch still names it so
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == instruction)
    assert use_bf16("auto") == (instruction is not None)
    assert use_bf16("bf16") and not use_bf16("fp32")


def test_bf16_trains_too(tmp_path, weights):
    figures = train(config(epochs=20, lr=3e-3, precision="bf16"), faces(112), tmp_path / "run", init=weights)
    assert figures["accuracy"] > 0.5
    assert torch.float32 == next(load_checkpoint(tmp_path / "run")[0].parameters()).dtype


def test_calibration_is_folded_into_the_head(tmp_path, weights):
    logits = {}
    for method in ("none", "temperature", "bcts"):
        figures = train(config(calibration=method), faces(112), tmp_path / method, init=weights)
        logits[method] = TorchClassifier(tmp_path / method).logits(faces(14).images)
        assert figures["loss"] <= figures["before_calibration"]["loss"] + 1e-6
    _, spec = load_checkpoint(tmp_path / "temperature")
    np.testing.assert_allclose(logits["temperature"] * spec.temperature, logits["none"], rtol=1e-3, atol=1e-4)
    _, spec = load_checkpoint(tmp_path / "bcts")
    shift = logits["bcts"] - logits["none"] / spec.temperature
    np.testing.assert_allclose(shift - shift[:1], 0, atol=1e-3)
    assert np.abs(shift).max() > 1e-3


def test_sharpness_aware_steps_climb_to_rho_and_come_back(weights):
    model, _ = build_model(weights, FER7, 32)
    model(pixel_values=torch.randn(4, 3, 32, 32)).logits.square().sum().backward()
    learning = [p for p in model.parameters() if p.grad is not None]
    before = [p.detach().clone() for p in learning]
    gradients = torch.cat([p.grad.flatten() for p in learning])
    with at_the_sharpest_near_point(model, 0.05):
        moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(learning, before, strict=True)])
        assert moved.norm().item() == pytest.approx(0.05, rel=1e-2)
        assert torch.nn.functional.cosine_similarity(moved, gradients, dim=0) > 0.99
        assert all(p.grad is None for p in learning)
    for p, b in zip(learning, before, strict=True):
        torch.testing.assert_close(p.detach(), b, atol=1e-6, rtol=0)


def test_a_run_with_every_technique_learns_and_resumes_to_the_same_weights(tmp_path, weights):
    options = config(
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
        other = Teacher(teacher.answers, {"name": "odd"})
        train(options, dataset, tmp_path / "cut", init=weights, teacher=other, resume=True)
    train(options, dataset, tmp_path / "cut", init=weights, teacher=teacher, resume=True)
    whole, cut = (TorchClassifier(tmp_path / name).logits(dataset.images[:7]) for name in ("whole", "cut"))
    np.testing.assert_allclose(cut, whole, atol=1e-5)
    start, _ = build_model(weights, FER7, 32)
    end, _ = load_checkpoint(tmp_path / "whole")
    fixed, free = (f"vit.layers.{k}.mlp.fc1.weight" for k in (0, 1))
    torch.testing.assert_close(end.state_dict()[fixed], start.state_dict()[fixed])
    assert not torch.allclose(end.state_dict()[free], start.state_dict()[free])


class ByBrightness(torch.nn.Module):
    """A teacher that tells the levels of `faces` apart, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, pixel_values):
        self.seen.append(pixel_values)
        level = ((pixel_values.mean(dim=(1, 2, 3)) * 0.25 + 0.5) * 255 // 33).long().clamp(0, 6)  # mean .5, std .25
        return SimpleNamespace(logits=20.0 * torch.nn.functional.one_hot(level, 7))


@pytest.mark.parametrize("weight", [1.0, 0.2])
def test_a_live_teacher_is_asked_about_every_augmented_picture_and_weighs_as_told(tmp_path, weights, cores, weight):
    dataset, stub = faces(112), ByBrightness()
    wrong = np.where(dataset.split_ids == 0, (dataset.targets + 1) % 7, dataset.targets)  # in the train split
    teacher = Teacher(LiveTeacher(stub, ModelSpec("s", Preprocess(16, (0.5,) * 3, (0.25,) * 3)), FER7), {"name": "s"})
    options = config(epochs=12, teacher_weight=weight, teacher_views=0, augment={"flip_prob": 0.5})
    train(options, dataclasses.replace(dataset, targets=wrong), tmp_path / "run", init=weights, teacher=teacher)
    assert {tuple(x.shape) for x in stub.seen} == {(8, 3, 16, 16)}  # its own size, the whole batch
    assert len(stub.seen) == 12 * 7
    assert not torch.equal(stub.seen[0], stub.seen[7])
    said = TorchClassifier(tmp_path / "run").logits(dataset.images).argmax(axis=1)
    assert ((said == dataset.targets).mean() > 0.8) == (weight == 1.0)


@pytest.mark.parametrize("dinov2", [False, True])
def test_the_first_epochs_see_smaller_pictures_where_asked(tmp_path, monkeypatch, dinov2):
    save_timm(tmp_path / "w.safetensors", dinov2=dinov2)
    sizes = []
    step = fervit.training.trainer.FervitTrainer.compute_loss

    def spy(self, model, inputs, *args, **kwargs):
        sizes.append(inputs["x"].shape[-1])
        return step(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(fervit.training.trainer.FervitTrainer, "compute_loss", spy)
    train(config(epochs=2, low_size=16, low_epochs=1), faces(), tmp_path / "run", init=tmp_path / "w.safetensors")
    shares = torch.get_num_threads()  # of each batch, one for every thread
    assert sizes == [16] * 3 * shares + [32] * 3 * shares
    with pytest.raises(ConfigError, match="no multiple of the patch size 8"):
        train(config(low_size=12, low_epochs=1), faces(), tmp_path / "b", init=tmp_path / "w.safetensors")


def test_rare_classes_weigh_more_by_effective_number():
    targets = np.array([0] * 90 + [1] * 9 + [2])
    weights = class_weights(targets, 3, 0.9)
    assert weights[targets].mean() == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx((1 - 0.9**90) / (1 - 0.9))
    np.testing.assert_array_equal(class_weights(targets, 3, 0.0), 1)
    np.testing.assert_allclose(class_shares(targets, 3), [0.9, 0.09, 0.01])


def test_logit_adjustment_changes_what_is_learnt_and_not_how_it_is_measured(tmp_path, weights):
    dataset = faces(56)
    dataset.targets[dataset.split_ids == 0] = 0  # the other classes count as one picture each
    losses = {}
    for tau in (0.0, 1.0):
        for lr in (1e-12, 1e-3):
            run = tmp_path / f"{tau:g}-{lr:g}"
            train(config(epochs=1, lr=lr, logit_adjust=tau, calibration="none"), dataset, run, init=weights)
            losses[tau, lr] = json.loads((run / "run.json").read_text())["public_test"]["loss"]
    assert losses[0.0, 1e-12] == pytest.approx(losses[1.0, 1e-12])
    assert losses[1.0, 1e-3] < losses[0.0, 1e-3]  # class 0 was told to be common, so it is not learnt as a bias


def test_an_architecture_with_a_loss_of_its_own_refuses_what_that_loss_would_ignore(tmp_path, weights):
    options = config(arch="pf_vit", class_balance=0.9, model={"face_px": 16, "channels": 16})
    with pytest.raises(ConfigError, match="pf_vit has a loss of its own"):
        train(options, faces(), tmp_path / "run", init=weights)


def test_pictures_with_two_labels_are_found_and_left_out(tmp_path, weights):
    dataset = faces(56)
    dataset.images[7] = dataset.images[0]
    dataset.images[14] = dataset.images[1]
    dataset.targets[7] = 3  # as row 0, which is a 0; row 14 agrees with row 1
    dataset.targets[14] = dataset.targets[1]
    assert set(np.flatnonzero(conflicting(dataset))) == {0, 7}
    train(config(epochs=1, drop_conflicts=True), dataset, tmp_path / "run", init=weights)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["n_train"] == 28 - 2


def test_a_teacher_shares_the_target_and_must_be_there():
    dataset = faces(7)
    teacher = np.full((7, 7), 1 / 7)
    targets = make_targets(dataset, TrainConfig(teacher_weight=0.7), teacher)
    np.testing.assert_allclose(targets, 0.3 * np.eye(7) + 0.1, atol=1e-6)
    with pytest.raises(DataError, match="fervit distill TEACHER"):
        make_targets(dataset, TrainConfig(teacher_weight=0.7))


def test_the_weight_average_covers_running_statistics():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    assert [tuple(t.shape) for t in averaged(model)] == [(2, 1, 1, 1), (2,), (2,), (2,), (2,), (2,)]
