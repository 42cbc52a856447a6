"""`--quiet`, `NO_COLOR` and the completion of a shell: what every command has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from fervit.cli import app
from fervit.cli._quiet import is_quiet, set_quiet
from fervit.cli._shared import bar
from tests.helpers.commands import run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five grey photos."""
    for number in range(5):
        Image.fromarray(np.full((48, 48), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def predict(photos: Path, *more: str, before: tuple[str, ...] = ()) -> tuple[str, str]:
    done = run(*before, "predict", photos, "--crop", "--csv", photos / "rows.csv", *more)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_quiet_leaves_the_results_and_takes_away_notes_and_progress(photos: Path, tiny_onnx: Path) -> None:
    model = ("--model", str(tiny_onnx))
    loud, notes = predict(photos, *model)
    table = (photos / "rows.csv").read_bytes()
    assert "5 images, 5 faces" in notes
    for options, before in ((("--quiet",), ()), (("-q",), ()), ((), ("--quiet",))):
        shown, said = predict(photos, *model, "--overwrite", *options, before=before)
        assert (shown, said) == (loud, "")
        assert (photos / "rows.csv").read_bytes() == table


def test_quiet_still_says_what_is_wrong(photos: Path, tiny_onnx: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    _, said = predict(photos, "--model", str(tiny_onnx), "--quiet")
    assert "broken.png" in said and "5 faces" not in said


def test_a_call_after_a_quiet_one_is_not_quiet() -> None:
    run("--quiet", "recipes")
    assert is_quiet()
    run("recipes")
    assert not is_quiet()


def test_a_quiet_bar_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        for quiet in (True, False):
            set_quiet(quiet)
            with bar() as shown:
                shown.update(shown.add_task("working", total=3), completed=2)
                shown.console.print("epoch 1")
            assert ("epoch 1" in capsys.readouterr().err) is not quiet
    finally:
        set_quiet(False)


def test_colours_are_off_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not bar().console.no_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert bar().console.no_color


def test_every_command_takes_quiet() -> None:
    found = dict(options(typer.main.get_command(app), "fervit"))
    assert len(found) > 25 and "fervit data inspect" in found
    assert [name for name, has in found.items() if "--quiet" not in has] == []


def options(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the options of every command, those of groups left out: a group that is called alone prints a list."""
    below = getattr(command, "commands", {})
    if not below:
        yield name, [text for parameter in command.params for text in parameter.opts]
    for word, inner in below.items():
        yield from options(inner, f"{name} {word}")


def test_a_shell_completes_commands_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--install-completion" in run("--help").output
    asked = {"_FERVIT_COMPLETE": "complete_bash", "COMP_WORDS": "fervit pre", "COMP_CWORD": "1"}
    done = run(env=asked)
    assert done.stdout.split() == ["predict", "pretrain"]
