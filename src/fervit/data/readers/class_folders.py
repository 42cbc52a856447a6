"""Find the class folders of a data set: under split folders or not, and under whatever folders wrap them."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fervit.data.decode import MAX_BYTES
from fervit.data.labelling.values import UNLABELLED
from fervit.data.splits import find_split
from fervit.errors import DataError
from fervit.files import kind_of
from fervit.formatting import file_size
from fervit.labels import KNOWN, canonical
from fervit.media.images import EXTENSIONS

SUFFIXES = tuple(sorted(EXTENSIONS))
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
SHOWN_NAMES = 6  # in a message, before it says how many more there are


@dataclass(frozen=True)
class ImageFile:
    """An image file: its path below the data set's folder, with `/`, and what tells that it was changed.

    Attributes:
        path: as above.
        size_bytes: its size; 0 for a link that leads nowhere.
        times_ns: when its content, and when anything about it, was changed last.
    """

    path: str
    size_bytes: int
    times_ns: tuple[int, int]


@dataclass(eq=False)
class Folder:
    """A folder with its image files and subfolders; hidden ones and those that begin with `__` are left out.

    Attributes:
        name: its own name.
        path: its path below the data set's folder, with `/`; empty for that folder itself.
        files: the image files that lie in it.
        folders: its subfolders.
        left_out: why which files with an image's name are none: named pipes, devices, huge files.
        others: the endings of its other files, such as `.heic`.
        empty: whether it holds nothing at all.
    """

    name: str
    path: str
    files: list[ImageFile] = field(default_factory=list)
    folders: list["Folder"] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    empty: bool = True

    @property
    def full(self) -> list["Folder"]:
        """The subfolders that hold an image, or an image further down; and empty ones named as an expression."""
        return [each for each in self.folders if each.has_images or (each.empty and canonical(each.name) in KNOWN)]

    @property
    def is_class(self) -> bool:
        """Whether it is named as an expression that public data sets have, or as images without labels."""
        return canonical(self.name) in KNOWN or self.name.lower() in UNLABELLED

    @property
    def has_images(self) -> bool:
        """Whether an image lies in it or further down."""
        return bool(self.files) or any(folder.has_images for folder in self.folders)

    def walk(self) -> Iterator["Folder"]:
        """Yield the folder and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()


@dataclass(frozen=True)
class ClassFolder:
    """A folder of images of one class: its label, its split if it has one, and the folder itself."""

    label: str
    split: str | None
    tree: Folder

    @property
    def files(self) -> list[ImageFile]:
        """The images in the folder and further down."""
        return [file for folder in self.tree.walk() for file in folder.files]


@dataclass
class Layout:
    """How a folder is read.

    Attributes:
        classes: its class folders.
        inside: the folder that holds these, or their split folders, where it is not the folder itself.
        notes: in words what its owner may not expect.
    """

    classes: list[ClassFolder] = field(default_factory=list)
    inside: str = ""
    notes: list[str] = field(default_factory=list)


def scan(root: Path) -> Folder:
    """Return the tree of folders and image files below `root`.

    Links to folders are followed once, unless they lead up or to another part of the tree.

    Raises:
        OSError: a folder cannot be read.
    """
    return _scan(root, Folder(root.name, ""), root.resolve(), linked=False)


def read_layout(root: Folder, where: str) -> Layout:
    """Return the class folders of a tree.

    Raises:
        DataError: it holds several data sets.
    """
    layout = Layout()
    _read(root, where, layout)
    if layout.inside:
        layout.notes.insert(0, f"the class folders are looked for in {layout.inside}")
    others = Counter(ending for found in layout.classes for each in found.tree.walk() for ending in each.others)
    if others:
        endings = ", ".join(f"{ending or 'without one'} {count:,}" for ending, count in others.most_common())
        layout.notes.append(f"{others.total():,} files in class folders have no image's ending: {endings}")
    used = {file.path for found in layout.classes for file in found.files}
    loose = [file.path for folder in root.walk() for file in folder.files if file.path not in used]
    if layout.classes and loose:
        layout.notes.append(f"{len(loose):,} images lie in no class folder and are left out, such as {loose[0]}")
    if odd := [text for folder in root.walk() for text in folder.left_out]:
        layout.notes.append(f"{len(odd):,} files are no images to read and are left out: {odd[0]}")
    return layout


