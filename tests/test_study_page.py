"""The code of docs/study.md runs, on made rows and on short clips."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from scripts.made_study import write_rows
from tests.helpers import ROOT
from tests.helpers.videos import write_video

PAGE = ROOT / "docs" / "study.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the page is in the repository only")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_code_leads_from_rows_to_a_test_and_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.csv", people=6, seconds=40)
    names: dict[str, object] = {}
    examples = blocks("python")
    assert len(examples) == 4
    for example in examples:
        exec(example, names)
    printed = capsys.readouterr().out
    assert "recordings/A/p01.mp4" in printed
    assert re.search(r"B - A: \+\d+\.\d points \(95 % \+?-?\d+\.\d to \+\d+\.\d\), p = 0\.\d{4}", printed)
    assert (tmp_path / "test.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_commands_lead_from_recordings_to_a_folder_of_tables_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for film in "AB":
        (tmp_path / "recordings" / film).mkdir(parents=True)
        write_video(tmp_path / "recordings" / film / "p01.mp4", [(astronaut[::2, ::2], k / 10) for k in range(4)])
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) == 2
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, done.output
    found = {str(path.relative_to(tmp_path / "study")) for path in (tmp_path / "study").rglob("*.*")}
    table = re.findall(r"^\| (`[^|]+) \|", PAGE.read_text(encoding="utf-8").split("## 3.")[0], re.MULTILINE)
    for name in [name for cell in table for name in re.findall(r"`([\w/.*]+)`", cell)]:
        assert any(Path(file).match(name) for file in found), name
