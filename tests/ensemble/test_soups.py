"""Soups: the mean weights of models of one shape."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fervit.config.architectures import CNNOptions
from fervit.data.dataset import PUBLIC_TEST, TRAIN, Dataset
from fervit.ensemble.members import Output
from fervit.ensemble.soups import mean, soup
from fervit.errors import DataError, ModelError
from fervit.evaluation.measurement import evaluate
from fervit.labels import FER7
from fervit.models import TorchClassifier, build_model, load_checkpoint, save_checkpoint
from fervit.models.backbone import head_of
from fervit.models.checkpoint import read_checkpoint
from fervit.types import ModelSpec
from tests.helpers.ensembles import make_dataset, save_member


@pytest.mark.slow
def test_a_uniform_soup_is_one_plain_model_with_the_mean_weights(
    members: list[Path], dataset: Dataset, tmp_path: Path
) -> None:
    choice = soup(members[:2], dataset, Output(tmp_path / "S", command="fervit ensemble"), kind="uniform")
    states = [load_checkpoint(folder)[0].state_dict() for folder in members[:2]]
    model, spec = load_checkpoint(tmp_path / "S")
    name = "vit.layers.1.mlp.fc1.weight"
    torch.testing.assert_close(model.state_dict()[name], (states[0][name] + states[1][name]) / 2, atol=1e-3, rtol=1e-3)
    assert spec.arch == "vit" and type(model).__name__ == "ViTForImageClassification"
    report = evaluate(TorchClassifier(tmp_path / "S"), dataset, split=PUBLIC_TEST)
    assert report.accuracy.value == choice.mix.accuracy[0] == spec.metrics[PUBLIC_TEST]["accuracy"]
    assert report.calibration.nll == pytest.approx(choice.mix.nll[0], abs=1e-6)
    assert "uniform soup" in (tmp_path / "S" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_greedy_soup_leaves_out_what_spoils_it(tmp_path: Path) -> None:
    base = save_member(tmp_path, "base", seed=3)
    model, spec = read_checkpoint(base)
    with torch.no_grad():
        for name, factor in (("near", 1.01), ("opposite", -5)):
            head_of(model).weight.mul_(factor)
            head_of(model).bias.mul_(factor)
            save_checkpoint(model, replace(spec, name=name), tmp_path / name)
    data = make_dataset()
    targets = data.targets.copy()
    targets[data.split_ids == 1] = TorchClassifier(base).probs(data.split(PUBLIC_TEST).images).argmax(axis=1)
    data = replace(data, targets=targets)
    folders = [tmp_path / "opposite", base, tmp_path / "near"]
    choice = soup(folders, data, tmp_path / "S", kind="greedy")
    assert [member.weight for member in choice.members] == [0, 0.5, 0.5]
    assert choice.mix.accuracy[0] > 0.95
    uniform = soup(folders, data, tmp_path / "U", kind="uniform")
    assert uniform.mix.accuracy[0] < 0.5


def test_a_soup_of_unlike_models_is_refused_and_the_message_says_what_differs(
    members: list[Path], tmp_path: Path
) -> None:
    wide = save_member(tmp_path, "wide", size=48)
    for other, named in ((members[2], "arch"), (wide, "image_size")):
        with pytest.raises(ModelError, match=rf"cannot be one soup.*{named}.*leave --soup out"):
            soup([members[0], other], make_dataset(), tmp_path / "S", kind="uniform")
    assert not (tmp_path / "S").exists()


def _save_cnn(folder: Path, seed: int) -> Path:
    """Save a tiny residual CNN with random weights, whose running statistics fit nothing."""
    torch.manual_seed(seed)
    model, preprocess = build_model("scratch", FER7, 32, arch="cnn", options=CNNOptions(channels=8, blocks=1))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.fill_(50)
    save_checkpoint(model, ModelSpec("cnn", preprocess, name=folder.name), folder)
    return folder


def test_the_batch_norms_of_a_soup_have_the_statistics_of_training_faces(tmp_path: Path) -> None:
    data = make_dataset()
    folders = [_save_cnn(tmp_path / f"cnn{seed}", seed) for seed in (0, 1)]
    soup(folders, data, tmp_path / "S", kind="uniform")
    model, spec = load_checkpoint(tmp_path / "S")
    first = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    first.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    TorchClassifier(model, spec).probs(data.split(TRAIN).images)
    assert first.running_mean is not None
    torch.testing.assert_close(first.running_mean, torch.cat(seen).mean(dim=(0, 2, 3)), atol=2e-3, rtol=2e-2)


def test_a_soup_of_batch_norms_without_training_faces_is_refused(tmp_path: Path) -> None:
    folders = [_save_cnn(tmp_path / f"cnn{seed}", seed) for seed in (0, 1)]
    with pytest.raises(DataError, match="no train images"):
        soup(folders, make_dataset().split(PUBLIC_TEST), tmp_path / "S", kind="uniform")


def test_the_mean_of_weights_keeps_whole_numbers() -> None:
    states = [
        {"w": torch.tensor([1.0, 3.0]), "n": torch.tensor(7)},
        {"w": torch.tensor([2.0, 5.0]), "n": torch.tensor(7)},
    ]
    found = mean(states)
    torch.testing.assert_close(found["w"], torch.tensor([1.5, 4.0]))
    assert found["n"] == 7 and found["n"].dtype == torch.int64
