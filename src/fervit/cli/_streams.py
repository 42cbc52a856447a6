"""Standard streams that are closed, full, or without a reader: `fervit ... | head -1` ends cleanly."""

import io
import os
import sys
from typing import BinaryIO, TextIO, cast

from fervit.errors import ConfigError, reason

READER_GONE = 141  # the status that a shell reports for a program that SIGPIPE ended: 128 + 13
_NAMES = ("stdin", "stdout", "stderr")


class _Output(io.FileIO):
    """A descriptor that is written to; when its reader has gone, the program ends, or only the output does.

    Args:
        descriptor: the number of the stream: 1 or 2.
    """

    def __init__(self, descriptor: int):
        super().__init__(descriptor, "w", closefd=False)
        self._lost = False

    def write(self, data: object) -> int:
        """Write some bytes, and return how many.

        Raises:
            SystemExit: nobody reads stdout any more. What is written after that, by those that clean up, is dropped.
            ConfigError: stdout cannot be written, such as to a full disk.
        """
        size = memoryview(data).nbytes  # type: ignore[arg-type]  # io's own signature needs types of the stub only
        if self._lost or not size:  # libraries write nothing to find out whether they may
            return size
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self._lost = True
            if self.fileno() == 2:  # messages; a run whose results go elsewhere goes on without them
                return size
            if isinstance(error, BrokenPipeError):
                raise SystemExit(READER_GONE) from None
            raise ConfigError(f"cannot write to stdout: {reason(error)}") from error


def guard() -> None:
    """Make the standard streams of this process safe; call it once, before anything is opened.

    A closed stream becomes the null device: else the next file that is opened would take its number, and what is
    printed would be written into it. A name that the terminal cannot show stops no run.
    """
    for descriptor, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            setattr(sys, name, _null(descriptor))
    sys.stdout, sys.stderr = _guarded(sys.stdout, 1), _guarded(sys.stderr, 2)


def _null(descriptor: int) -> TextIO:
    try:
        os.fstat(descriptor)
        null = io.FileIO(os.devnull, "r+")  # the number is a library's by now
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        null = io.FileIO(descriptor, "r+", closefd=False)
    if descriptor == 0:
        return io.TextIOWrapper(io.BufferedReader(null), encoding="utf-8")
    return io.TextIOWrapper(io.BufferedWriter(null), encoding="utf-8")


def _guarded(stream: TextIO, descriptor: int) -> TextIO:
    """Return a stream that writes to where `stream` does; the same one where another program put one of its own."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if os.name != "posix" or not _is_own(stream, descriptor):  # Windows' terminals have a way of their own
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    output = _Output(descriptor)
    return io.TextIOWrapper(
        cast(BinaryIO, output) if stream.write_through else io.BufferedWriter(output),  # as PYTHONUNBUFFERED wants it
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _is_own(stream: io.TextIOWrapper, descriptor: int) -> bool:
    try:
        return type(stream) is io.TextIOWrapper and stream.fileno() == descriptor
    except OSError:  # it is in memory
        return False
