"""`fervit augment`."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fervit.cli import app
from fervit.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["augment", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_default_is_colour_faces_and_the_same_seed_draws_the_same() -> None:
    options = ("--recipe", "tiny", "--columns", 3, "--size", 32, "--set", "augment.grey_prob=0.2")
    assert run(*options, "--out", "a.png") == "a.png: 3 faces, augmented by tiny\n"
    run(*options, "--out", "b.png")
    run(*options, "--out", "c.png", "--seed", 1)
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    with Image.open("a.png") as sheet:
        assert sheet.height % 42 == 0 and sheet.height > 5 * 42  # rows are at least as high as their text


def test_own_faces_are_drawn_from_the_train_split() -> None:
    run("--data", "synthetic:14", "--columns", 4, "--size", 48, "--out", "own.jpg")
    with Image.open("own.jpg") as sheet:
        assert sheet.width > 4 * 50 and sheet.format == "JPEG"


def test_what_cannot_be_drawn_or_written_is_said() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'augment\.jpeg_prob'"):
        run("--out", "a.png", "--set", "augment.jpeg_pro=1")
    with pytest.raises(DataError, match=r"cannot write a.none"):
        run("--out", "a.none", "--columns", 1, "--size", 16)
    with pytest.raises(DataError, match="cannot write nowhere"):
        run("--out", "nowhere/a.png", "--columns", 1, "--size", 16)
