"""Open whatever a video may be given as: a path, the bytes of a file, or an open file."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from fervit.errors import VideoError, is_count, quoted, reason
from fervit.media.sources import is_address

VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


class Nameless:
    """An open file without its name: ffmpeg takes a weak sign of a video for less than an ending such as .jpg."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.read, self.tell, self.seekable = file.read, file.tell, file.seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as a file does, but return -1 for a place that is none: PyAV would print a traceback on stderr."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


@contextmanager
def opened(source: VideoSource, name: str) -> Iterator[IO[bytes]]:
    """Yield an open file at its beginning; a file that was given stays open, at the place where it was."""
    file = _seekable(source) if not isinstance(source, str | os.PathLike) else _open_file(source, name)
    place = 0 if isinstance(source, str | os.PathLike) else file.tell()
    try:
        file.seek(0)
        if not file.read(1):
            raise VideoError(f"{name} is empty (0 bytes)")
        file.seek(0)
        yield file
    finally:
        if isinstance(source, str | os.PathLike):
            file.close()
        else:
            file.seek(place)


def _seekable(source: Any) -> IO[bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if isinstance(source, io.IOBase) or callable(getattr(source, "read", None)):
        if getattr(source, "seekable", bool)() and isinstance(source.read(0), bytes):
            return cast(IO[bytes], source)
        raise VideoError("expected a video as a file that is open for bytes and can be read again from its beginning")
    if is_count(source, least=0):
        remedy = ": a camera is for `webcam`"
    else:
        remedy = ": frames are for `images`" if isinstance(source, list | tuple | np.ndarray | Iterator) else ""
    raise VideoError(f"expected a video as a path, bytes or open file, got {quoted(source)}{remedy}")


def _open_file(path: str | os.PathLike[str], name: str) -> IO[bytes]:
    try:
        text = os.fspath(path)
        if not isinstance(text, str):
            raise VideoError(f"expected a path of text, got {quoted(text)}: os.fsdecode makes one of it")
        if not text:
            raise VideoError("expected the path of a video, got ''")
        if is_address(text):
            remedy = "pass its bytes" if text.startswith("data:") else "download it first; a camera is for `webcam`"
            raise VideoError(f"{quoted(text)} is an address, not a path: {remedy}")
        mode = Path(text).stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a pipe would wait for somebody to write
            raise VideoError(f"{name} is a pipe or a device, not a file")
        return Path(text).open("rb")
    except FileNotFoundError:
        raise VideoError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise VideoError(f"{name} is a folder, not a video") from None
    except (OSError, ValueError, TypeError) as error:  # the latter two: a name with a NUL, a path that is none
        raise VideoError(f"{name} cannot be read: {reason(error)}") from error
