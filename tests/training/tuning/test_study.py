"""`tune`: trials that end well, badly or not at all; the study's database and folder."""

import csv
import dataclasses
import json
import math
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import fervit
from fervit.config.training import TrainConfig, load_config
from fervit.data import Dataset
from fervit.errors import ConfigError, DataError, ModelError
from fervit.folders import RUN_FILE
from fervit.training.finetune import RunFigures
from fervit.training.tuning import trial as trial_module
from fervit.training.tuning.options import SAMPLERS
from fervit.training.tuning.outcome import TuneResult
from fervit.training.tuning.rows import TrialRow
from fervit.training.tuning.storage import open_storage
from fervit.training.tuning.study import tune
from tests.helpers import faces
from tests.helpers.training import quick_config

SPACE = {"lr": {"low": 1e-5, "high": 1e-2, "log": True}}
Score = Callable[[TrainConfig, int], float]
"""The macro-F1 of a configuration after an epoch."""


class FakeTraining:
    """In place of `train`: reports what a function says of each epoch, and can be interrupted like a run."""

    def __init__(self, score: Score):
        self.score = score
        self.runs: list[TrainConfig] = []
        self.resumed: list[bool] = []
        self.images: list[int] = []

    def __call__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        out: Path,
        *,
        callbacks: Sequence[TrainerCallback],
        resume: bool = False,
        overwrite: bool = False,
        **_: Any,
    ) -> RunFigures:
        """Train for nothing."""
        self.runs.append(config)
        self.resumed.append(resume)
        self.images.append(len(dataset.split("train")))
        out.mkdir(parents=True, exist_ok=True)
        (out / RUN_FILE).write_text("{}")
        (out / "model.safetensors").touch()
        state, control = TrainerState(), TrainerControl()
        arguments = TrainingArguments(output_dir=str(out), report_to=[], use_cpu=True)
        value = 0.0
        for epoch in range(1, config.epochs + 1):
            for callback in callbacks:
                callback.on_step_end(arguments, state, control)
            value = self.score(config, epoch)
            figures = {"eval_accuracy": value, "eval_macro_f1": value, "eval_loss": 1 - value, "epoch": float(epoch)}
            for callback in callbacks:
                callback.on_evaluate(arguments, state, control, metrics=figures)
        return {
            "accuracy": value,
            "macro_f1": value,
            "loss": 1 - value,
            "epoch": float(config.epochs),
            "n": 8,
            "calibration": "none",
            "before_calibration": {"accuracy": value, "loss": 1 - value},
            "cross_validated": {"accuracy": value, "macro_f1": value, "loss": 1 - value},
        }


def fake(monkeypatch: pytest.MonkeyPatch, score: Score = lambda config, epoch: 0.5) -> FakeTraining:
    """Replace training by figures."""
    training = FakeTraining(score)
    monkeypatch.setattr(trial_module, "train", training)
    return training


def search(out: Path, config: TrainConfig | None = None, **options: Any) -> TuneResult:
    """Search over the learning rate, on faces of 16 px, unless told otherwise."""
    given = {"space": SPACE, "trials": 3, "sampler": "random", **options}
    if given.get("grid"):
        del given["space"]
    data = given.pop("data", None) or faces(56)
    return tune(config or quick_config(epochs=1), data, out, recipe="quick", **given)


def peak(config: TrainConfig, epoch: int) -> float:
    """Return a macro-F1 that is 0.9 at a learning rate of 1e-4, and falls on both sides."""
    return 0.9 - 0.1 * abs(math.log10(config.lr) + 4)


