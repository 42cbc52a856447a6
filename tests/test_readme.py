"""The README's commands run as they stand there."""

import contextlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fervit.cli import demo, main
from fervit.media.video_writer import VideoWriter
from tests.helpers import ROOT

Run = Callable[[str], str]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a photo.jpg and a clip.mp4 in it, as the README's reader has."""
    data = pytest.importorskip("skimage.data", reason="the photo comes with scikit-image")
    photo = data.astronaut()
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    with VideoWriter(tmp_path / "clip.mp4", rate=10) as clip:
        for index in range(10):
            clip.write(photo, index / 10)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a README command in the reader's folder, in this process: importing torch anew takes ten seconds."""
    monkeypatch.chdir(folder)

    def call(command: str) -> str:
        words = shlex.split(command)
        assert words[0] == "fervit"
        monkeypatch.setattr(sys, "argv", words)
        with contextlib.suppress(SystemExit):
            main()
        shown = capsys.readouterr()
        assert "fervit: " not in shown.err and "Traceback" not in shown.err, f"{command}\n{shown.err}"
        return shown.out

    return call


def test_the_first_block_is_the_two_commands_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = [line.split("#")[0].strip() for line in blocks("bash")[0].splitlines()]
    assert commands == ["make demo", "make test"]
    assert re.search(r"^demo: ", makefile, re.MULTILINE) and re.search(r"^test: ", makefile, re.MULTILINE)


@pytest.mark.slow
def test_the_python_example_runs_without_a_warning(folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", blocks("python")[0]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.startswith("happy")


@pytest.mark.slow
def test_the_first_command_finds_the_expression(run: Run) -> None:
    assert "happy" in run(blocks("bash")[1].splitlines()[0])


@pytest.mark.slow
def test_the_demo_runs_and_leaves_its_images(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DATA", "synthetic:140")  # all of its steps, on fewer faces
    monkeypatch.setattr(demo, "EPOCHS", 1)
    output = run("fervit demo --out demo")
    named = re.findall(r"^  (demo\S+)$", output, re.MULTILINE)
    assert len(named) == 3
    assert all((folder / name).stat().st_size > 1000 for name in named)
    assert "happy" in output


def test_images_and_links_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
