"""`fervit robustness`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.errors import ConfigError
from fervit.evaluation.robustness.corruptions import CORRUPTIONS, JITTERS
from fervit.evaluation.robustness.results import read_robustness


@pytest.mark.slow
def test_the_command_writes_json_and_curves(tiny_onnx: Path, tmp_path: Path) -> None:
    arguments = ["robustness", str(tiny_onnx), "--data", "synthetic:70", "--split", "private_test", "--faces", "5"]
    done = CliRunner().invoke(
        app, [*arguments, "--json", str(tmp_path / "r.json"), "--curves", str(tmp_path / "r.png")]
    )
    assert done.exit_code == 0, done.output
    for name in (*CORRUPTIONS, *JITTERS):
        assert name in done.output
    assert "left out, the images stay as they are: grayscale" in done.output
    found = read_robustness(tmp_path / "r.json")
    assert len(found.conditions) == 14 * 5 and len(found.jitters) == 15
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"


def test_the_command_measures_subsets_without_corruption(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("row,usage\n0,Training\n1,Training\n2,Training\n")
    arguments = ["robustness", str(tiny_onnx), "--data", "synthetic:70", "--split", "train", "--only", "none"]
    done = CliRunner().invoke(app, [*arguments, "--subset", f"three={tmp_path / 's.csv'}", "--json", "-"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert report["conditions"] == [] and report["subsets"][0]["inside"]["n"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "jpgg"], "did you mean 'jpeg'"),
        (["--subset", "occlusion"], "NAME=FILE.csv"),
        (["--subset", "a=none.csv"], "no file none.csv"),
        (["--json", "none/r.json"], "no folder"),
        (["--curves", "none/r.png"], "no folder"),
        (["--curves", "r.txt"], "ends in .png"),
        (["--only", "noise", "--only", "none"], "--only none measures no corruption"),
    ],
)
def test_mistakes_are_found_before_anything_runs(tiny_onnx: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["robustness", str(tiny_onnx), "--data", "synthetic:70", *arguments])
    assert isinstance(done.exception, ConfigError) and message in str(done.exception)
