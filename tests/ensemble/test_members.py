"""The members of an ensemble: which are refused, and what they are called."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.data.mixtures.mixture import as_mixture
from fervit.ensemble import ensemble
from fervit.ensemble.members import check_data, unique_names
from fervit.ensemble.results import Choice
from fervit.errors import DataError, FervitError, ModelError
from fervit.labels import FER7
from fervit.types import ModelSpec, Preprocess
from tests.helpers.ensembles import make_dataset


def test_data_without_public_test_or_with_other_labels_is_refused(members: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="public_test"):
        ensemble(members, make_dataset(split=0), tmp_path / "E")
    with pytest.raises(ModelError, match=r"contempt.*--drop-labels contempt leaves its images out"):
        ensemble(members, make_dataset(labels=(*FER7, "contempt")), tmp_path / "E")


def test_data_of_some_of_the_members_expressions_or_in_other_spellings_will_do(
    members: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    spec = ModelSpec("cnn", Preprocess(32, (0.5,) * 3, (0.5,) * 3), labels=FER7)
    spelt = ("anger", *FER7[1:])
    assert check_data(spec, as_mixture(make_dataset(labels=spelt))).labels == spelt
    assert "matched by their meaning: anger = angry" in caplog.text
    few = replace(make_dataset(), labels=FER7[:3], targets=np.arange(len(make_dataset())) % 3)
    matched = check_data(spec, as_mixture(few))
    assert matched.labels == FER7 and set(matched.targets.tolist()) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["A"], "two members or more, got 1"),
        (["A", "A"], "given twice"),
        (["A", "./B/../A"], "given twice"),
        (["A", "none"], "none does not exist"),
        (["A", "A/model.safetensors"], "exported file: the members of an ensemble are model folders"),
        (["A", "E"], "is an ensemble itself"),
        (["A", "B", "--weights", "fited"], "did you mean 'fitted'"),
        (["A", "B", "--select", "best"], "greedy"),
        (["A", "B", "--soup", "hot"], "greedy, uniform"),
        (["A", "B", "--soup", "uniform", "--weights", "uniform"], "give one of them"),
        (["A", "B", "--out", "B"], "lie in one another"),
        (["A", "B", "--out", "A/deeper", "--overwrite"], "lie in one another"),
        (["A", "B", "--out", "mine", "--overwrite"], "no ensemble of fervit's"),
        (["A", "B", "--out", "E"], "--overwrite"),
        (["A", "empty"], "no config.json"),
    ],
)
def test_a_mistake_is_reported_before_any_model_runs(
    members: list[Path],
    made: tuple[Path, Choice],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (("A", members[0]), ("B", members[1]), ("E", made[0])):
        shutil.copytree(source, name)
    for name in ("mine", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("two years of work")
    out = [] if "--out" in arguments else ["--out", "new"]
    result = CliRunner().invoke(app, ["ensemble", *arguments, *out, "--data", "synthetic:140"])
    assert isinstance(result.exception, FervitError), result.output
    assert message in str(result.exception)
    assert not (tmp_path / "new").exists() and (tmp_path / "mine" / "thesis.txt").exists()


def test_members_of_the_same_name_are_called_by_their_folders_or_by_their_paths(tiny_spec: ModelSpec) -> None:
    specs = [tiny_spec, tiny_spec]
    assert unique_names([tiny_spec, replace(tiny_spec, name="other")], [Path("a/x"), Path("b/x")]) == ["tiny", "other"]
    assert unique_names(specs, [Path("a/x"), Path("a/y")]) == ["x", "y"]
    paths = [Path("a/x"), Path("b/x")]
    assert unique_names(specs, paths) == [str(path) for path in paths]
