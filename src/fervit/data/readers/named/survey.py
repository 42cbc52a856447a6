"""What lies in a folder: enough names to tell which public data set it is, without going through all images."""

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fervit.data.readers.class_folders import SUFFIXES
from fervit.data.source_files import cannot_read

DEPTH = 5  # of folders that are looked into: `archive/CK+/Emotion/S005/001`
SAMPLED = 200  # names of other files, of each folder
SAMPLED_IMAGES = 3


@dataclass(frozen=True)
class Below:
    """A folder below the one that was looked through.

    Attributes:
        path: below the data set's folder, with `/`; empty for that folder itself.
        files: the first names of its other files, sorted.
        images: the first names of its images, sorted.
    """

    path: str
    files: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.rpartition("/")[2]

    def at(self, name: str) -> str:
        """Return the path of what lies in it."""
        return f"{self.path}/{name}".lstrip("/")


@dataclass(frozen=True)
class Survey:
    """What lies in a folder, to a depth of five folders; hidden ones and those that begin with `__` are left out.

    Attributes:
        root: the folder.
        folders: it, and those below, sorted by path.
    """

    root: Path
    folders: list[Below] = field(default_factory=list)

    def find(self, *names: str) -> str | None:
        """Return the path below the root of the first file that has one of some names, in any case; or None."""
        for folder in self.folders:
            for name in folder.files:
                if name.lower() in names:
                    return folder.at(name)
        return None

    def with_images(self) -> list[Below]:
        """Return the folders in which images lie."""
        return [folder for folder in self.folders if folder.images]

    def folder_of(self, *paths: str) -> str | None:
        """Return the first folder below which one of some relative paths exists, or None."""
        for folder in self.folders:
            if any((self.root / folder.path / path).is_file() for path in paths):
                return folder.path
        return None


def survey(root: Path) -> Survey:
    """Look through a folder.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return Survey(root, sorted(_below(root, "", DEPTH), key=lambda folder: folder.path))
    except OSError as error:
        raise cannot_read(error.filename or root, error) from error


def _below(root: Path, path: str, depth: int) -> Iterator[Below]:
    files: list[str] = []
    images: list[str] = []
    folders: list[str] = []
    with os.scandir(root / path) as found:
        for item in found:
            if item.name.startswith((".", "__")):
                continue
            if item.is_dir(follow_symlinks=False):
                folders.append(item.name)
            else:
                (images if item.name.lower().endswith(SUFFIXES) else files).append(item.name)
    yield Below(path, tuple(heapq.nsmallest(SAMPLED, files)), tuple(heapq.nsmallest(SAMPLED_IMAGES, images)))
    if depth:
        for name in folders:
            yield from _below(root, f"{path}/{name}".lstrip("/"), depth - 1)
