"""The README's commands run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fervit.video import VideoWriter

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    """A folder with a photo.jpg and a clip.mp4 in it, as the README's reader has."""
    data = pytest.importorskip("skimage.data", reason="the photo comes with scikit-image")
    photo = data.astronaut()
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    with VideoWriter(tmp_path / "clip.mp4", rate=10) as clip:
        for index in range(10):
            clip.write(photo, index / 10)
    return tmp_path


def run(command, folder):
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_first_block_is_the_two_commands_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    commands = [line.split("#")[0].strip() for line in blocks("bash")[0].splitlines()]
    assert commands == ["make demo", "make test"]
    assert re.search(r"^demo: ", makefile, re.MULTILINE) and re.search(r"^test: ", makefile, re.MULTILINE)


@pytest.mark.slow
def test_the_five_commands_run_in_order(folder):
    commands = blocks("bash")[1].splitlines()
    assert len(commands) == 5
    outputs = [run(shlex.split(command), folder) for command in commands]
    assert "happy" in outputs[0]
    made = ["inspect", "report/report.html", "first.onnx"]
    assert all((folder / "out" / name).exists() for name in made)
    assert any(path.suffix in {".png", ".jpg"} for path in (folder / "out").iterdir())


@pytest.mark.slow
def test_the_further_commands_run(folder):
    first = [shlex.split(command) for command in blocks("bash")[1].splitlines()]
    for command in first:
        if command[1] in ("train", "export"):  # what `compare` compares
            (folder / "out").mkdir(exist_ok=True)
            run(command, folder)
    for command in blocks("bash")[2].splitlines():
        run(shlex.split(command), folder)
    assert all((folder / name).stat().st_size > 0 for name in ("out.mp4", "rows.csv", "timeline.png", "curves.png"))
    assert any((folder / "explained").iterdir())


def test_the_python_example_runs(folder):
    assert run([sys.executable, "-W", "error", "-c", blocks("python")[0]], folder).startswith("happy")


@pytest.mark.slow
def test_the_demo_runs_and_leaves_its_pictures(tmp_path):
    output = run(["fervit", "demo", "--out", "demo"], tmp_path)
    named = re.findall(r"^  (demo\S+)$", output, re.MULTILINE)
    assert len(named) == 3
    assert all((tmp_path / name).stat().st_size > 1000 for name in named)
    assert "happy" in output


def test_pictures_and_links_of_the_readme_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
