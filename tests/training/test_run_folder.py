"""The folder of a run: nothing in it is lost, whatever the command or the disk does."""

import dataclasses
import errno
import json
import shutil
import threading
from pathlib import Path

import pytest
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import fervit
import fervit.training.finetune
from fervit.errors import ConfigError, DataError
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


@pytest.mark.slow
def test_a_checkpoint_that_a_full_disk_cut_short_is_passed_over(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(quick_config(), faces(), tmp_path / "run", init=weights, callbacks=[StopAfterEpoch()])
    whole = last_checkpoint(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "checkpoint-99").mkdir()
    (tmp_path / "run" / "checkpoints" / "checkpoint-99" / "trainer_state.json").write_text("")
    assert last_checkpoint(tmp_path / "run") == whole


@pytest.fixture
def two_epochs(tmp_path: Path, weights: Path) -> Path:
    """A run that was stopped after the second of three epochs."""
    with pytest.raises(KeyboardInterrupt):
        stop = StopAfterEpoch(2)
        train(quick_config(epochs=3), faces(), tmp_path / "run", init=weights, callbacks=[stop])
    return tmp_path / "run"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["run.json", "metrics.csv", "best/config.json", "best/figures.json", "best/model.safetensors"]
)
def test_a_run_with_a_file_that_was_cut_short_says_so_in_one_line(two_epochs: Path, weights: Path, name: str) -> None:
    cut(two_epochs / name)
    with pytest.raises(ConfigError, match=rf"{name} is damaged .*: --overwrite starts it anew$"):
        train(quick_config(epochs=3), faces(), two_epochs, init=weights, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resume.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
def test_a_run_without_a_whole_checkpoint_does_not_start_again_in_silence(
    two_epochs: Path, weights: Path, name: str
) -> None:
    kept = sorted((two_epochs / "checkpoints").iterdir())
    assert len(kept) == 2
    for folder in kept:
        cut(folder / name)
    with pytest.raises(ConfigError, match=r"no whole checkpoint of the 2 epochs .*: --overwrite starts it anew$"):
        train(quick_config(epochs=3), faces(), two_epochs, init=weights, resume=True)
    for folder in kept:
        (folder / name).unlink()
    with pytest.raises(ConfigError, match="no whole checkpoint"):
        train(quick_config(epochs=3), faces(), two_epochs, init=weights, resume=True)


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    two_epochs: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = last_checkpoint(two_epochs)
    assert found is not None
    later = Path(found).with_name("checkpoint-99")
    shutil.copytree(found, later)
    assert last_checkpoint(two_epochs) == str(later)
    cut(later / "optimizer.pt")
    assert (
        last_checkpoint(two_epochs) == found and "checkpoint-99 is passed over: optimizer.pt (cut short)" in caplog.text
    )
    train(quick_config(epochs=3), faces(), two_epochs, init=weights, resume=True)


@pytest.mark.slow
def test_a_folder_that_a_run_is_being_trained_in_is_left_alone(tmp_path: Path, weights: Path) -> None:
    class Second(TrainerCallback):
        def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
            for flags in ("resume", "overwrite"):
                thread = threading.Thread(target=self.run, args=(flags,))
                thread.start()
                thread.join()

        def run(self, flag: str) -> None:
            out = tmp_path / "run"
            try:
                train(quick_config(), faces(), out, init=weights, resume=flag == "resume", overwrite=flag != "resume")
            except ConfigError as error:
                said.append(str(error))

    said: list[str] = []
    train(quick_config(epochs=1), faces(), tmp_path / "run", init=weights, callbacks=[Second()])
    assert len(said) == 2 and all("in use by process" in text for text in said)
    assert (tmp_path / "run" / "model.safetensors").is_file() and not (tmp_path / "run" / ".lock").exists()


def test_an_out_that_cannot_be_written_is_found_before_the_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        fervit.train("tiny", "absent.csv", tmp_path / "file" / "run")
    with pytest.raises(ConfigError, match="cannot write"):
        fervit.distill("absent", "absent.csv", tmp_path / "file" / "run")


def test_what_fails_before_training_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        fervit.train("tiny", tmp_path / "absent.csv", tmp_path / "runs" / "mine")
    assert not (tmp_path / "runs").exists()


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
