"""Pushing a model folder, onto a stand-in for the Hub on this machine."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import fervit
from fervit.errors import ConfigError, ModelError
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.loading import open_classifier
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.types import ModelSpec
from tests.helpers import hub_models
from tests.helpers.commands import error_of, run
from tests.helpers.hub_models import Hub
from tests.helpers.licences import RAF
from tests.helpers.weights import save_timm

CROPS = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run: a model, its card, and what belongs to the run alone."""
    save_timm(tmp_path / "timm.safetensors")
    model, preprocess = build_model(tmp_path / "timm.safetensors", FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess, FER7, name="mine", trained_on=(RAF,)), tmp_path / "mine")
    (tmp_path / "mine" / "README.md").write_text("---\nlicense: mit\n---\n# mine\n")
    (tmp_path / "mine" / "run.json").write_text("{}")
    (tmp_path / "mine" / "checkpoint-1").mkdir()
    (tmp_path / "mine" / "checkpoint-1" / "model.safetensors").write_bytes(b"x")
    return tmp_path / "mine"


@pytest.mark.slow
def test_a_model_is_pushed_verified_and_opens_from_there(hub: Hub, folder: Path) -> None:
    pushed = fervit.push(folder, "me/mine", private=True)
    names = ["README.md", "config.json", "model.safetensors", "onnx/model.onnx", "preprocessor_config.json"]
    assert [file.name for file in pushed.files] == names
    assert pushed.url == f"{hub.address}/me/mine" and pushed.notes == ()
    repository = hub.repositories["me/mine"]
    assert repository.private and repository.refs["main"] == pushed.commit
    assert sorted(repository.commits[pushed.commit]) == names
    expected = open_classifier(folder).probs(CROPS)
    np.testing.assert_array_equal(open_classifier("me/mine").probs(CROPS), expected)
    (Path("again.onnx")).write_bytes(repository.commits[pushed.commit]["onnx/model.onnx"])
    np.testing.assert_allclose(OnnxClassifier("again.onnx").probs(CROPS), expected, atol=1e-4)


def test_the_command_lists_what_was_pushed_and_what_was_not(hub: Hub, folder: Path) -> None:
    done = run("push", folder, "me/mine", "--no-onnx", "--branch", "trial", "--message", "first")
    assert done.exit_code == 0, done.output
    assert "model.safetensors" in done.stdout and "onnx" not in done.stdout and "run.json" not in done.stdout
    assert f"{hub.address}/me/mine: 4 files, " in done.stdout and "verified there; commit " in done.stdout
    assert "trained on RAF-DB" in done.stdout
    repository = hub.repositories["me/mine"]
    assert not repository.private and repository.refs["trial"] != repository.refs["main"]
    assert run("push", folder, "me/mine", "--no-onnx").exit_code == 0  # into a repository that exists


def test_a_dry_run_sends_nothing(hub: Hub, folder: Path) -> None:
    (folder / "README.md").unlink()
    done = run("push", folder, "me/mine", "--no-onnx", "--dry-run")
    assert "me/mine: 3 files, " in done.stdout and "would be pushed" in done.stdout
    assert "note: there is no model card (README.md) to push" in done.stdout
    assert hub.requests == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_arrived_as_another_one_is_said(hub: Hub, folder: Path, name: str) -> None:
    hub.spoils = name
    with pytest.raises(ModelError, match=f"{name} arrived at me/mine as another file than it is here; push again"):
        fervit.push(folder, "me/mine", onnx=False)


def test_who_may_not_push_is_told_how_to_log_in(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    message = error_of(run("push", folder, "me/mine", "--no-onnx"))
    assert f"{hub.address} does not let you push to me/mine: log in with `hf auth login`" in message
    hub_models.direct_to(monkeypatch, hub.address, Path("hub-cache"), offline=True)
    with pytest.raises(ModelError, match="me/mine cannot be pushed while HF_HUB_OFFLINE is set"):
        fervit.push(folder, "me/mine", onnx=False)


def test_what_is_no_repository_or_no_model_is_refused_before_anything_is_sent(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    for repo in ("mine", "me/mine@v1", "./me/mine"):
        with pytest.raises(ConfigError, match="expected the repository as owner/name"):
            fervit.push(folder, repo)
    with pytest.raises(ConfigError, match=r"the data set is for onnx/model_quantized\.onnx"):
        fervit.push(folder, "me/mine", onnx=False, data="synthetic:10")
    shutil.rmtree(tmp_path / "mine" / "checkpoint-1")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"hidden_size": 128}))
    with pytest.raises(ModelError, match="its place"):
        fervit.push(folder, "me/mine", onnx=False)
    assert hub.requests == []
