"""Errors: one line, in the words of what went wrong."""

import pytest

from fervit import errors
from fervit.errors import FervitError, MissingExtra, reason, unknown


def test_everything_a_user_can_cause_has_one_base_class() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 9 and all(issubclass(kind, FervitError) for kind in kinds)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.jpg"), "No such file or directory"),
        (OSError("image file is truncated"), "image file is truncated"),
        (ValueError("  first\nsecond"), "first"),
        (KeyError(), "KeyError"),
        (ValueError("\n"), "ValueError"),
    ],
)
def test_the_reason_is_one_line(error: Exception, line: str) -> None:
    assert reason(error) == line


def test_an_unknown_name_lists_the_choices() -> None:
    assert unknown("recipe", "xyz", ["tiny", "paper"]) == "unknown recipe 'xyz': (choices: paper, tiny)"


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert str(MissingExtra("Parquet", "video")).endswith("pip install 'fervit[video]'")
