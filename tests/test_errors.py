"""Errors: one line, in the words of what went wrong."""

import math

import numpy as np
import pytest

from fervit import errors
from fervit.errors import FervitError, MissingExtra, is_count, is_number, quoted, reason, redacted, unknown


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


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:hunter2@camera.local:554/live",
        "rtsp://admin:hunter2/%40x@10.0.0.2/live",
        "http://admin:a/hunter2@10.0.0.2/live",
        "rtsp://admin:p@hunter2@10.0.0.2/live",
        "rtsp://admin:hun'ter2 hunter2@10.0.0.2/live",
        "http://10.0.0.2/video.cgi?user=hunter2&pwd=hunter2",
        "rtsp:/hunter2@10.0.0.2/live",  # as a path that was made of an address
    ],
)
def test_no_message_repeats_a_password(address: str) -> None:
    for text in (redacted(address), redacted(f"no frame from {address}"), quoted(address), reason(OSError(address))):
        assert "hunter2" not in text and ("10.0.0.2" in text or "camera.local" in text), text


@pytest.mark.parametrize(
    "text", ["C:/Users/me@home/a.jpg", "cannot read https://example.org/a.jpg: not found", "a@b", "http://[::1]:80/x"]
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "value", ["A" * 10_000, b"A" * 10_000, ["A"] * 10_000, np.zeros((500, 500)), 10**300, object, {}]
)
def test_what_came_is_named_in_a_few_words(value: object) -> None:
    assert 0 < len(quoted(value)) <= 80


def test_numbers_and_counts_are_told_from_what_only_looks_like_them() -> None:
    assert is_count(1) and is_count(np.int64(3)) and is_count(0, least=0)
    assert not any(map(is_count, (0, 1.0, True, "1", None, [1], math.nan)))
    assert is_number(0.5, 0, 1) and is_number(np.float32(1), 0, 1)
    assert not any(map(is_number, (math.nan, math.inf, True, "1", None, np.zeros(2), 10**400)))


def test_a_number_that_python_does_not_write_out_is_named_by_its_size() -> None:
    assert quoted(10**5000) == "int of 16,610 bits"
