"""Ensembles by soft voting: what they predict, what is written, and whether they are called better."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.data.dataset import PUBLIC_TEST, Dataset
from fervit.data.mixtures.mixture import Mixture
from fervit.ensemble.members import Output
from fervit.ensemble.results import Choice
from fervit.ensemble.soups import soup
from fervit.ensemble.voting import ensemble
from fervit.ensemble.weights import Weighting, mix
from fervit.errors import ConfigError
from fervit.evaluation.measurement import evaluate
from fervit.labels import FER7
from fervit.licences import Licence
from fervit.models import TorchClassifier, load_checkpoint
from tests.helpers.ensembles import COUNT, make_dataset, save_member
from tests.helpers.licences import RAF, learnt_from_raf

UNIFORM = Weighting("uniform")


@pytest.mark.slow
def test_an_ensemble_predicts_the_weighted_mean_of_its_members(
    members: list[Path], dataset: Dataset, tmp_path: Path
) -> None:
    choice = ensemble(members, dataset, tmp_path / "E")
    weights = np.array([member.weight for member in choice.members])
    part = dataset.split(PUBLIC_TEST)
    alone = []
    for folder in members:
        model, spec = load_checkpoint(folder)
        probs = TorchClassifier(model.half().float(), spec).probs(part.images)
        alone.append(probs if spec.labels == FER7 else probs[:, ::-1])
    _, spec = load_checkpoint(tmp_path / "E")
    expected = mix(np.stack(alone), weights) ** (1 / spec.temperature)
    actual = TorchClassifier(tmp_path / "E").probs(part.images)
    np.testing.assert_allclose(actual, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)
    assert np.ptp(weights) > 0.05 and spec.temperature != 1


def test_evaluating_the_folder_gives_the_figures_that_were_written(made: tuple[Path, Choice], dataset: Dataset) -> None:
    out, choice = made
    report = evaluate(TorchClassifier(out), dataset, split=PUBLIC_TEST).to_dict()
    _, spec = load_checkpoint(out)
    written = spec.metrics[PUBLIC_TEST]
    assert report["model"] == spec.name == "E" and spec.arch == "ensemble" and spec.licence == "MIT"
    assert written["accuracy"] == report["accuracy"] == choice.mix.accuracy[0]
    assert written["nll"] == pytest.approx(report["nll"], abs=1e-5)
    assert f"{100 * report['accuracy']:.2f} %" in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_members_are_weighted_on_the_images_of_all_data_sets(
    members: list[Path], dataset: Dataset, tmp_path: Path
) -> None:
    colour = replace(
        make_dataset(), name="colour", images=dataset.images.repeat(3, axis=3)[:, ::2, ::2], data_hash="1" * 64
    )
    mixture = Mixture((dataset, colour), (1.0, 1.0))
    done: list[tuple[int, int]] = []
    choice = ensemble(members, mixture, tmp_path / "E", progress=lambda k, total: done.append((k, total)))
    public = mixture.split(PUBLIC_TEST)
    assert choice.dataset == f"{dataset.name} + colour"
    assert done[-1] == (len(members) * len(public),) * 2
    alone = TorchClassifier(tmp_path / "E")
    probs = np.concatenate([alone.probs(part.images) for part in public.parts])
    np.testing.assert_allclose(choice.mix.probs, probs, atol=2e-3)
    same_shape = soup(members[:2], mixture, tmp_path / "S", kind="uniform")
    assert len(same_shape.mix.probs) == len(public)


@pytest.mark.slow
def test_no_other_split_than_public_test_is_read(members: list[Path], splits_read: list[str], tmp_path: Path) -> None:
    plain = make_dataset()
    hidden = replace(plain, images=plain.images.copy(), targets=plain.targets.copy())
    others = hidden.split_ids != 1
    hidden.images[others], hidden.targets[others] = 0, 6
    first, second = (ensemble(members, data, tmp_path / f"E{k}") for k, data in enumerate((plain, hidden)))
    soup(members[:2], plain, tmp_path / "S", kind="greedy")
    assert set(splits_read) == {PUBLIC_TEST}
    assert [member.weight for member in first.members] == [member.weight for member in second.members]
    assert first.mix.nll == second.mix.nll


def test_one_copied_model_is_no_better_than_itself(members: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(members[0], tmp_path / "copy")
    choice = ensemble([members[0], tmp_path / "copy"], dataset, tmp_path / "E")
    assert not choice.better and "not better than its best member" in choice.verdict
    assert {member.name for member in choice.members} == {"first", "copy"}  # the same name twice would say nothing
    assert "not better than its best member" in (tmp_path / "E" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_ensemble_of_models_with_unlike_errors_is_called_better(members: list[Path], tmp_path: Path) -> None:
    count = 2 * COUNT
    data = make_dataset(np.zeros(count, int))
    part = data.split(PUBLIC_TEST)
    probs = np.stack([TorchClassifier(folder).probs(part.images) for folder in members[:2]])
    truth = mix(probs, np.array([0.5, 0.5])).argmax(axis=1)  # each member alone misses some that both together get
    targets = data.targets.copy()
    targets[data.split_ids == 1] = truth
    choice = ensemble(members[:2], replace(data, targets=targets), tmp_path / "E", weighting=UNIFORM)
    assert choice.better and choice.verdict.startswith("the soft vote (uniform weights) is better than")
    assert choice.fair is None and choice.mix.accuracy[0] > 0.95


@pytest.mark.slow
def test_a_member_without_weight_is_not_stored(members: list[Path], tmp_path: Path) -> None:
    data = make_dataset()
    targets = data.targets.copy()
    part = data.split(PUBLIC_TEST)
    targets[data.split_ids == 1] = TorchClassifier(members[0]).probs(part.images).argmax(axis=1)
    save_member(tmp_path, "certain", seed=7, spread=300.0)  # certain, and at odds with the truth
    choice = ensemble([members[0], tmp_path / "certain"], replace(data, targets=targets), tmp_path / "E")
    assert choice.members[1].weight == 0
    assert [folder.name for folder in (tmp_path / "E" / "members").iterdir()] == ["1-first"]
    np.testing.assert_allclose(
        TorchClassifier(tmp_path / "E").probs(part.images).argmax(axis=1), targets[data.split_ids == 1]
    )


@pytest.mark.slow
def test_an_ensemble_is_what_its_kept_members_are(
    members: list[Path], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weighting, "fit", lambda *_: np.array([0.0, 0.5, 0.5]))
    pool = [members[2], members[0], members[1]]  # the first, which is left out, is the only one with 48 px
    ensemble(pool, dataset, tmp_path / "E")
    _, spec = load_checkpoint(tmp_path / "E")
    assert (spec.preprocess.image_size, spec.extra_inputs, spec.labels) == (32, (), FER7)


@pytest.mark.slow
def test_an_ensemble_is_written_whole_or_not_at_all(
    members: list[Path], dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "E"
    ensemble(members[:2], dataset, out, weighting=UNIFORM)
    before = (out / "ensemble.json").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="--overwrite"):
        ensemble(members, dataset, out)
    with monkeypatch.context() as patch:
        patch.setattr("fervit.ensemble.voting._card", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ensemble(members, dataset, Output(out, overwrite=True), weighting=UNIFORM)
    assert (out / "ensemble.json").read_text(encoding="utf-8") == before
    ensemble(members, dataset, Output(out, overwrite=True), weighting=UNIFORM)
    assert (out / "ensemble.json").read_text(encoding="utf-8") != before
    assert [path.name for path in tmp_path.iterdir()] == ["E"]


@pytest.mark.slow
def test_the_command_prints_the_table_and_makes_a_folder_that_the_others_take(
    members: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", "synthetic:140", "--out", "E", "--select", "greedy"]
    result = CliRunner().invoke(app, ["ensemble", *map(str, members), *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert all(word in result.output for word in ("first", "second", "third", "soft vote", "95 % interval", "NLL"))
    assert str(tmp_path) not in (tmp_path / "E" / "README.md").read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, ["evaluate", "E", "--data", "synthetic:140"], catch_exceptions=False)
    assert shown.exit_code == 0 and shown.output.startswith("E on synthetic")


@pytest.mark.slow
def test_an_ensemble_carries_the_licences_of_its_members_and_of_the_data_that_weighted_them(
    members: list[Path], dataset: Dataset, tmp_path: Path
) -> None:
    for k in (0, 1):
        shutil.copytree(members[k], tmp_path / members[k].name)
    learnt_from_raf(tmp_path / members[1].name)
    ensemble([tmp_path / members[k].name for k in (0, 1)], dataset, tmp_path / "E", weighting=UNIFORM)
    assert load_checkpoint(tmp_path / "E")[1].trained_on == (RAF, Licence("made"))
    card = (tmp_path / "E" / "README.md").read_text(encoding="utf-8")
    assert 'license_name: "non-commercial (RAF-DB)"' in card and "**Not for commercial use.**" in card
    written = json.loads((tmp_path / "E" / "ensemble.json").read_text())
    del written["spec"]["trained_on"]
    (tmp_path / "E" / "ensemble.json").write_text(json.dumps(written))
    assert load_checkpoint(tmp_path / "E")[1].trained_on == (RAF,)  # its members say so themselves


def test_a_soup_carries_the_licences_of_what_is_in_it(members: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    for k in (0, 1):
        shutil.copytree(members[k], tmp_path / members[k].name)
    learnt_from_raf(tmp_path / members[1].name)
    data = replace(dataset, licence="MIT")
    soup([tmp_path / members[k].name for k in (0, 1)], data, tmp_path / "S", kind="uniform")
    assert load_checkpoint(tmp_path / "S")[1].trained_on == (RAF, Licence("made", "MIT"))
