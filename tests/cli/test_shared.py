"""What commands share: progress on stderr, JSON, and places that cannot be written."""

import json
from pathlib import Path

import pytest

from fervit.cli._shared import bar, check_target, progress, progress_towards, require_torch, write_json
from fervit.errors import ConfigError, MissingExtra


def test_a_bar_that_stays_shows_how_far_it_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_towards(30, "predicting [a file]") as tick:
        tick(12)
        tick(40)  # a header may promise less than comes
    with progress_towards(2.0, "clip.mp4", percent=True) as tick:
        tick(1.0)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "predicting [a file]" in shown.err and "30/30" in shown.err and "50%" in shown.err


def test_nothing_is_shown_when_it_is_quiet_or_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_towards(30, "predicting", quiet=True) as tick:
        tick(30)
    with progress("evaluating") as step:
        step(1, 2)
    shown = capsys.readouterr()
    assert (shown.out, shown.err.strip()) == ("", "")


def test_a_bar_can_end_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    with bar(note=True) as shown:
        shown.update(shown.add_task("training", total=2, note=""), completed=1, note="loss 0.5")
    assert "loss 0.5" in capsys.readouterr().err


def test_json_goes_to_a_file_or_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(str(tmp_path / "a.json"), {"name": "ü"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "ü"}
    write_json("-", {"n": 1})
    assert capsys.readouterr().out == '{"n": 1}\n'
    with pytest.raises(ConfigError, match=r"cannot write .*: Is a directory"):
        write_json(str(tmp_path), {})


def test_a_place_that_no_file_can_be_written_to_is_refused(tmp_path: Path) -> None:
    check_target("--json", None)
    check_target("--json", "-")
    check_target("--json", str(tmp_path / "new.json"))
    for target, message in (
        (tmp_path, "is a folder; --json takes a file, or - for stdout"),
        (tmp_path / "none" / "a.json", "there is no folder"),
        (tmp_path / ("a" * 300), "cannot write .*: File name too long"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_target("--json", str(target))


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"training needs .*fervit\[train\]"):
        require_torch("training")
