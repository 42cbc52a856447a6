"""`fervit train` and `fervit recipes`; whole runs of the command line are in `tests/cli/test_main.py`."""

from pathlib import Path

from typer.testing import CliRunner

from fervit.cli import app
from fervit.config.training import recipe_names
from tests.helpers.weights import save_timm


def test_recipes_are_listed_with_what_is_known_of_them() -> None:
    done = CliRunner().invoke(app, ["recipes"], catch_exceptions=False)
    assert done.exit_code == 0
    headings = [line.split(":")[0] for line in done.output.splitlines() if not line.startswith(" ")]
    assert headings == recipe_names()
    assert done.output.count("\n    Command: ") == len(recipe_names())


def test_train_says_how_good_the_model_is_and_where_it_is(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    settings = [word for s in ("image_size=32", "epochs=1") for word in ("--set", s)]
    out = ["--out", str(tmp_path / "run"), "--init", str(tmp_path / "w.safetensors")]
    done = CliRunner().invoke(app, ["train", "--data", "synthetic:70", *out, *settings], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "best epoch 1: public_test accuracy" in done.output and "(n = 14)" in done.output
    assert f"model folder: {tmp_path / 'run'}" in done.output
