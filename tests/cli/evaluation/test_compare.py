"""`fervit compare`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.errors import DataError


@pytest.mark.slow
def test_the_command_prints_the_verdict_and_writes_json(tiny_onnx: Path, tmp_path: Path) -> None:
    arguments = ["compare", str(tiny_onnx), str(tiny_onnx), "--data", "synthetic:70", "--split", "train"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "c.json")])
    assert done.exit_code == 0, done.output
    assert "not distinguishable" in done.output
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["mcnemar"]["p"] == 1 and written["n"] == 49
    only = CliRunner().invoke(app, [*arguments, "--json", "-"])
    assert json.loads(only.output) == written


def test_the_command_refuses_an_unknown_split(tiny_onnx: Path) -> None:
    done = CliRunner().invoke(
        app, ["compare", str(tiny_onnx), str(tiny_onnx), "--data", "synthetic:70", "--split", "x"]
    )
    assert isinstance(done.exception, DataError)
