"""What a command's inputs name: photos, videos, cameras; and what lies in their folders but is left out."""

import glob
import io
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fervit.errors import ImageError, VideoError, quoted, reason
from fervit.inference.results import Skipped
from fervit.media.camera import is_camera
from fervit.media.images import source_name
from fervit.media.kinds import Kind, kind_of, kind_of_file
from fervit.media.sources import is_address

# Why something in a folder is left out, and what several of them are called.
HIDDEN, LINK, BROKEN, SPECIAL = "hidden", "link to a folder", "broken link", "pipe or device"
UNREADABLE, OTHER, VIDEO = "unreadable folder", "neither image nor video", "video"
PLURALS = {
    LINK: "links to folders",
    BROKEN: "broken links",
    SPECIAL: "pipes or devices",
    UNREADABLE: "unreadable folders",
    VIDEO: "videos",
}
MOVING = (Kind.VIDEO, Kind.ANIMATION)


class StandardInput(io.BytesIO):
    """A photo or a video that came on standard input."""

    name = "-"
    stem = "standard-input"
    suffix = ""


File: TypeAlias = Path | StandardInput


@dataclass(frozen=True)
class Inputs:
    """Photos, videos and cameras, each once, in the order in which they were named.

    Attributes:
        photos: still images.
        videos: videos and animated images.
        cameras: addresses of streams.
        skipped: what lies in the named folders and is none of these, or was not wanted.
    """

    photos: Sequence[File]
    videos: Sequence[File]
    cameras: Sequence[str] = ()
    skipped: Sequence[Skipped] = ()

    @property
    def paths(self) -> list[Path]:
        """The files that are read."""
        return [file for file in (*self.photos, *self.videos) if isinstance(file, Path)]

    @property
    def count(self) -> int:
        """How many inputs there are."""
        return len(self.photos) + len(self.videos) + len(self.cameras)

    @property
    def alone(self) -> bool:
        """Whether there is one input only."""
        return self.count == 1

    def none_read(self) -> ImageError | VideoError:
        """Return the error of a run over several inputs, none of which could be read."""
        if not self.photos:
            return VideoError(f"none of the {self.count} videos could be read")
        what = "inputs" if self.count > len(self.photos) else "images"
        return ImageError(f"none of the {self.count} {what} could be read")


def find_inputs(inputs: Sequence[str | File], *, videos: bool = True) -> Inputs:
    """Return the named files with those in the named folders, sorted into photos and videos by their content.

    A folder is searched with the folders in it. A name that no file has may be a pattern, such as `*.jpg`, because not
    every shell expands them.

    Args:
        inputs: paths, patterns, addresses of cameras, and what came on standard input.
        videos: take the videos in folders; else they are among the skipped.

    Raises:
        ImageError: a path does not exist, a folder cannot be read, or holds no image and no video.
        VideoError: an address is that of a file, or holds one.
    """
    found: dict[File, Kind] = {}
    cameras: dict[str, None] = {}
    skipped: list[Skipped] = []
    for item in inputs:
        if item == "":  # a path of no characters would be the current folder
            raise ImageError("expected the path of a file or folder, got ''")
        if isinstance(item, str) and is_address(item):
            cameras[_camera(item)] = None
            continue
        if isinstance(item, StandardInput):
            found[item] = kind_of_file(item)
            continue
        for path in _expanded(Path(item)):
            if _is_folder(path):
                found.update(_in_folder(path, skipped, videos=videos))
            else:
                found.setdefault(path, _kind_of_named(path))
    moving = [path for path, kind in found.items() if kind in MOVING]
    still = [path for path, kind in found.items() if kind not in MOVING]
    return Inputs(still, moving, list(cameras), list(dict.fromkeys(skipped)))


def describe_skipped(skipped: Sequence[Skipped]) -> str:
    """Return how many were skipped, by reason, in one line; the most frequent reason first."""
    counts = Counter(item.reason for item in skipped).most_common()
    named = (f"{count} {PLURALS.get(reason, reason) if count > 1 else reason}" for reason, count in counts)
    return f"skipped {len(skipped)}: {', '.join(named)}"


def _camera(address: str) -> str:
    if address.startswith("data:"):
        raise VideoError(f"{quoted(address)} is no path: write its bytes to a file, or decode them into standard input")
    if not is_camera(address):
        raise VideoError(f"{quoted(address)} is no address of a camera: download a file first, and name the file")
    return address


def _expanded(path: Path) -> list[Path]:
    """Return the path, or the files of a pattern when there is none of that name.

    Raises:
        ImageError: there is neither.
    """
    try:
        if path.exists() or path.is_symlink():
            return [path]
    except (OSError, ValueError):  # too long, in an unreadable folder, or with a NUL: reading the file reports which
        return [path]
    if glob.has_magic(str(path)):
        matches = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207  (of any root, `~` aside)
        if matches:
            return matches
        raise ImageError(f"no file matches {source_name(path)}")
    raise ImageError(f"no such file or folder: {source_name(path)}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _kind_of_named(path: Path) -> Kind:
    """Return what a named file is; a photo where that is not clear, because reading it tells what is wrong."""
    try:
        return kind_of(path)
    except (OSError, ValueError):
        return Kind.IMAGE


def _in_folder(folder: Path, skipped: list[Skipped], *, videos: bool) -> list[tuple[File, Kind]]:
    """Return what is taken from a folder, by path; add what is not to `skipped`."""
    taken: list[tuple[File, Kind]] = []
    before = len(skipped)
    for path, why in _walk(folder, top=True):
        kind = Kind.OTHER if why else _kind_of_listed(path)
        if kind in MOVING and not videos:
            why = VIDEO
        elif kind is Kind.OTHER:
            why = why or OTHER
        if why:
            skipped.append(Skipped(source_name(path), why))
        else:
            taken.append((path, kind))
    if not taken:
        others = f" ({describe_skipped(skipped[before:])})" if len(skipped) > before else ": it is empty"
        raise ImageError(f"no images in {source_name(folder)}, nor videos{others}")
    return taken


def _walk(folder: Path, *, top: bool = False) -> Iterator[tuple[Path, str | None]]:
    """Yield every regular file under a folder, and whatever else there is with why it is left out.

    Raises:
        ImageError: `top` itself cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        if top:
            raise ImageError(f"the folder {source_name(folder)} cannot be read: {reason(error)}") from error
        yield folder, UNREADABLE
        return
    for entry in entries:
        path = folder / entry.name
        why = _why_not(entry)
        if why is None and entry.is_dir(follow_symlinks=False):
            yield from _walk(path)
        else:
            yield path, why


def _why_not(entry: "os.DirEntry[str]") -> str | None:
    """Return why an entry of a folder is left out whatever it holds, or None."""
    if entry.name.startswith("."):
        return HIDDEN
    try:
        mode = entry.stat().st_mode
    except OSError:
        return BROKEN if entry.is_symlink() else None
    if stat.S_ISDIR(mode):
        return LINK if entry.is_symlink() else None
    return None if stat.S_ISREG(mode) else SPECIAL


def _kind_of_listed(path: Path) -> Kind:
    try:
        return kind_of(path)
    except OSError:  # reading it gives the reason, in a row of its own
        return Kind.IMAGE
