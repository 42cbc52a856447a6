"""The exit codes that docs/faq.md promises."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fervit.api.diagnosis import Check, Diagnosis
from fervit.cli import main
from fervit.cli._streams import READER_GONE

Code = Callable[..., int]


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Code:
    """Calls the command line in this process and returns its exit code."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["fervit", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
            sys.exit(0)
        assert end.value.code is None or isinstance(end.value.code, int)
        return end.value.code or 0

    return call


def test_0_is_success(code: Code) -> None:
    assert code("recipes") == code("--version") == code("train", "--help") == 0


@pytest.mark.parametrize(
    "arguments",
    [("predict", "none.jpg"), ("predict", "--no-such-option"), ("no-such-command",), ("cache", "clear", "none")],
)
def test_2_is_a_mistake_that_the_user_can_mend(code: Code, arguments: tuple[str, ...]) -> None:
    assert code(*arguments) == 2


def test_1_is_a_broken_installation_or_a_fault_of_fervit(code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Diagnosis("0", (Check("packages", "numpy", "broken", "not installed"),))
    monkeypatch.setattr("fervit.api.diagnosis.doctor", lambda: broken)
    assert code("doctor") == 1

    def fails() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fervit.config.training.recipe_names", fails)
    with pytest.raises(ZeroDivisionError):  # Python prints it and ends with 1: please report it
        code("recipes")


@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
def test_130_is_ctrl_c(code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("fervit.config.training.recipe_names", interrupted)
    assert code("recipes") == 128 + signal.SIGINT


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signal")
def test_141_is_a_reader_of_the_output_that_has_gone() -> None:
    # What happens when it has gone: tests/cli/test_streams.py.
    assert READER_GONE == 128 + signal.SIGPIPE == 141