@pytest.mark.slow
def test_trials_are_run_and_the_best_becomes_a_recipe(tmp_path: Path, weights: Path, splits_read: list[str]) -> None:
    seen: list[TrialRow] = []
    config = quick_config(epochs=1, init=str(weights))
    found = fervit.tune(
        config, "synthetic:70", tmp_path / "t", trials=3, space=SPACE, sampler="random", progress=seen.append
    )
    assert [row.number for row in seen] == [0, 1, 2] and tuple(seen) == found.trials
    assert "private_test" not in splits_read
    best = load_config(tmp_path / "t" / "best.toml")
    assert best == found.config and best.lr == found.best.settings["lr"]
    assert found.start is not None and found.start.settings == {"lr": config.lr}
    assert found.best.value == max(row.value or 0 for row in found.trials)
    kept = [n for n in range(3) if (tmp_path / "t" / "trials" / str(n) / "model.safetensors").is_file()]
    assert kept == [found.best.number]
    assert not list((tmp_path / "t").glob("trials/*/checkpoints"))
    again = fervit.train(tmp_path / "t" / "best.toml", "synthetic:70", tmp_path / "again")
    assert again["cross_validated"]["macro_f1"] == found.best.value


@pytest.mark.slow
def test_the_folder_says_where_the_best_recipe_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, peak)
    found = search(tmp_path / "t", trials=6, sampler="tpe", command="fervit tune --trials 6")
    text = (tmp_path / "t" / "best.toml").read_text()
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert f"trial {found.best.number}" in header[0] and "quick" in header[0]
    assert "macro-F1 on public_test" in header[1] and "the recipe as it is" in header[1]
    assert found.config.lr == tomllib.loads(text)["lr"] and "# Command: fervit tune --trials 6" in text
    rows = list(csv.DictReader((tmp_path / "t" / "trials.csv").read_text().splitlines()))
    assert [row["trial"] for row in rows] == [*"012345"]
    assert [float(row["lr"]) for row in rows] == [row.settings["lr"] for row in found.trials]
    summary = (tmp_path / "t" / "summary.md").read_text()
    data = faces(56)
    for words in (data.data_hash[:16], "`fervit tune --trials 6`", "![history](history.png)", "too few to rely on"):
        assert words in summary
    assert list(found.importance) == ["lr"] and found.importance["lr"] == pytest.approx(1)
    for name in ("history.png", "importance.png"):
        assert (tmp_path / "t" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_search_goes_on_to_the_number_of_trials_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = fake(monkeypatch, peak)
    search(tmp_path / "t", trials=2)
    assert len(search(tmp_path / "t", trials=4).trials) == 4
    assert len(training.runs) == 4 and len({config.lr for config in training.runs}) == 4
    assert len(search(tmp_path / "t", trials=4).trials) == 4 and len(training.runs) == 4
    with pytest.raises(ConfigError, match="has 4 finished trials, and --trials 3 counts all of them: give 4 or more"):
        search(tmp_path / "t", trials=3)


@pytest.mark.slow
def test_a_diverging_trial_and_wrong_settings_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(config: TrainConfig, epoch: int) -> float:
        if config.batch_size == 2:
            raise ConfigError("batch_size 2 does not fit")
        return math.nan if config.batch_size == 4 else 0.5

    fake(monkeypatch, score)
    found = search(tmp_path / "t", grid=["batch_size=2,4,8"], trials=None)
    assert [row.state for row in found.trials] == ["failed", "failed", "complete"]
    assert found.trials[0].reason == "batch_size 2 does not fit"
    assert found.trials[1].reason == "diverged: the validation loss is nan after epoch 1"
    assert "batch_size 2 does not fit" in (tmp_path / "t" / "trials.csv").read_text()
    with pytest.raises(ConfigError, match="none of 1 trials could be trained; the first: batch_size 2 does not fit"):
        search(tmp_path / "u", grid=["batch_size=2"], trials=None)


@pytest.mark.slow
def test_a_real_run_that_diverges_is_recorded(tmp_path: Path, weights: Path) -> None:
    config = quick_config(epochs=1, init=str(weights), grad_clip=0.0)
    found = search(tmp_path / "t", config, grid={"lr": [1e-3, 1e30]}, trials=None)
    assert [row.state for row in found.trials] == ["complete", "failed"]
    assert found.trials[1].reason == "diverged: the weights are no finite numbers after epoch 1"


@pytest.mark.slow
def test_what_concerns_every_trial_ends_the_search_and_the_trial_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(config: TrainConfig, epoch: int) -> float:
        raise ConfigError("the disk is full while saving to t") from OSError(28, "No space left on device")

    fake(monkeypatch, full)
    with pytest.raises(ConfigError, match="the disk is full"):
        search(tmp_path / "t")
    training = fake(monkeypatch)
    assert [row.state for row in search(tmp_path / "t").trials] == ["complete"] * 3
    assert training.resumed == [True, False, False]


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    training = fake(monkeypatch, peak)
    search(tmp_path / "t", trials=1)
    with open_storage(f"sqlite:///{tmp_path / 't' / 'tune.db'}") as storage:
        study = optuna.load_study(study_name="tune", storage=storage)
        lost = study.ask({"lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)})  # as before a kill -9
    (tmp_path / "t" / "trials" / "1").mkdir()
    (tmp_path / "t" / "trials" / "1" / RUN_FILE).write_text("{}")
    found = search(tmp_path / "t", trials=2)
    assert "trial 1 was interrupted and goes on" in caplog.text
    assert training.resumed == [False, True] and training.runs[1].lr == lost.params["lr"]
    assert [(row.number, row.state) for row in found.trials] == [(0, "complete"), (1, "complete")]


@pytest.mark.slow
def test_a_trial_whose_process_dies_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch)
    search(tmp_path / "t", trials=1)
    with open_storage(f"sqlite:///{tmp_path / 't' / 'tune.db'}") as storage:
        study = optuna.load_study(study_name="tune", storage=storage)
        study.ask().set_user_attr("restarts", 3)
    found = search(tmp_path / "t", trials=2)
    assert (found.trials[1].state, found.trials[1].reason) == ("failed", "its process was killed 4 times")


@pytest.mark.slow
def test_damaged_files_of_an_interrupted_trial_start_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(config: TrainConfig, epoch: int) -> float:
        if training.resumed[-1]:
            raise ConfigError("metrics.csv is damaged (cut short), so the run cannot go on")
        return 0.5

    training = fake(monkeypatch, score)
    (tmp_path / "t" / "trials" / "0").mkdir(parents=True)
    (tmp_path / "t" / "study.json").write_text(
        json.dumps({"storage": f"sqlite:///{tmp_path / 't' / 'tune.db'}", "study": "tune"})
    )
    (tmp_path / "t" / "trials" / "0" / RUN_FILE).write_text("{}")
    assert search(tmp_path / "t", trials=1).trials[0].state == "complete"
    assert training.resumed == [True, False]


@pytest.mark.slow
def test_trials_that_lag_behind_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {1e-2: 0.9, 1e-3: 0.8, 1e-4: 0.7, 1e-5: 0.1}
    fake(monkeypatch, lambda config, epoch: rates[config.lr])
    config = quick_config(epochs=4)
    found = search(tmp_path / "t", config, grid={"lr": list(rates)}, trials=None, pruner="median")
    assert [row.state for row in found.trials] == ["complete"] * 3 + ["pruned"]
    assert found.trials[3].reason == "behind the other trials after epoch 1 of 4" and found.trials[3].value == 0.1
    whole = search(tmp_path / "u", config, grid={"lr": list(rates)}, trials=None)  # a sweep's rows are complete
    assert [row.state for row in whole.trials] == ["complete"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_starts_with_the_recipe_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    training = fake(monkeypatch, peak)
    space = (
        {"lr": [1e-3, 1e-4, 1e-2], "weight_decay": {"low": 0.0, "high": 0.1, "step": 0.1}}
        if sampler == "grid"
        else SPACE
    )
    found = search(tmp_path / "t", sampler=sampler, space=space, trials=5)
    assert len(found.trials) == 5 and training.runs[0].lr == 1e-3
    assert len({(config.lr, config.weight_decay) for config in training.runs}) == 5
    if sampler == "grid":
        assert len(search(tmp_path / "t", sampler=sampler, space=space, trials=50).trials) == 6


@pytest.mark.slow
def test_a_smaller_loss_is_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, peak)
    found = search(tmp_path / "t", grid={"lr": [1e-4, 1e-3]}, trials=None, objective="nll")
    assert found.best.settings == {"lr": 1e-4} and found.best.value == pytest.approx(0.1)


@pytest.mark.slow
def test_time_that_is_over_puts_the_trial_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(config: TrainConfig, epoch: int) -> float:
        time.sleep(seconds)
        return 0.5

    training, seconds = fake(monkeypatch, slow), 0.0
    search(tmp_path / "t", quick_config(epochs=2), trials=1)
    seconds = 2.0
    assert len(search(tmp_path / "t", quick_config(epochs=2), trials=5, timeout_s=1.9).trials) == 1
    seconds = 0.0
    found = search(tmp_path / "t", quick_config(epochs=2), trials=2)
    assert [row.state for row in found.trials] == ["complete"] * 2 and training.resumed == [False, False, True]
    assert training.runs[1] == training.runs[2]
    with pytest.raises(ConfigError, match="no trial has finished yet: give more --timeout-s"):
        search(tmp_path / "u", timeout_s=1e-9)


@pytest.mark.slow
def test_a_part_of_the_training_images_is_stratified_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    training = fake(monkeypatch)
    search(tmp_path / "t", trials=1, fraction=0.5)
    assert training.images == [14]
    assert "learns from the same 14 of 28 training images (fraction 0.5, stratified by label)" in caplog.text
    assert "50 % of the training images" in (tmp_path / "t" / "best.toml").read_text()


@pytest.mark.slow
def test_a_study_goes_on_with_the_same_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch)
    search(tmp_path / "t", trials=1)
    others: dict[str, dict[str, Any]] = {
        "data_hash": {"data": dataclasses.replace(faces(56), data_hash="other")},
        "image_size, lr": {"config": quick_config(epochs=1, lr=1e-4, image_size=48)},
        "augment.flip_prob": {"config": quick_config(epochs=1, augment={"flip_prob": 0.5})},
        "objective": {"objective": "nll"},
        "fraction": {"fraction": 0.5},
        "space": {"space": {"lr": [1e-4, 1e-3]}},
    }
    for named, other in others.items():
        with pytest.raises(ConfigError, match=f"was made with another {named}: give the same, or take another"):
            search(tmp_path / "t", **{"trials": 1, **other})
    assert len(search(tmp_path / "t", trials=1).trials) == 1


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("runs/tune.db", "did you mean sqlite:///runs/tune.db"),
        ("nonsense://x", "cannot open the database|takes a database URL"),
        ("sqlite:///", "needs the path of a file"),
        ("sqlite:///{file}/x.db", "cannot write"),
        ("sqlite:///{file}", "cannot open the database .*not a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path, storage: str, message: str) -> None:
    (tmp_path / "file").write_text("text, " * 1000)
    with pytest.raises(ConfigError, match=message) as raised:
        search(tmp_path / "t", storage=storage.format(file=tmp_path / "file"))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_a_folder_with_something_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"holds no study of fervit \(notes.txt\)"):
        search(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        search(tmp_path / "notes.txt")
    search(tmp_path / "t", trials=1)
    with pytest.raises(ConfigError, match="holds the trials of another study"):
        search(tmp_path / "t", trials=1, study="other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"objective": "f1"}, "unknown objective 'f1'"),
        ({"pruner": "hyper"}, "unknown pruner"),
        ({"trials": 0}, "trials must be a whole number from 1"),
        ({"workers": 0}, "workers must be a whole number from 1"),
        ({"fraction": 0.0}, "fraction must be above 0"),
        ({"timeout_s": 0}, "timeout_s must be a number of seconds above 0"),
        ({"grid": ["lr=1e-3"], "space": SPACE}, "leave --space away"),
        ({"sampler": "grid"}, "a grid needs the values of lr"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tune(quick_config(), faces(), tmp_path / "t", recipe="quick", **{"space": SPACE, **options})


def test_data_and_weights_that_no_trial_could_use_are_found_first(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(DataError, match="votes_weight needs FER"):
        fervit.tune(quick_config(votes_weight=0.5), faces(), tmp_path / "t", init=weights)
    with pytest.raises(ModelError, match="no weights at"):
        fervit.tune(quick_config(), faces(), tmp_path / "t", init=tmp_path / "none.safetensors")
    with pytest.raises(ConfigError, match="settings are for a recipe by name"):
        fervit.tune(quick_config(), faces(), tmp_path / "t", settings=["lr=1"])
    assert not (tmp_path / "t").exists()
