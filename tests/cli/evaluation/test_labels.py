"""Labels of data and model where models are measured and data inspected: matched, mapped, dropped."""

import json
from pathlib import Path

import pytest
from typer.testing import Result

from fervit.errors import DataError
from fervit.labels import FER7
from tests.helpers.commands import error_of, run
from tests.helpers.data_files import write_class_folders


@pytest.fixture
def eight(tmp_path: Path) -> Path:
    """Class folders of FER2013's seven expressions and of contempt."""
    return write_class_folders(tmp_path / "eight", *FER7, "contempt", splits=("val",), count=3)


def measure(command: str, model: Path, data: Path, *options: str) -> Result:
    """Run a command that measures models; compare takes the model twice, robustness is kept short."""
    models = [model, model] if command == "compare" else [model]
    short = ["--only", "noise", "--faces", "8"] if command == "robustness" else []
    return run(command, *models, "--data", data, "--json", "-", *short, *options)


@pytest.mark.parametrize("command", ["evaluate", "compare", "robustness"])
def test_seven_labels_on_a_set_of_eight_name_the_way_out_and_it_works(
    command: str, tiny_onnx: Path, eight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    message = error_of(measure(command, tiny_onnx, eight, "--strict-labels"))
    assert "the model cannot predict contempt" in message and "\n" not in message
    assert "--drop-labels contempt leaves its images out, --label-map contempt=NAME" in message
    dropped = measure(command, tiny_onnx, eight, "--drop-labels", "contempt")
    assert dropped.exit_code == 0, dropped.output
    assert json.loads(dropped.stdout)
    assert "--drop-labels contempt leaves out 3 of 24 images (public_test 3)" in caplog.text
    assert measure(command, tiny_onnx, eight, "--label-map", "contempt=disgust").exit_code == 0


@pytest.mark.parametrize("command", ["evaluate", "compare", "robustness"])
def test_faces_of_a_label_that_the_model_lacks_are_left_out_and_counted(
    command: str, tiny_onnx: Path, eight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = json.loads(measure(command, tiny_onnx, eight).stdout)
    assert found["n_split" if command == "robustness" else "n"] == 21
    assert command == "robustness" or found["left_out_labels"] == {"contempt": 3}
    assert "left out: contempt (3) of 24; --strict-labels refuses them" in caplog.text
    assert "contempt (3)" in measure(command, tiny_onnx, eight, "--json", str(eight.parent / "f.json")).stdout or (
        command == "robustness"
    )


@pytest.mark.parametrize("label", ["{}", "LABEL_{}"])
def test_numbered_folders_name_the_way_out_and_it_works(tiny_onnx: Path, tmp_path: Path, label: str) -> None:
    data = write_class_folders(tmp_path / "d", *[label.format(k) for k in range(7)], splits=("val",), count=2)
    message = error_of(measure("evaluate", tiny_onnx, data))
    assert "the model cannot predict" in message and "name the data's numbers with --label-map fer7" in message
    named = measure("evaluate", tiny_onnx, data, "--label-map", "fer7")
    assert json.loads(named.stdout)["labels"] == list(FER7)


def test_other_spellings_are_matched_aloud(tiny_onnx: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = ("Anger", "disgust", "fear", "Happiness", "sadness", "surprise", "neutral")
    data = write_class_folders(tmp_path / "d", *own, splits=("val",), count=2)
    figures = json.loads(measure("evaluate", tiny_onnx, data).stdout)
    assert figures["labels"] == list(own)
    assert "matched by their meaning: Anger = angry, Happiness = happy, sadness = sad" in caplog.text


@pytest.mark.slow
def test_three_expressions_are_measured_against_all_that_the_model_predicts(tiny_onnx: Path, tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "d", "angry", "joy", "sad", splits=("val",), count=4)
    report = tmp_path / "report"
    figures = json.loads(measure("evaluate", tiny_onnx, data, "--report", str(report), "--precision", "0.5").stdout)
    assert figures["labels"] == ["angry", "disgust", "fear", "joy", "sad", "surprise", "neutral"]
    assert figures["n"] == 12 and (report / "report.html").is_file()


def test_one_expression_is_a_recall_and_one_label_of_one_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "d", "happy", splits=("val",), count=4)
    assert json.loads(measure("evaluate", tiny_onnx, data).stdout)["labels"] == list(FER7)
    odd = write_class_folders(tmp_path / "e", "faces", splits=("val",), count=4)
    assert "is read as images with the label(s) faces" in error_of(measure("evaluate", tiny_onnx, odd))


def test_inspect_takes_the_same_options(eight: Path, tmp_path: Path) -> None:
    out = tmp_path / "inspect"
    options = ["--no-near", "--out", out, "--drop-labels", "contempt,neutral", "--label-map", "angry=anger"]
    result = run("data", "inspect", eight, *options, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["labels"] == ["anger", *FER7[1:6]]
    assert any("--drop-labels contempt leaves out 3 of 24" in note for note in report["notes"])
    assert isinstance(run("data", "inspect", eight, "--drop-labels", "contemt").exception, DataError)
