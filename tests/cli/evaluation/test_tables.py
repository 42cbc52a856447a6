"""Several models and data sets in one command: tables, figures, JSON."""

import json
from pathlib import Path

import pytest

from fervit.errors import ConfigError, DataError
from fervit.types import ModelSpec
from tests.helpers import write_onnx
from tests.helpers.commands import error_of, run
from tests.helpers.data_files import write_class_folders

SETS = ("--data", "synthetic:70", "--data", "synthetic:140")


@pytest.fixture
def other(tmp_path: Path, tiny_spec: ModelSpec) -> Path:
    """A second model with the same name as `tiny_onnx`."""
    path = tmp_path / "other.onnx"
    write_onnx(path, {"fervit": tiny_spec.to_json()})
    return path


@pytest.mark.slow
def test_evaluate_prints_and_writes_a_line_for_each_model_and_data_set(
    tiny_onnx: Path, other: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"t.{ending}" for ending in ("md", "tex", "csv", "json")]
    figures = [tmp_path / "f.svg", tmp_path / "c.pdf"]
    done = run(
        *("evaluate", tiny_onnx, other, *SETS, "--split", "train", "--json", files[3]),
        *(argument for file in files[:3] for argument in ("--table", file)),
        *("--figure", figures[0], "--figure", f"confusion={figures[1]}"),
    )
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if "synthetic:" in line]
    assert len(lines) == 4 and str(other) in lines[1] and "synthetic:140, train" in lines[2]
    written = json.loads(files[3].read_text())
    assert [(report["dataset"], report["n"]) for report in written["reports"]] == [
        *[("synthetic:70", 49)] * 2,
        *[("synthetic:140", 98)] * 2,
    ]
    assert files[0].read_text().count("\n| ") == 5 and files[1].read_text().count(r"\\") == 5
    assert files[2].read_text().count("\n") == 5
    assert figures[0].read_text().count("<svg") == 1 and figures[1].read_bytes().startswith(b"%PDF")


def test_rules_about_labels_that_one_set_lacks_are_passed_over_there(
    tiny_onnx: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_class_folders(tmp_path / "d", "happy", "sad", "froh", splits=("val",), count=4)
    sets = ["--data", other, "--data", "synthetic:70"]
    done = run("evaluate", tiny_onnx, *sets, "--drop-labels", "froh", "--split", "public_test", "--json", "-")
    assert json.loads(done.stdout)["reports"][0]["n"] == 8
    assert "synthetic:70: --drop-labels froh is about none of its labels and is passed over" in caplog.text


def test_json_to_stdout_is_alone_there(tiny_onnx: Path) -> None:
    done = run("evaluate", tiny_onnx, *SETS, "--split", "all", "--json", "-")
    assert [report["n"] for report in json.loads(done.stdout)["reports"]] == [70, 140]


def test_one_model_on_one_data_set_prints_what_it_did_and_can_be_a_table(tiny_onnx: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.md"
    done = run("evaluate", tiny_onnx, "--data", "synthetic:70", "--table", table, "--figure", tmp_path / "f1.png")
    assert done.exit_code == 0 and done.stdout.startswith("tiny on synthetic:70, public_test, ")
    assert table.read_text().count("\n| ") == 2 and (tmp_path / "f1.png").is_file()


@pytest.mark.slow
def test_a_set_without_splits_of_its_own_is_measured_whole(
    tiny_onnx: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named = write_class_folders(tmp_path / "named", "happy", "sad", splits=("train",), count=20)
    flat = named / "train"
    done = run("evaluate", tiny_onnx, "--data", flat, "--json", "-")
    assert json.loads(done.stdout)["n"] == 40 and "all 40 images are measured" in caplog.text
    assert json.loads(done.stdout)["split"] == "all"
    tenth = run("evaluate", tiny_onnx, "--data", flat, "--split", "public_test", "--json", "-")
    assert 0 < json.loads(tenth.stdout)["n"] < 20
    assert isinstance(run("evaluate", tiny_onnx, "--data", flat, "--split", "every").exception, DataError)


@pytest.mark.slow
def test_compare_takes_more_models_and_data_sets(tiny_onnx: Path, other: Path, tmp_path: Path) -> None:
    table, found = tmp_path / "t.csv", tmp_path / "c.json"
    options = ["--split", "train", "--table", table, "--json", found]
    done = run("compare", tiny_onnx, other, "tiny", *SETS, *options)
    assert done.exit_code == 0, done.output
    assert "p (Holm)" in done.stdout and "corrected for the 6 comparisons" in done.stdout
    written = json.loads(found.read_text())["comparisons"]
    assert len(written) == 6 and written[0]["p_holm"] == 1 and written[0]["better"] is None
    assert table.read_text().count("\n") == 7
    few = run("compare", tiny_onnx, other, "tiny", *SETS, "--split", "train", "--baseline", "--json", "-")
    assert {row["a"] for row in json.loads(few.stdout)["comparisons"]} == {str(tiny_onnx)}
    assert "two or more models" in error_of(run("compare", tiny_onnx, *SETS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report", "out"], "--report is about one model on one data set, got 1 and 2"),
        (["--votes", "v.csv"], "--votes is about one model on one data set"),
        (["--table", "t.txt"], "--table takes a name that ends in .md, .tex, .csv, got t.txt"),
        (["--table", "none/t.md"], "no folder none"),
        (["--figure", "t.jpg"], "ends in .png, .svg or .pdf, got t.jpg"),
        (["--figure", "roc=t.png"], "unknown kind 'roc'"),
        (["--figure-width", "3"], "add --figure FILE"),
    ],
)
def test_mistakes_are_told_before_any_work(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fervit.data.load", lambda *_, **__: pytest.fail("it read the data first"))
    done = run("evaluate", tiny_onnx, *SETS, *arguments)
    assert isinstance(done.exception, ConfigError) and message in str(done.exception)
