"""The folder of a run: nothing in it is lost, whatever the command or the disk does."""

import dataclasses
import errno
import json
from pathlib import Path

import pytest

import fervit.training.finetune
from fervit.errors import ConfigError
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.training import train
from fervit.training.run_folder import last_checkpoint, write_json
from fervit.types import ModelSpec
from tests.helpers import faces
from tests.helpers.training import StopAfterEpoch, quick_config


@pytest.mark.slow
def test_resuming_with_other_settings_names_them(tmp_path: Path, weights: Path) -> None:
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights)
    with pytest.raises(ConfigError, match=r"another batch_size, lr: give the same, or take a new --out"):
        train(quick_config(epochs=1, lr=0.1, batch_size=4), faces(), tmp_path / "run", init=weights, resume=True)


@pytest.mark.slow
def test_a_run_of_before_a_setting_existed_goes_on_as_if_it_were_off(tmp_path: Path, weights: Path) -> None:
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    del run["config"]["patch_drop"], run["config"]["augment"]["blur_sigma"], run["config"]["model"]["pool"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights, resume=True)
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    with pytest.raises(ConfigError, match="another patch_drop"):
        train(quick_config(epochs=1, patch_drop=0.5), faces(), tmp_path / "run", init=weights, resume=True)


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_a_model_that_is_no_run_is_not_taken_over(tmp_path: Path, weights: Path, flag: str) -> None:
    model, preprocess = build_model(weights, FER7, 32)
    save_checkpoint(model, ModelSpec("vit", preprocess), tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match=r"no run of fervit \(no run\.json\), so it stays as it is"):
        train(
            quick_config(epochs=1),
            faces(),
            tmp_path / "model",
            init=weights,
            resume=flag == "resume",
            overwrite=flag == "overwrite",
        )
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("unfinished", [".run.json.part", ".run-k3v9.json"])
def test_a_run_that_a_full_disk_stopped_at_its_first_file_goes_on(
    tmp_path: Path, weights: Path, unfinished: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / unfinished).write_text("{")
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights, resume=True)
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.slow
def test_going_on_with_other_votes_is_refused(tmp_path: Path, weights: Path) -> None:
    train(quick_config(votes_weight=0.5), faces(votes=True), tmp_path / "run", init=weights)
    other = faces(votes=True)
    assert other.votes is not None
    other = dataclasses.replace(other, votes=other.votes[::-1].copy())
    with pytest.raises(ConfigError, match="another votes"):
        train(quick_config(votes_weight=0.5), other, tmp_path / "run", init=weights, resume=True)


def test_a_checkpoint_that_a_full_disk_cut_short_is_passed_over(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(quick_config(), faces(), tmp_path / "run", init=weights, callbacks=[StopAfterEpoch()])
    whole = last_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "checkpoint-99").mkdir()
    (tmp_path / "run" / "checkpoints" / "checkpoint-99" / "trainer_state.json").write_text("")
    assert last_checkpoint(tmp_path / "run") == whole


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "run.json", {"a": 1})

    def full(self: Path, text: str, **_: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError):
        write_json(tmp_path / "run.json", {"a": 2})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": 1}


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="--resume goes on with it, --overwrite deletes it"):
        train(quick_config(), faces(), tmp_path / "mine", init=weights)
    with pytest.raises(ConfigError, match="holds no run of fervit"):
        train(quick_config(), faces(), tmp_path / "mine", init=weights, overwrite=True)
    with pytest.raises(ConfigError, match="give one of them"):
        train(quick_config(), faces(), tmp_path / "mine", init=weights, overwrite=True, resume=True)
    with pytest.raises(ConfigError, match="is a file"):
        train(quick_config(), faces(), tmp_path / "mine" / "thesis.txt", init=weights)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


@pytest.mark.slow
def test_overwrite_replaces_a_run(tmp_path: Path, weights: Path) -> None:
    for _ in range(2):
        train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights, overwrite=True)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 1 + 1


@pytest.mark.slow
def test_a_full_disk_says_so_and_what_to_do(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fervit.training.finetune, "save_checkpoint", full)
    with pytest.raises(ConfigError, match=r"disk is full.*--resume"):
        train(quick_config(), faces(), tmp_path / "run", init=weights)
