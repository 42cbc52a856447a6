"""`-` among the inputs: a photo, a video, or a list of paths on standard input."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fervit.errors import ConfigError

if TYPE_CHECKING:
    from fervit.inference.inputs import File

STDIN = "-"
MOST = 2_000_000_000  # bytes; a longer film is better named as a file
BINARY = bytes(set(range(32)) - set(b"\0\t\n\r"))  # bytes that no list of paths has


def with_stdin(inputs: Sequence[str]) -> "list[str | File]":
    """Return the inputs, with what standard input holds in place of the first `-`.

    A list has a path a line, or ends each with a NUL, as `find -print0` does.

    Raises:
        ConfigError: `-` is named twice, or standard input is empty, too long, or none of these.
    """
    if STDIN not in inputs:
        return list(inputs)
    if inputs.count(STDIN) > 1:
        raise ConfigError("standard input is read once: expected - once among the inputs")
    if sys.stdin is None or sys.stdin.isatty():
        raise ConfigError("- reads standard input, which is the keyboard: expected a file or a list of paths in a pipe")
    at = inputs.index(STDIN)
    return [*inputs[:at], *_content(sys.stdin.buffer.read(MOST + 1)), *inputs[at + 1 :]]


def _content(data: bytes) -> "list[str | File]":
    from fervit.inference.inputs import StandardInput
    from fervit.media.kinds import Kind, kind_of_file

    if not data:
        raise ConfigError("standard input is empty: expected an image, a video or a list of paths")
    if len(data) > MOST:
        raise ConfigError(f"standard input has more than {MOST / 1e9:g} GB: save it, and name the file")
    source = StandardInput(data)
    if kind_of_file(source) is not Kind.OTHER:
        return [source]
    if data.translate(None, BINARY) != data:
        raise ConfigError("standard input is neither an image nor a video nor a list of paths")
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]
