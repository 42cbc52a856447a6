"""The cache's folder and what it takes: listed, cleared, and bounded, the least recently used entries first."""

import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fervit.errors import ConfigError, DataError, reason
from fervit.files import cache_folder
from fervit.formatting import file_size

log = logging.getLogger(__name__)

VERSION = 9  # of an entry's layout; part of its name
ENTRY = re.compile(r"v([0-9]+)-[\w.-]+")
BUILDING, REMOVING = ".building-", ".removing-"  # prefixes of folders that are being filled or deleted
META = "meta.json"
OWN_FILES = frozenset({META, "images.npy", "grey.npy", "arrays.npz", "array.npy", "encoded.bin"})
LITTER_AGE_S = 86_400
LIMIT = "FERVIT_CACHE_LIMIT"
DEFAULT_LIMIT_BYTES = 10 * 10**9
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class CacheEntry:
    """A folder in the cache.

    Attributes:
        path: the folder.
        what: what it holds, in words.
        size_bytes: what it takes on the disk.
        used_s: when it was used last, in seconds since 1970.
        whole: False for what a killed process, or an earlier version of fervit, left behind.
    """

    path: Path
    what: str
    size_bytes: int
    used_s: float
    whole: bool


def cache_limit() -> int | None:
    """Return how many bytes the cache may take, or None where it may take any number.

    `FERVIT_CACHE_LIMIT` sets it: `20GB`, `500MB`, `0` (nothing but what is in use) or `none`; the default is 10 GB.

    Raises:
        ConfigError: it is set to something else.
    """
    text = os.environ.get(LIMIT, "").strip()
    if not text:
        return DEFAULT_LIMIT_BYTES
    if text.lower() == "none":
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)I?B", text.upper())
    if match is None and text != "0":
        raise ConfigError(f"{LIMIT} is {text!r}; expected a size such as 20GB or 500MB, 0, or none")
    return 0 if match is None else int(float(match[1]) * UNITS[match[2]])


def cannot_write(path: Path, error: OSError) -> DataError:
    """Return the error for a cache file that cannot be written, with the way out."""
    return DataError(
        f"cannot write the decoded data set to {path.parent} ({reason(error)}); "
        "free some space (fervit cache clear) or set FERVIT_CACHE to another folder"
    )


def list_entries() -> list[CacheEntry]:
    """Return what the cache holds, the least recently used first; other things in its folder are left out."""
    folder = cache_folder()
    found: list[CacheEntry] = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):  # another process may be deleting it
                if path.is_dir() and not path.is_symlink() and _is_ours(path):
                    found.append(_describe(path))
    return sorted(found, key=lambda entry: entry.used_s)


def clear(entries: Collection[CacheEntry]) -> int:
    """Delete entries and return how many bytes that freed.

    Raises:
        DataError: one cannot be deleted.
    """
    freed = 0
    for entry in entries:
        try:
            remove(entry.path)
        except OSError as error:
            raise DataError(f"cannot delete {entry.path} ({reason(error)})") from error
        freed += entry.size_bytes
    return freed


def trim(in_use: Collection[Path]) -> None:
    """Delete the least recently used entries until the cache is below its limit, but none that is `in_use`."""
    limit = cache_limit()
    if limit is None:
        return
    entries = list_entries()
    total = sum(entry.size_bytes for entry in entries)
    for entry in entries:
        if total <= limit:
            return
        if entry.path in in_use or entry.path.name.startswith(BUILDING):
            continue
        with contextlib.suppress(OSError):  # another process may be deleting it, too
            remove(entry.path)
            log.info("%s (%s) was removed from the cache, to stay below %s", entry.path, entry.what, file_size(limit))
        total -= entry.size_bytes
    if total > limit:
        log.warning(
            "the data sets in use take %s in %s, more than %s (%s)",
            *(file_size(total), cache_folder(), LIMIT, file_size(limit)),
        )


def remove(path: Path) -> None:
    """Delete an entry, whatever it is: set aside first, so that no process meets half of it.

    Raises:
        OSError: it cannot be deleted.
    """
    aside = path.with_name(f"{REMOVING}{os.urandom(6).hex()}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)  # what stays is litter, which is removed after a day
    else:
        aside.unlink(missing_ok=True)


def remove_litter() -> None:
    """Delete what processes that were killed left behind more than a day ago."""
    for prefix in (BUILDING, REMOVING):
        for folder in cache_folder().glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                if time.time() - _last_change(folder) > LITTER_AGE_S:
                    shutil.rmtree(folder, ignore_errors=True)


def mark_used(entry: Path) -> None:
    """Note that an entry was used just now; in a cache that is read-only, nothing is noted."""
    with contextlib.suppress(OSError):
        os.utime(entry)


def last_stored(prefix: str) -> str | None:
    """Return the revision (hex digits) behind `prefix` in the name of the entry that was stored last, or None."""
    stored = []
    for path in cache_folder().glob(f"v{VERSION}-{prefix}*"):
        match = re.match(r"[0-9a-f]{7,40}(?=-|$)", path.name.removeprefix(f"v{VERSION}-{prefix}"))
        with contextlib.suppress(OSError):  # it is damaged
            if match is not None:
                stored.append(((path / META).stat().st_mtime, match[0]))
    return max(stored)[1] if stored else None


def _is_ours(path: Path) -> bool:
    """Return whether fervit made a folder: by its name and what is in it, as the user may set any folder as cache."""
    if not (ENTRY.fullmatch(path.name) or path.name.startswith((BUILDING, REMOVING))):
        return False
    return all(item.name in OWN_FILES or item.name.startswith(".meta-") for item in path.iterdir())


def _describe(path: Path) -> CacheEntry:
    sizes = [item.lstat().st_size for item in path.iterdir()]
    what, whole = _content(path)
    return CacheEntry(path, what, sum(sizes), path.stat().st_mtime, whole)


def _content(path: Path) -> tuple[str, bool]:
    """Return in words what an entry holds, and whether it is whole."""
    match = ENTRY.fullmatch(path.name)
    if match is None:
        return "unfinished", False
    if int(match[1]) != VERSION:
        return "of another version of fervit", False
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
        return str(meta["what"]), True
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged", False


def _last_change(folder: Path) -> float:
    return max([folder.stat().st_mtime, *(item.lstat().st_mtime for item in folder.iterdir())])
