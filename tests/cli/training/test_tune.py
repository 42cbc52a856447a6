"""`fervit tune` and `fervit train --seeds`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fervit.config.training import TrainConfig
from fervit.data import Dataset
from fervit.errors import ConfigError
from fervit.training.finetune import RunFigures, train
from tests.helpers import ROOT
from tests.helpers.commands import error_of, run
from tests.helpers.data_files import write_class_folders
from tests.helpers.weights import save_timm

QUICK = [word for s in ("image_size=32", "batch_size=8", "votes_weight=0", "epochs=1") for word in ("--set", s)]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """What every search here is called with."""
    save_timm(tmp_path / "w.safetensors")
    return ["tune", "--recipe", "tiny", "--data", "synthetic:70", "--init", str(tmp_path / "w.safetensors"), *QUICK]


@pytest.mark.slow
def test_a_sweep_prints_its_rows_and_the_best(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def spy(config: TrainConfig, *more: Any, **options: Any) -> RunFigures:
        seen.append(config.lr)
        return train(config, *more, **options)

    monkeypatch.setattr("fervit.training.tuning.trial.train", spy)
    storage = f"sqlite:///{tmp_path / 'runs' / 'sweep.db'}"
    done = run(*arguments, "--grid", "lr=1e-5,1e-3", "--storage", storage, "--objective", "nll")
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if line.startswith("trial ")]
    assert [row.partition(":")[0] for row in rows] == ["trial 0", "trial 1"] and "; lr = 1e-05" in rows[0]
    assert seen == [1e-5, 1e-3]
    out = tmp_path / "runs" / "sweep"
    assert f"recipe: {out / 'best.toml'}; all trials: {out / 'summary.md'}" in done.stdout
    assert (out / "best.toml").is_file() and (out / "trials" / "1" / "run.json").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "lrr=1"], "did you mean 'lr'"),
        (["--recipe", "tinny"], "did you mean 'tiny'"),
        (["--grid", "lr"], "--grid takes key=value,value"),
        (["--sampler", "bayes"], "unknown sampler 'bayes'"),
        (["--space", "none.toml"], "no search space at none.toml"),
        (["--storage", "tune.db"], "did you mean sqlite:///tune.db"),
        (["--storage", "sqlite:///"], "needs the path of a file"),
        (["--fraction", "1.5"], "fraction must be above 0 and at most 1"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, arguments: list[str], options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = error_of(run(*arguments, *options))
    assert message in error and "\n" not in error
    assert not (tmp_path / "runs" / "tune" / "trials").exists()


def test_a_missing_optuna_is_named(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'fervit[tune]'" in error_of(run(*arguments))


@pytest.mark.slow
def test_a_signal_says_how_to_go_on(tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fervit.training.tuning.trial.train", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    words = [*arguments, "--out", str(tmp_path / "t"), "--trials", "1"]
    monkeypatch.setattr(sys, "argv", ["fervit", *words])
    done = run(*words)
    assert done.exit_code == 143
    assert f"to go on: fervit {' '.join(words)}" in done.stderr
    monkeypatch.undo()
    assert run(*words).exit_code == 0


def search(arguments: list[str], out: Path, *more: str) -> list[str]:
    """Return the words of a search of short trials that all end."""
    return [*arguments, "--out", str(out), "--pruner", "none", *more]


ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_search_goes_on_after_kill_9_where_it_was(
    tmp_path: Path, arguments: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "t"
    words = search([*arguments, "--set", "epochs=3"], out, "--trials", "3")
    command = [sys.executable, "-m", "fervit", *words]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not list(out.glob("trials/1/checkpoints/*/trainer_state.json")) and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.wait()
    stopped = json.loads((out / "trials" / "1" / "run.json").read_text())
    assert "public_test" not in stopped, "the trial had ended before it was killed"
    first = (out / "trials" / "1" / "metrics.csv").read_text().splitlines()[1]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "trial 1 was interrupted and goes on" in caplog.text
    assert "trial 0:" not in done.stdout and "trial 1: macro_f1" in done.stdout
    rows = (out / "trials" / "1" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[1] == first  # its first epoch was not trained again
    config = json.loads((out / "trials" / "1" / "run.json").read_text())["config"]
    assert config == stopped["config"]
    assert [line.split(",")[:2] for line in (out / "trials.csv").read_text().splitlines()[1:]] == [
        [number, "complete"] for number in "012"
    ]


@pytest.mark.slow
def test_workers_share_a_search_and_end_with_it(tmp_path: Path, arguments: list[str]) -> None:
    out = tmp_path / "t"
    done = run(*search(arguments, out, "--trials", "4", "--workers", "2"))
    assert done.exit_code == 0, done.output
    assert sorted(line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("trial ")) == [
        f"trial {number}" for number in range(4)
    ]
    rates = [line.split(",")[3] for line in (out / "trials.csv").read_text().splitlines()[1:]]
    assert len(set(rates)) == 4
    error = error_of(run(*arguments, "--out", out, "--pruner", "none", "--trials", "2"))
    assert error.startswith("study 'tune' has 4 finished trials")


@pytest.mark.slow
def test_seeds_print_a_markdown_line(tmp_path: Path, arguments: list[str]) -> None:
    words = ["train", *arguments[1:], "--out", str(tmp_path / "s"), "--seeds", "2"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "| s, seeds 0 to 1 |" in done.stdout and f"runs: {tmp_path / 's'}" in done.stdout
    assert "seed 0" in done.stderr and "seed 1" in done.stderr
    assert "--resume goes on with its runs" in error_of(run(*words))
    assert run(*words, "--resume").exit_code == 0


def test_a_signal_says_how_seeds_go_on(tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", *arguments[1:], "--out", str(tmp_path / "s"), "--seeds", "2"]
    monkeypatch.setattr("fervit.training.tuning.seeds.train", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(sys, "argv", ["fervit", *words])
    done = run(*words)
    assert done.exit_code == 143
    assert f"to go on: fervit {' '.join(words)} --resume" in done.stderr


def test_the_terms_of_the_data_reach_the_trials(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(recipe: str, dataset: Dataset, *more: object, **options: object) -> None:
        raise ConfigError(f"terms of the data: {dataset.licence}")

    monkeypatch.setattr("fervit.api.studies.tune", stop)
    arguments[arguments.index("synthetic:70")] = str(write_class_folders(tmp_path / "mine", "happy", "sad"))
    assert error_of(run(*arguments, "--licence", "CC-BY-4.0")) == "terms of the data: mine: CC-BY-4.0"
    assert "expected a licence" in error_of(run(*arguments, "--licence", " "))
