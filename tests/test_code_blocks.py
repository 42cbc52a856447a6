"""Every block of code of README and of the pages runs, or says why not and is held to what the program knows.

`tests/helpers/pages.py` says how a block is marked.
"""

import contextlib
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.cli import main
from fervit.inference import model_files
from fervit.training import finetune
from scripts.made_study import write_rows
from tests.helpers import ROOT
from tests.helpers.pages import PAGES, SHELL, Block, blocks_of, check_python, check_words, commands_of
from tests.helpers.videos import write_video
from tests.helpers.weights import save_timm

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the pages are in the repository only")
BRIEF = ("--set", "epochs=1", "--set", "image_size=32", "--set", "batch_size=32", "--threads", "1")
SHORTER = {"train": BRIEF, "distill": BRIEF, "robustness": ("--faces", "7")}
"""What is appended to commands that would take minutes: the same steps, on less."""
EXPECTED = {
    "README.md": (
        *("out/photo.*", "out/inspect", "out/report/report.html", "out/first.onnx", "out.mp4", "rows.csv"),
        *("timeline.png", "curves.png", "explained/*"),
    ),
    "study.md": ("test.png",),
}
"""What the commands of a page leave behind."""
PRINTED = {
    "study.md": ("recordings/A/p01.mp4", r"B - A: \+\d+\.\d points \(95 % \+?-?\d+\.\d to \+\d+\.\d\), p = 0\.\d{4}"),
}
"""What the examples of a page print, as patterns."""
ALONE = {"video.md"}
"""Pages whose examples in Python stand for themselves; each prints an expression or writes a copy."""
READ = {*SHELL, "python", "toml", "json"}
"""Languages of blocks that are run, or held to what the program knows."""
RUN = [page for page in PAGES if any(not block.reason for block in blocks_of(page))]
Run = Callable[[Block], str]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_not_run_is_known_to_the_program(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in READ or block.reason, f"{block.place}: nothing reads {block.language}"
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            check_python(block)
        for words in commands_of(block):
            check_words(words)


def test_the_checks_find_options_commands_and_names_that_do_not_exist() -> None:
    for command in (["fervit", "predict", "a.jpg", "--no-such"], ["fervit", "no-such"], ["make", "no-such"]):
        with pytest.raises(AssertionError, match="no-such"):
            check_words(command)
    with pytest.raises(AssertionError, match="no_such"):
        check_python(Block(ROOT / "README.md", 1, "python", "fervit.no_such()", ""))


@pytest.fixture
def folder(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """The reader's folder: photos, a clip, recordings, rows of a study."""
    pytest.importorskip("pandas")
    photo = np.ascontiguousarray(astronaut)
    for file in ("photo.jpg", "a.jpg", "b.jpg"):
        Image.fromarray(photo).save(tmp_path / file)
    clip = write_video(tmp_path / "clip.mp4", [(photo[::2, ::2], k / 20) for k in range(8)])
    for film in "AB":
        (tmp_path / "recordings" / film).mkdir(parents=True)
        shutil.copy(clip, tmp_path / "recordings" / film / "p01.mp4")
    (tmp_path / "people.csv").write_text("source,track,person\np01.mp4,1,Ann\n")
    return tmp_path


@pytest.fixture
def small_weights(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training starts from a small ViT where the pages say `shipped`: the same steps in a tenth of the time."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_timm(path, depth=7)  # the recipe `own` freezes six
    found = model_files.starting_weights

    def small(init: str | Path) -> str | Path:
        return path if str(init) == model_files.SHIPPED else found(init)

    monkeypatch.setattr(model_files, "starting_weights", small)
    monkeypatch.setattr(finetune, "starting_weights", small)


@pytest.fixture
def run(folder: Path, small_weights: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a page's blocks one after another in the reader's folder, in this process, and returns what they print.

    Python keeps its names from block to block, but on pages whose examples stand alone.
    """
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "page"}

    def call(block: Block) -> str:
        printed = ""
        if block.language == "python":
            if block.page.name in ALONE:
                names.clear()
                names["__name__"] = "page"
                Path("copy.mp4").unlink(missing_ok=True)
            exec(compile(block.text, block.place, "exec"), names)
            printed = capsys.readouterr().out
            if block.page.name in ALONE:
                assert "happy" in printed or Path("copy.mp4").exists(), f"{block.place}: {printed}"
        for words in commands_of(block):
            assert words[0] == "fervit", f"{block.place}: mark it as not run: {words[0]}"
            if words[1] == "predict" and "--csv" in words:  # each example stands for itself
                Path(words[words.index("--csv") + 1]).unlink(missing_ok=True)
            monkeypatch.setattr(sys, "argv", [*words, *SHORTER.get(words[1], ())])
            with contextlib.suppress(SystemExit):
                main()
            shown = capsys.readouterr()
            assert "fervit: " not in shown.err and "Traceback" not in shown.err, f"{block.place}: {words}\n{shown.err}"
            printed += shown.out
        return printed

    return call


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_blocks_of_a_page_run_in_their_order(page: Path, run: Run, folder: Path) -> None:
    printed = ""
    for block in blocks_of(page):
        if page.name == "study.md" and block.language == "python":
            write_rows(folder / "rows.csv", people=6, seconds=40)  # of the page's twelve recordings
        if not block.reason:
            printed += run(block)
    assert [pattern for pattern in PRINTED.get(page.name, ()) if not re.search(pattern, printed)] == []
    missing = [made for made in EXPECTED.get(page.name, ()) if not list(folder.glob(made))]
    assert missing == []
    if page.name == "study.md":
        assert (folder / "test.png").stat().st_size > 10_000
        table = page.read_text(encoding="utf-8").split("## 3.")[0]
        cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
        files = [file for cell in cells for file in re.findall(r"`([\w/.*]+)`", cell)]
        assert len(files) >= 10
        assert [file for file in files if not list((folder / "study").glob(f"**/{file}"))] == []
