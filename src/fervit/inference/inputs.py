"""What a command's inputs name: photos, videos, cameras; and what lies in their folders but is left out."""

import fnmatch
import glob
import io
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
NOT_INCLUDED, EXCLUDED = "not included", "excluded"
PLURALS = {
    LINK: "links to folders",
    BROKEN: "broken links",
    SPECIAL: "pipes or devices",
    UNREADABLE: "unreadable folders",
    VIDEO: "videos",
}
ONLY_ONE = "the only input could not be read"
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
        files: photos and videos together, in the order in which they were named.
        searched: a folder was searched, so that there may be several inputs another time.
    """

    photos: Sequence[File]
    videos: Sequence[File]
    cameras: Sequence[str] = ()
    skipped: Sequence[Skipped] = ()
    files: Sequence[File] = ()
    searched: bool = False

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
        """Whether one input was named, and no folder."""
        return self.count == 1 and not self.searched

    def none_read(self) -> ImageError | VideoError:
        """Return the error of a run over several inputs, none of which could be read."""
        if not self.photos:
            return VideoError(f"none of the {self.count} videos could be read" if self.count > 1 else ONLY_ONE)
        what = "inputs" if self.count > len(self.photos) else "images"
        return ImageError(f"none of the {self.count} {what} could be read" if self.count > 1 else ONLY_ONE)


@dataclass(frozen=True)
class _Wanted:
    """What is taken from folders: see `find_inputs`; `outputs` are absolute."""

    videos: bool
    include: Sequence[str]
    exclude: Sequence[str]
    outputs: Sequence[Path]

    def why_not(self, path: Path, folder: Path) -> str | None:
        """Return why a file is left out by its name, or None."""
        parts = path.relative_to(folder).parts
        names = {*parts, *("/".join(parts[:k]) for k in range(1, len(parts) + 1))}
        if self.include and not _fits(names, self.include):
            return NOT_INCLUDED
        return EXCLUDED if _fits(names, self.exclude) else None

    def is_output(self, path: Path, folder: Path) -> bool:
        """Return whether the run itself writes a file: a table, what lies beside it, or into a folder of copies."""
        path, folder = path.absolute(), folder.absolute()
        for output in self.outputs:
            scratch = path.parent == output.parent and path.name.startswith(f".{output.name.split('.')[0][:40]}-")
            if path == output or scratch or (folder in output.parents and output in path.parents):
                return True
        return False


def _fits(names: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name.casefold(), pattern.casefold().removesuffix("/"))
        for pattern in patterns
        for name in names
    )


def find_inputs(
    inputs: Sequence[str | File],
    *,
    videos: bool = True,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    outputs: Sequence[Path] = (),
) -> Inputs:
    """Return the named files with those in the named folders, sorted into photos and videos by their content.

    A folder is searched with the folders in it. A name that no file has may be a pattern, such as `*.jpg`, because not
    every shell expands them.

    Args:
        inputs: paths, patterns, addresses of cameras, and what came on standard input.
        videos: take the videos in folders; else they are among the skipped.
        include: patterns such as `*.mp4`, one of which a file in a folder must fit; without any, all do.
        exclude: patterns that a file in a folder must not fit, such as `*_raw.*` or `pilot/*`. A pattern is compared
            with a file's name, with its path from the named folder on, and with those of the folders it lies in; the
            case of letters does not count, and `*` stands for a `/` too.
        outputs: files and folders that the run writes; in a folder that is searched they are passed over.

    Raises:
        ImageError: a path does not exist, a folder cannot be read, or holds no image and no video.
        VideoError: an address is that of a file, or holds one.
    """
    found: dict[File, Kind] = {}
    cameras: dict[str, None] = {}
    skipped: list[Skipped] = []
    wanted, searched = _Wanted(videos, include, exclude, [path.absolute() for path in outputs]), False
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
                searched = True
                found.update(_in_folder(path, skipped, wanted))
            else:
                found.setdefault(path, _kind_of_named(path))
    moving = [path for path, kind in found.items() if kind in MOVING]
    still = [path for path, kind in found.items() if kind not in MOVING]
    return Inputs(still, moving, list(cameras), list(dict.fromkeys(skipped)), list(found), searched)


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


def _in_folder(folder: Path, skipped: list[Skipped], wanted: _Wanted) -> list[tuple[File, Kind]]:
    """Return what is taken from a folder, by path; add what is not to `skipped`."""
    taken: list[tuple[File, Kind]] = []
    before = len(skipped)
    for path, why in _walk(folder, top=True):
        if wanted.is_output(path, folder):
            continue
        why = why or wanted.why_not(path, folder)
        kind = Kind.OTHER if why else _kind_of_listed(path)
        if kind in MOVING and not wanted.videos:
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
