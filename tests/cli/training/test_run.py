"""What the commands that train do alike: they hold their folder, and say what goes on after a signal."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

import fervit.api
from fervit.cli.training._run import as_text
from fervit.folders import RUN_FILE, locked
from fervit.training.finetune import RunFigures
from tests.helpers.commands import error_of, run

COMMAND = ("train", "--recipe", "tiny", "--data", "synthetic:21", "--init", "shipped")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_signal_ends_a_run_with_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    out = tmp_path / "my run"

    def stopped(*_: object, **__: object) -> None:
        (out / RUN_FILE).write_text("{}")
        folder = out / "checkpoints" / "checkpoint-4"
        folder.mkdir(parents=True)
        monkeypatch.setattr("fervit.training.run_folder.last_checkpoint", lambda _: str(folder))
        (folder / "trainer_state.json").write_text(json.dumps({"epoch": 2.0}))
        os.kill(os.getpid(), getattr(signal, name))

    monkeypatch.setattr(fervit.api, "train", stopped)
    arguments = [*COMMAND, "--out", str(out), "--overwrite"]
    monkeypatch.setattr(sys, "argv", ["fervit", *arguments])
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    done = run(*arguments)
    assert done.exit_code == code
    assert done.stderr.strip().splitlines()[-1] == (
        f"fervit: stopped by {name}; {out} is saved up to epoch 2; to go on: "
        f"fervit train --recipe tiny --data synthetic:21 --init shipped --out '{out}' --resume"
    )
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
    assert not (out / ".lock").exists()


@pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
def test_a_signal_before_the_training_names_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    (tmp_path / RUN_FILE).write_text("{}")
    monkeypatch.setattr(fervit.api, "train", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    arguments = [*COMMAND, "--out", str(tmp_path), flag]
    monkeypatch.setattr(sys, "argv", ["fervit", *arguments])
    done = run(*arguments)
    assert done.exit_code == 143
    assert f"it had not begun to train; to start again: fervit {' '.join(arguments)}" in done.stderr
    assert (tmp_path / RUN_FILE).is_file()


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--recipe", "tiny"),
        ("distill", "mobilenet"),
        ("pretrain", "--init", "shipped"),
        ("ensemble", "one", "two"),
    ],
)
def test_two_ranks_are_refused_by_every_command_that_writes_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "of_the_other_rank").touch()
    for out in (tmp_path / "run", tmp_path / "new"):
        error = error_of(run(*command, "--data", tmp_path / "absent.csv", "--out", out))
        assert error.startswith("WORLD_SIZE is 2") and "start it without torchrun" in error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "command",
    [("train", "--recipe", "tiny"), ("distill", "mobilenet"), ("pretrain", "--init", "shipped")],
)
def test_an_out_that_cannot_be_written_is_found_before_the_data(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    done = run(*command, "--data", tmp_path / "absent.csv", "--out", tmp_path / "file" / "run")
    assert error_of(done).startswith(f"cannot write {tmp_path / 'file' / 'run'}")


def test_an_ensemble_and_an_export_find_it_before_their_models_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    members = (tmp_path / "one", tmp_path / "two")
    done = run("ensemble", *members, "--data", "synthetic:21", "--out", tmp_path / "file" / "ensemble")
    assert error_of(done).startswith(f"cannot write {tmp_path / 'file' / 'ensemble'}")
    done = run("export", tmp_path / "one", "--out", tmp_path / "file" / "deeper" / "model.onnx")
    assert error_of(done).startswith(f"cannot write {tmp_path / 'file' / 'deeper' / 'model.onnx'}")


def test_an_ensemble_whose_folder_is_in_use_is_refused_before_its_members_are_read(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    arguments = ("ensemble", tmp_path / "one", tmp_path / "two", "--data", "synthetic:21", "--out", tmp_path / "out")
    said: list[str] = []
    with locked(tmp_path / "out"):
        thread = threading.Thread(target=lambda: said.append(error_of(run(*arguments))))
        thread.start()
        thread.join()
    assert "in use by process" in said[0]
    assert not (tmp_path / "out").exists()


def test_a_run_says_what_calibration_did_to_the_figures_of_its_epoch() -> None:
    figures: RunFigures = {
        "accuracy": 0.474,
        "macro_f1": 0.4,
        "loss": 1.2,
        "epoch": 3.0,
        "n": 19,
        "calibration": "bcts",
        "before_calibration": {"accuracy": 0.316, "loss": 1.6},
        "cross_validated": {"accuracy": 0.33, "loss": 1.55},
    }
    assert as_text(figures, Path("run")).splitlines() == [
        "best epoch 3: public_test accuracy 47.40 %, macro-F1 0.400 (n = 19)",
        "calibrated (bcts) on the same 19 images: accuracy 31.60 % before, 47.40 % after, 33.00 % cross-validated; "
        "NLL 1.600 before, 1.200 after, 1.550 cross-validated",
        "model folder: run",
    ]
    assert "before, 1.200 after" in as_text(figures | {"calibration": "temperature"}, Path("run"))
    assert "not calibrated" in as_text(figures | {"calibration": "none"}, Path("run"))


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_leaves_what_an_export_and_an_ensemble_were_to_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), getattr(signal, name))

    monkeypatch.setattr(fervit.api, "export_onnx", stopped)
    monkeypatch.setattr("fervit.data.mixtures.loading.load_mixture", stopped)
    for member in ("one", "two"):
        (tmp_path / member).mkdir()
    ensemble = ("ensemble", tmp_path / "one", tmp_path / "two", "--data", "synthetic:21")
    for command, out in ((("export", tmp_path / "one"), "m.onnx"), (ensemble, "out")):
        done = run(*command, "--out", tmp_path / out)
        assert done.exit_code == code
        assert f"fervit: stopped by {name}; {tmp_path / out} is as it was" in done.stderr
        assert not (tmp_path / out).exists()
