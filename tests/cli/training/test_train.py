"""`fervit train` and `fervit recipes`; whole runs of the command line are in `tests/cli/test_main.py`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fervit.cli import app
from fervit.config.training import recipe_names
from tests.helpers.commands import error_of, run
from tests.helpers.data_files import write_class_folders
from tests.helpers.weights import save_timm


def test_recipes_are_listed_with_what_is_known_of_them() -> None:
    done = CliRunner().invoke(app, ["recipes"], catch_exceptions=False)
    assert done.exit_code == 0
    headings = [line.split(":")[0] for line in done.output.splitlines() if not line.startswith(" ")]
    assert headings == recipe_names()
    assert done.output.count("\n    Command: ") == len(recipe_names())


@pytest.mark.slow
def test_train_says_how_good_the_model_is_and_where_it_is(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    settings = [word for s in ("image_size=32", "epochs=1") for word in ("--set", s)]
    out = ["--out", str(tmp_path / "run"), "--init", str(tmp_path / "w.safetensors")]
    done = CliRunner().invoke(app, ["train", "--data", "synthetic:70", *out, *settings], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "best epoch 1: public_test accuracy" in done.output and "(n = 14)" in done.output
    assert f"model folder: {tmp_path / 'run'}" in done.output


@pytest.mark.slow
def test_data_sets_are_mixed_and_each_has_its_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_timm(tmp_path / "w.safetensors")
    settings = [word for s in ("image_size=32", "epochs=1", "drop_leaks=false") for word in ("--set", s)]
    out = ["--out", tmp_path / "run", "--init", tmp_path / "w.safetensors"]
    done = run("train", "--data", "synthetic:70", "--data", "synthetic:35:1@2", *out, *settings)
    assert done.exit_code == 0, done.output
    assert "data set" in done.output and "macro-F1" in done.output
    sources = json.loads((tmp_path / "run" / "run.json").read_text())["public_test"]["sources"]
    assert len(sources) == 2 and all(f"{source['name']} " in done.output for source in sources)
    assert "weight 2" in caplog.text
    refused = run("train", "--data", "synthetic:70", "--data", "synthetic:35@none", *out, "--overwrite")
    assert "expected a weight above 0 after @" in error_of(refused)


def train(data: Path, tmp_path: Path, *options: str) -> Result:
    """Train for an epoch on a folder; return the result."""
    save_timm(tmp_path / "w.safetensors")
    settings = [word for s in ("image_size=32", "epochs=1", "batch_size=8") for word in ("--set", s)]
    out = ["--out", tmp_path / "run", "--init", tmp_path / "w.safetensors", "--overwrite"]
    return run("train", "--data", data, *out, *settings, *options)


def labels_of(folder: Path) -> list[str]:
    """Return a model folder's labels in its own order."""
    names = json.loads((folder / "config.json").read_text())["id2label"]
    return [names[str(k)] for k in range(len(names))]


@pytest.mark.slow
def test_a_model_has_the_user_s_own_labels_and_no_more(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "data", "Joy", "anger", "sad")
    assert train(data, tmp_path).exit_code == 0
    assert labels_of(tmp_path / "run") == ["anger", "Joy", "sad"]


@pytest.mark.slow
def test_labels_are_mapped_and_dropped_and_this_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_class_folders(tmp_path / "data", "1", "2", "3", "contempt")
    (tmp_path / "map.toml").write_text('1 = "angry"\n2 = "happy"\n')
    options = ["--label-map", str(tmp_path / "map.toml"), "--label-map", "3=sad", "--drop-labels", "contempt"]
    result = train(data, tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert labels_of(tmp_path / "run") == ["angry", "happy", "sad"]
    assert "--drop-labels contempt leaves out 16 of 64 images (train 8, public_test 8)" in caplog.text
    assert "1 = angry, 2 = happy, 3 = sad" in caplog.text


@pytest.mark.slow
def test_numbers_and_typos_are_said_while_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert train(write_class_folders(tmp_path / "typo", "suprise", "happy"), tmp_path).exit_code == 0
    assert "add --label-map suprise=surprise" in caplog.text
    assert train(write_class_folders(tmp_path / "numbers", "0", "1"), tmp_path).exit_code == 0
    assert "the labels 0, 1 are numbers and stay as they are" in caplog.text


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        (("happy",), ("train", "val"), "has one label, happy, and nothing can be learned"),
        (("images",), ("train", "val"), "is read as images with the label(s) images (4 images)"),
        (("train", "test"), ("faces",), "faces (4 images), but faces would be no expression"),
        (("x",), ("DATASET",), "one label cannot be learned"),
    ],
)
def test_a_layout_that_is_not_understood_is_no_model_of_100_per_cent(
    tmp_path: Path, labels: tuple[str, ...], splits: tuple[str, ...], message: str
) -> None:
    data = write_class_folders(tmp_path / "data", *labels, splits=splits, count=2)
    assert message in error_of(train(data, tmp_path))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_wrapped_folders_without_a_validation_part_are_trained_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_class_folders(tmp_path / "archive" / "DATASET", "happy", "sad", splits=("train", "test"), count=30)
    assert train(tmp_path / "archive", tmp_path).exit_code == 0
    assert labels_of(tmp_path / "run") == ["happy", "sad"]
    assert "the class folders are looked for in DATASET" in caplog.text
    assert "there is no validation part, so" in caplog.text
