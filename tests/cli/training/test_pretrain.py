"""`fervit pretrain`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.errors import FervitError
from tests.helpers.pretraining import QUICK_PRETRAINING
from tests.helpers.weights import save_timm


@pytest.mark.slow
def test_the_command_pretrains_and_says_where(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_timm(weights)
    settings = [part for key, value in QUICK_PRETRAINING.items() for part in ("--set", f"{key}={value}")]
    data = ["--data", "synthetic:70", "--data", "synthetic:80:1"]
    done = CliRunner().invoke(
        app, ["pretrain", *data, "--init", str(weights), "--out", str(tmp_path / "run"), *settings]
    )
    assert done.exit_code == 0, done.output
    assert f"backbone folder: {tmp_path / 'run'}" in done.output
    assert [s["name"] for s in json.loads((tmp_path / "run" / "run.json").read_text())["data"]["sources"]] == [
        "synthetic:70",
        "synthetic:80:1",
    ]


def test_the_command_refuses_a_wrong_key_before_anything_is_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["pretrain", "--data", "none.csv", "--init", "none", "--out", str(tmp_path / "r"), "--set", "mask=1"]
    )
    assert isinstance(done.exception, FervitError)
    assert "unknown key 'mask'" in str(done.exception)
