"""Folders that runs write to: held by one process at a time, never taken over by accident, emptied whole or not at all.

A lock is a file in the folder that the process holds locked (`flock`; `msvcrt` on Windows), so a crash releases it.

An earlier run is deleted in two steps, so that a kill at any moment leaves a folder that can be used: what it holds is
renamed into `ASIDE`, `run.json` last, and then `ASIDE` is deleted. Where both are found, nothing was deleted yet and
the run is put together again; where `run.json` is gone, the deletion goes on.
"""

import errno
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from fervit.errors import ConfigError
from fervit.files import cannot_write

RUN_FILE = "run.json"  # what tells a run of fervit from any other folder
SEEDS_FILE = "seeds.json"  # what tells the folder of runs over seeds
LOCK_FILE = ".lock"
ASIDE = ".deleted"
# What a process that was killed leaves behind: before its first run.json was whole (`files.replacing`'s file, and the
# name that earlier versions of fervit gave it), while an earlier run was deleted, and the lock that it no longer holds.
UNFINISHED = (".run-*.json", ".run.json.part", LOCK_FILE, ASIDE)
LOCKED_BYTE = 2**30  # on Windows, where a locked byte cannot be read: far behind the text of the lock file
NO_LOCKS = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)  # some network file systems

logger = logging.getLogger(__name__)
_held: set[tuple[int, Path]] = set()  # by thread, so that a function can hold the folder that its caller holds


class FolderInUse(ConfigError):
    """Another process, or another thread, holds the folder."""


def check_one_process() -> None:
    """Refuse to write a run's folder from one of several processes that a launcher such as torchrun started.

    Raises:
        ConfigError: `WORLD_SIZE` is above 1.
    """
    size = os.environ.get("WORLD_SIZE", "").strip()
    if size.isdecimal() and int(size) > 1:
        raise ConfigError(
            f"WORLD_SIZE is {size}: fervit trains in one process, on one GPU or on all CPU cores, and {size} of them "
            "would write to the same --out: start it without torchrun or accelerate, or unset WORLD_SIZE"
        )


def check_run_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that a run cannot go into; nothing is changed.

    Raises:
        ConfigError: it is a file, or already holds something and neither flag was given, or something that is no run
            of fervit; or it cannot be read.
    """
    if resume and overwrite:
        raise ConfigError("--resume goes on with a run and --overwrite deletes it: give one of them")
    try:
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file; --out takes a folder")
        if holds_nothing(out):
            return
        is_run = (out / RUN_FILE).is_file()
    except OSError as error:
        raise cannot_write(out, error) from error
    if not (resume or overwrite):
        raise ConfigError(f"{out} is not empty: --resume goes on with it, --overwrite deletes it first")
    if not is_run:
        raise ConfigError(f"{out} holds no run of fervit (no run.json), so it stays as it is: take another folder")


def check_seeds_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that runs over seeds cannot go into; nothing is changed.

    Raises:
        ConfigError: it is a file, or already holds something and neither flag was given, or something else.
    """
    if resume and overwrite:
        raise ConfigError("--resume goes on with runs and --overwrite deletes them: give one of them")
    try:
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file; --out takes a folder")
        if holds_nothing(out):
            return
        if not (out / SEEDS_FILE).is_file():
            raise ConfigError(f"{out} holds no runs over seeds (no {SEEDS_FILE}), so it stays as it is: take another")
    except OSError as error:
        raise cannot_write(out, error) from error
    if not (resume or overwrite):
        raise ConfigError(f"{out} is not empty: --resume goes on with its runs, --overwrite deletes them first")


def holds_nothing(folder: Path) -> bool:
    """Return whether a folder is missing or empty, but for what a killed process leaves behind."""
    if not folder.exists():
        return True
    return all(any(fnmatch(path.name, pattern) for pattern in UNFINISHED) for path in folder.iterdir())


@contextmanager
def run_folder(out: Path, *, resume: bool = False, overwrite: bool = False) -> Iterator[None]:
    """Hold a folder for a run, from before its set-up to its end; an earlier run in it stays until `clear_run`.

    The folder is made, and deleted again where nothing was written to it. It may be held by a caller already.

    Raises:
        ConfigError: as `check_run_folder` and `locked`.
    """
    check_one_process()  # first: what another rank has just written there would only mislead
    check_run_folder(out, resume=resume, overwrite=overwrite)
    with locked(out):
        check_run_folder(out, resume=resume, overwrite=overwrite)  # what it holds may have changed until now
        yield


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder and hold it, so that no other process and no other thread can.

    Raises:
        FolderInUse: another one holds it.
        ConfigError: it cannot be written to, or this is one of several processes.
    """
    check_one_process()
    key = (threading.get_ident(), folder.resolve())
    if key in _held:
        yield
        return
    try:
        made = _make(folder)
        file = _open_lock(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    _held.add(key)
    try:
        yield
    finally:
        _held.discard(key)
        _release(folder / LOCK_FILE, file)
        with suppress(OSError):  # the first that is not empty stays, and those above it
            for path in made:
                path.rmdir()


def clear_run(out: Path) -> None:
    """Delete the run in a folder that is held; a kill meanwhile leaves the whole run, or what can be cleared again.

    Raises:
        ConfigError: something in it cannot be deleted.
    """
    try:
        recover(out)
        if not (out / RUN_FILE).is_file():
            return
        aside = out / ASIDE
        aside.mkdir()
        others = [path for path in out.iterdir() if path.name not in (RUN_FILE, LOCK_FILE, ASIDE)]
        for path in [*others, out / RUN_FILE]:  # run.json last: until then, `recover` brings the run back
            path.rename(aside / path.name)
        shutil.rmtree(aside)
    except OSError as error:
        raise cannot_write(out, error) from error


def recover(out: Path) -> None:
    """Bring a run back that was about to be deleted, or end its deletion, where a process was killed meanwhile."""
    aside = out / ASIDE
    if not aside.is_dir():
        return
    if (out / RUN_FILE).is_file():
        for path in aside.iterdir():
            path.rename(out / path.name)
        aside.rmdir()
    else:
        shutil.rmtree(aside)


def _make(folder: Path) -> list[Path]:
    """Make a folder; return those that were made for it, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _open_lock(folder: Path) -> IO[str]:
    """Return the folder's lock file, locked, with the number of this process in it.

    Raises:
        FolderInUse: another process or thread holds it.
        OSError: it cannot be written.
    """
    path = folder / LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)  # the one who held it may have deleted it, as it was empty
        file = path.open("a+", encoding="utf-8")
        if not _lock(file, folder):
            with file:
                holder = _text_of(file)
            by = f" by process {holder}" if holder else ""
            raise FolderInUse(f"{folder} is in use{by}: wait for it or stop it first, or take another --out")
        if _is_same(path, file):
            break
        file.close()  # the one who held it deleted it between opening and locking
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _text_of(file: IO[str]) -> str:
    file.seek(0)
    return file.readline().strip()


def _is_same(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lock(file: IO[str], folder: Path) -> bool:
    """Lock an open file for as long as it is open; return whether that was possible."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            return False
        logger.warning("%s lies on a file system without locks: nothing stops a second run in it", folder)
    return True


def _release(path: Path, file: IO[str]) -> None:
    """Delete the lock file, where it is still this one, and let go of it."""
    with suppress(OSError):
        with file:
            own = _is_same(path, file)
            if own and sys.platform != "win32":  # before it is let go of, so that nobody takes it in between
                path.unlink()
        if own and sys.platform == "win32":  # which deletes no open file
            path.unlink()
