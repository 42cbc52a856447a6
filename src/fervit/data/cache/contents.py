"""All that fervit's cache folder holds: decoded data sets, and the weights of released models; listed and deleted."""

import contextlib
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from fervit.data.cache.space import CacheEntry, clear, list_entries
from fervit.errors import DataError, reason
from fervit.files import cache_folder
from fervit.weights.named import FOLDER, cached_folder, released_models

WEIGHTS_ENTRY = re.compile(r"(?P<name>[\w.-]+)-[0-9a-f]+")
WEIGHTS_ENDINGS = (".json", ".safetensors", ".onnx", ".md")  # of the files of a released model


def list_cache() -> list[CacheEntry]:
    """Return what the cache holds, the least recently used first; other things in its folder are left out.

    Whether weights are whole is judged by the sizes of their files; their SHA-256 is compared when they are opened.
    """
    found = [*list_entries()]
    with contextlib.suppress(OSError):
        for path in (cache_folder() / FOLDER).iterdir():
            with contextlib.suppress(OSError):  # another process may be deleting it
                if path.is_dir() and not path.is_symlink() and _is_ours(path):
                    found.append(_describe(path))
    return sorted(found, key=lambda entry: entry.used_s)


def is_weights(entry: CacheEntry) -> bool:
    """Return whether an entry holds weights, which are fetched again, rather than data, which are decoded again."""
    return entry.path.parent.name == FOLDER


def delete(entries: Collection[CacheEntry]) -> int:
    """Delete entries and return how many bytes that freed.

    Raises:
        DataError: one cannot be deleted.
    """
    freed = clear([entry for entry in entries if not is_weights(entry)])
    for entry in filter(is_weights, entries):
        try:
            shutil.rmtree(entry.path)
        except OSError as error:
            raise DataError(f"cannot delete {entry.path} ({reason(error)})") from error
        freed += entry.size_bytes
    return freed


def _files(folder: Path) -> list[Path]:
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]


def _is_ours(path: Path) -> bool:
    """Return whether fervit made a folder: by its name and what is in it, as the user may set any folder as cache."""
    if not WEIGHTS_ENTRY.fullmatch(path.name):
        return False
    return all(file.name.startswith(".") or file.name.endswith(WEIGHTS_ENDINGS) for file in _files(path))


def _describe(path: Path) -> CacheEntry:
    current = {cached_folder(model).name: model for model in released_models()}
    sizes = {file.relative_to(path).as_posix(): file.lstat().st_size for file in _files(path)}
    match, model = WEIGHTS_ENTRY.fullmatch(path.name), current.get(path.name)
    name, whole = match["name"] if match else path.name, False
    what = f"weights of {name}, of another version of fervit"
    if model is not None:
        whole = all(sizes.get(file.name) == file.size for file in model.files)
        what = f"weights of {name}" if whole else f"weights of {name}, not whole"
    return CacheEntry(path, what, sum(sizes.values()), path.stat().st_mtime, whole)