def _scan(path: Path, folder: Folder, root: Path, *, linked: bool) -> Folder:
    with os.scandir(path) as found:
        items = sorted(found, key=lambda item: item.name)
    folder.empty = not items
    for item in items:
        below = f"{folder.path}/{item.name}".lstrip("/")
        if _is_folder(item) and not item.name.startswith((".", "__")):
            link = item.is_symlink()
            if link and (linked or _leads_back(Path(item.path), root)):
                continue
            folder.folders.append(_scan(Path(item.path), Folder(item.name, below), root, linked=linked or link))
        elif item.name.lower().endswith(SUFFIXES) and not item.name.startswith("."):
            _add_file(folder, item, below)
        elif item.name.lower() not in SYSTEM_FILES and not item.name.startswith(".") and not _is_folder(item):
            folder.others.append(Path(item.name).suffix.lower())
    return folder


def _is_folder(item: "os.DirEntry[str]") -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def _leads_back(link: Path, root: Path) -> bool:
    """Return whether a link leads into the tree, or to a folder that the tree lies in."""
    target = link.resolve()
    return target.is_relative_to(root) or root.is_relative_to(target)


def _add_file(folder: Folder, item: "os.DirEntry[str]", below: str) -> None:
    try:
        status = item.stat()
    except OSError:  # a dead link: reported with the images that cannot be read
        folder.files.append(ImageFile(below, 0, (0, 0)))
        return
    if not stat.S_ISREG(status.st_mode):
        folder.left_out.append(f"{below} is {kind_of(status.st_mode)}")
    elif status.st_size > MAX_BYTES:
        folder.left_out.append(f"{below} has {file_size(status.st_size)}, more than {file_size(MAX_BYTES)}")
    else:
        folder.files.append(ImageFile(below, status.st_size, (status.st_mtime_ns, status.st_ctime_ns)))


def _read(folder: Folder, where: str, layout: Layout) -> None:
    """Add the class folders below `folder`; descend where it only wraps what is meant."""
    inside = folder.full
    splits = _split_folders(folder)
    if splits:
        _read_splits(folder, splits, layout)
        return
    if _splits_within_classes(inside):
        for each in inside:
            layout.classes += [ClassFolder(each.name, split.name, split) for split in each.full]
        return
    wrapped = [each for each in inside if _split_folders(each)] or (
        [each for each in inside if len(inside) == 1 and each.full and not each.is_class]
    )
    if len(wrapped) > 1 or _several_sets(inside):
        several = wrapped if len(wrapped) > 1 else inside
        names = ", ".join(each.name for each in several[:SHOWN_NAMES])
        more = f" and {len(several) - SHOWN_NAMES:,} more" if len(several) > SHOWN_NAMES else ""
        raise DataError(
            f"{where} holds several data sets ({names}{more}): pass one of these folders, or a folder with the class "
            "folders on top"
        )
    if wrapped:
        layout.inside = wrapped[0].path
        _leave_out(inside, wrapped, layout)
        _read(wrapped[0], where, layout)
        return
    layout.classes += [ClassFolder(each.name, None, each) for each in inside]


def _split_folders(folder: Folder) -> list[Folder]:
    """Return the subfolders that are named as a split and hold folders with images."""
    return [each for each in folder.folders if find_split(each.name) is not None and each.full]


def _splits_within_classes(folders: list[Folder]) -> bool:
    """Return whether the layout is angry/train/x.jpg: in every folder, there are images in split folders only."""
    return bool(folders) and all(
        each.full and not each.files and all(find_split(inner.name) and inner.files for inner in each.full)
        for each in folders
    )


def _several_sets(folders: list[Folder]) -> bool:
    """Return whether several folders, none of them an expression, have the folders of expressions inside."""
    inner = [{folder.name for folder in each.full if folder.is_class} for each in folders]
    alone = len(folders) < 2 or any(each.is_class for each in folders)
    return not alone and all(inner) and len(set().union(*inner)) > 1


def _read_splits(folder: Folder, splits: list[Folder], layout: Layout) -> None:
    _leave_out(folder.full, splits, layout)
    common = {each.name for split in splits if len(split.full) > 1 for each in split.full}
    for split in splits:
        level = split
        while len(level.full) == 1 and not level.files:
            (only,) = level.full
            if not only.full or only.is_class or only.name in common:
                break
            level = only
        if level is not split:
            layout.notes.append(f"the class folders of {split.path} are looked for in {level.path}")
        layout.classes += [ClassFolder(each.name, split.name, each) for each in level.full]


def _leave_out(inside: list[Folder], kept: list[Folder], layout: Layout) -> None:
    others = [each.path for each in inside if each not in kept]
    if others:
        layout.notes.append(f"{', '.join(others)} beside {', '.join(each.path for each in kept)} left out")
