"""`fervit evaluate`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fervit.cli import app
from fervit.errors import ConfigError, DataError, FervitError

Run = Callable[..., Result]
KEYS = {
    *("n", "accuracy", "accuracy_ci95", "accuracy_leak_free", "macro_f1", "weighted_precision", "weighted_recall"),
    *("weighted_f1", "balanced_accuracy", "ece", "per_class", "confusion", "split", "model", "seconds"),
    *("nll", "brier", "n_leak_free", "accuracy_leak_free_ci95", "tta", "data_hash", "dataset"),
}


@pytest.fixture
def run(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `fervit evaluate` on a small model and 140 drawn faces; return its result."""
    monkeypatch.setattr("sys.argv", ["fervit", "evaluate", "--data", "synthetic:140"])

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["evaluate", str(tiny_onnx), "--data", "synthetic:140", *arguments])

    return call


@pytest.mark.slow
def test_the_command_prints_tables_in_reading_order(run: Run) -> None:
    result = run("--threads", "1")
    assert result.exit_code == 0, result.output
    names = ["expression", "macro-F1", "balanced accuracy", "accuracy, all 21", "leak-free", "ECE"]
    places = [result.stdout.index(name) for name in names]
    assert places == sorted(places)
    assert "67.22 %" in result.stdout and "do not compare" in result.stdout


@pytest.mark.slow
def test_json_to_stdout_is_one_object_and_nothing_else(run: Run, tmp_path: Path) -> None:
    result = run("--json", "-", "--tta", "flip", "--report", str(tmp_path / "deep" / "report"))
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert set(figures) >= KEYS and figures["tta"] == "flip" and figures["model"] == "tiny"
    assert (tmp_path / "deep" / "report" / "report.html").is_file()


@pytest.mark.slow
def test_json_to_a_file_leaves_the_tables_on_stdout(run: Run, tmp_path: Path) -> None:
    result = run("--json", str(tmp_path / "figures.json"), "--split", "private_test")
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["split"] == "private_test" and "macro-F1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "unknown split 'test'"),
        (["--tta", "flips"], "did you mean 'flip'"),
        (["--json", "."], "is a folder"),
        (["--json", "nowhere/figures.json"], "no folder nowhere"),
        (["--report", "taken"], "there is a file of that name"),
        (["--no-faces"], "add --report DIR"),
    ],
)
def test_mistakes_are_told_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setattr("fervit.data.load", lambda *_, **__: pytest.fail("it read the data first"))
    result = run(*arguments)
    assert isinstance(result.exception, FervitError)
    assert message in str(result.exception)
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.slow
def test_the_command_measures_groups_thresholds_and_shows_robustness(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("row,age\n" + "".join(f"{row},{row % 2}\n" for row in range(70)))
    common = [str(tiny_onnx), "--data", "synthetic:70", "--split", "train"]
    robust = tmp_path / "r.json"
    done = CliRunner().invoke(app, ["robustness", *common, "--only", "jpeg", "--faces", "7", "--json", str(robust)])
    assert done.exit_code == 0, done.output
    options = ["--groups", str(tmp_path / "g.csv"), "--precision", "0.01", "--robustness", str(robust), "--no-faces"]
    done = CliRunner().invoke(
        app, ["evaluate", *common, *options, "--report", str(tmp_path / "out"), "--json", str(tmp_path / "e.json")]
    )
    assert done.exit_code == 0, done.output
    assert "by age" in done.output and "no gap is claimed" in done.output and "1 %" in done.output
    written = json.loads((tmp_path / "e.json").read_text())
    assert written["thresholds"][0]["wanted"] == 0.01 and written["groups"][0]["column"] == "age"
    assert not (tmp_path / "out" / "faces").exists() and (tmp_path / "out" / "robustness.png").is_file()


def test_groups_that_miss_faces_stop_before_the_model_is_opened(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("row,age\n0,a\n")
    arguments = [
        "evaluate",
        "none.onnx",
        "--data",
        "synthetic:70",
        "--split",
        "train",
        "--groups",
        str(tmp_path / "g.csv"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, DataError) and "misses 48 of 49" in str(done.exception)
    done = CliRunner().invoke(app, [*arguments[:-2], "--group-by", "age"])
    assert isinstance(done.exception, ConfigError) and "need --groups" in str(done.exception)


def test_a_recorded_command_tells_no_path_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from fervit.cli._shared import command_line

    arguments = ["evaluate", "runs/a", "--data", "/home/me/data/fer 2013.csv", "--report=../out", "--split", "train"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/fervit", *arguments])
    assert command_line() == "fervit evaluate runs/a --data 'fer 2013.csv' --report=out --split train"
