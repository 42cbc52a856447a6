"""Soups: the mean weights of models of one shape."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.ensemble.members import Output
from fervit.ensemble.soups import check_alike, mean, soup
from fervit.errors import ModelError
from fervit.evaluation.measurement import evaluate
from fervit.models import TorchClassifier, load_checkpoint, save_checkpoint
from fervit.models.backbone import head_of
from fervit.models.checkpoint import read_checkpoint
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


def test_a_soup_of_batch_norms_is_refused(members: list[Path]) -> None:
    loaded = [read_checkpoint(folder) for folder in members[:2]]
    for model, _ in loaded:
        model.norm = nn.BatchNorm2d(3)
    with pytest.raises(ModelError, match="batch norms"):
        check_alike([model for model, _ in loaded], [spec for _, spec in loaded], ["a", "b"])


def test_the_mean_of_weights_keeps_whole_numbers() -> None:
    states = [
        {"w": torch.tensor([1.0, 3.0]), "n": torch.tensor(7)},
        {"w": torch.tensor([2.0, 5.0]), "n": torch.tensor(7)},
    ]
    found = mean(states)
    torch.testing.assert_close(found["w"], torch.tensor([1.5, 4.0]))
    assert found["n"] == 7 and found["n"].dtype == torch.int64
