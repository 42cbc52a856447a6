"""Files: where the package's own are, which may be read at all, and how one is written whole or not at all."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from fervit.errors import ConfigError, DataError, FervitError, quoted, reason

ASSETS = Path(__file__).parent / "assets"
"""Models and graphs that come with the package."""

SURROGATES = re.compile("[\ud800-\udfff]")  # what Python has for bytes of a name that are not UTF-8
ESCAPED = re.compile(r"\\+(?=x[89a-f][0-9a-f]|u[d][89a-f][0-9a-f]{2}|[\ud800-\udfff])")
LONGEST_NAME = 255  # bytes, in every common file system
FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
"""Files that figures are written to, by the ending of their name."""
PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"})
ZIP_MAGIC = b"PK\x03\x04"  # the container that torch.save writes
PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def name_of(path: str | bytes | os.PathLike[str]) -> str:
    r"""Return a path as text that can be stored and sent anywhere; different paths have different texts.

    A name of bytes that are not UTF-8 has `\xff` in place of each such byte. Where a name has that very text already,
    or backslashes before such a byte, these are doubled.

    >>> name_of("smile.jpg"), name_of(os.fsdecode(b"smile\xff.jpg"))
    ('smile.jpg', 'smile\\xff.jpg')
    """
    text = os.fsdecode(path)
    if text.isascii() and "\\x" not in text:  # nearly all
        return text
    if os.name == "posix" or SURROGATES.search(text):  # elsewhere, backslashes stand between folders
        text = ESCAPED.sub(r"\g<0>\g<0>", text)
    return SURROGATES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def is_pickle(path: Path, magic: bytes = b"") -> bool:
    """Return whether a file is a pickle, which can run code when it is read: by its suffix, or by its first bytes."""
    return path.suffix.lower() in PICKLE_SUFFIXES or magic == ZIP_MAGIC or magic.startswith(PICKLE_MAGIC)


def as_path(value: object, what: str, error: type[FervitError]) -> Path:
    """Return what a user gave as the path of something.

    Args:
        value: of whatever type.
        what: what it should be the path of, such as `a model`.
        error: what is raised.

    Raises:
        FervitError: `error`, because it is no path, an address, or no file can have such a name.
    """
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        path = None
    if not isinstance(path, str) or not path:
        raise error(f"expected the path of {what}, got {quoted(value if path is None else path)}")
    if "://" in path or path.startswith("data:"):
        raise error(f"expected the path of {what}, got the address {quoted(path)}: download it first")
    longest = max(len(part.encode("utf-8", "replace")) for part in path.replace("\\", "/").split("/"))
    if "\0" in path or longest > LONGEST_NAME or not _encodable(path):
        raise error(f"cannot read {quoted(path)} as the path of {what}: it is too long, or no name of a file")
    return Path(path)


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def cache_folder() -> Path:
    """Return where decoded data sets and fetched weights are kept: `FERVIT_CACHE`, else the user's cache folder."""
    if folder := os.environ.get("FERVIT_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "fervit"


def cannot_write(path: str | Path, error: Exception) -> ConfigError:
    """Build the error for a file or folder that cannot be written."""
    return ConfigError(f"cannot write {path}: {reason(error)}")


def check_writable(path: Path) -> None:
    """Refuse a file or folder that cannot be made, before minutes of work; nothing stays behind.

    Raises:
        ConfigError: nothing can be written to its folder, or to the folder that would be made for it.
    """
    try:
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside `path` to write to; it takes the place of `path` only when the block ends without an error.

    A reader sees the whole old file or the whole new one, also after the process was killed.

    Raises:
        OSError: the folder cannot be written to.
    """
    beside = path.with_name(f".{path.stem[:40]}-{os.urandom(4).hex()}{path.suffix}")
    beside.touch(exist_ok=False)  # with the permissions that the user's umask leaves, as any new file
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk: a power cut does not take it any more.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; it takes the place of `path` only when the block ends without error.

    What was in the old folder is deleted.

    Raises:
        ConfigError: the folder, or what the block writes into it, cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name[:40]}-") as scratch:
            folder = Path(scratch) / "new"
            folder.mkdir()
            yield folder
            old = Path(scratch) / "old"
            if path.exists():
                path.rename(old)
            try:
                folder.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
    except OSError as error:
        raise cannot_write(path, error) from error


def undo_replacing(path: Path) -> None:
    """Bring back the folder that `replacing_folder` was about to replace when its process was killed.

    What it had made beside the folder is deleted.

    Raises:
        OSError: it cannot be moved or deleted.
    """
    for scratch in path.parent.glob(f".{glob.escape(path.name[:40])}-*"):
        if (scratch / "old").is_dir() and not path.exists():  # killed between the two renames
            (scratch / "old").rename(path)
        shutil.rmtree(scratch)


def sync_folder(folder: Path) -> None:
    """Wait until the files in a folder, and their names, are on the disk: a power cut then leaves all of them.

    Raises:
        OSError: the disk is full, or fails.
    """
    for path in [*folder.iterdir(), folder]:
        if path.is_dir() and os.name == "nt":  # Windows opens no folder
            continue
        handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fitting_name(folder: Path, stem: str, ending: str) -> str:
    """Return `stem + ending` as a file's name in `folder`; too long a stem ends with a hash of the whole instead.

    Args:
        folder: it need not exist.
        stem: the part that may be shortened.
        ending: the part that stays, such as `-2.jpg`.
    """
    name, most = os.fsencode(stem), _longest_name(folder) - len(os.fsencode(ending))
    if len(name) > most:
        digest = b"-" + hashlib.sha256(name).hexdigest()[:8].encode()
        cut = name[: max(0, most - len(digest))]
        while cut and name[len(cut)] & 0xC0 == 0x80:  # within a character of UTF-8
            cut = cut[:-1]
        name = cut + digest
    return os.fsdecode(name) + ending


def _longest_name(folder: Path) -> int:
    """Return how many bytes a name in `folder` may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows has no pathconf; or there is no folder
        return LONGEST_NAME


def file_digest(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        DataError: the file cannot be read, or is not JSON.
    """
    try:
        with open_regular(Path(path)) as file:
            return json.load(file)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({reason(error)})") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON file ({error})") from error


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file, or a link to one, for reading.

    Whoever opens a named pipe waits for a writer, and a device may never end: neither is opened.

    Raises:
        OSError: it is something else, or it cannot be read.
    """
    _check_regular(path.stat().st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags)
    try:
        _check_regular(os.fstat(handle).st_mode)  # again: the name may have changed hands in between
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, *, limit: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: see `open_regular`; or it has more than `limit` bytes.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit / 1e6:,.0f} MB")
    return content


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {kind_of(mode)}, expected a regular file")


def kind_of(mode: int) -> str:
    """Return in words what kind of file a mode from `os.stat` is of."""
    kinds = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no file of a known kind")
