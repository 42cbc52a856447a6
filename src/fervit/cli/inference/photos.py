"""Photos within `fervit predict`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.cli._quiet import note
from fervit.formatting import counted

if TYPE_CHECKING:
    from fervit.inference.inputs import File
    from fervit.inference.results import ImageResult
    from fervit.inference.runs.outputs import ResultWriter

ANNOTATE = "--annotate"


@dataclass(frozen=True)
class PhotoOptions:
    """The options of `fervit predict` for photos.

    Attributes:
        annotate: a folder for annotated copies, or None.
        detecting: faces are detected, so a run without any may have been given crops.
        tiled: large photos are searched tile by tile, too.
    """

    annotate: Path | None = None
    detecting: bool = True
    tiled: bool = False


@dataclass
class PhotoCounts:
    """How many photos there were, how many of them could be read, and how many faces they have.

    Attributes:
        large_without: large photos in which no face was found.
    """

    total: int = 0
    read: int = 0
    faces: int = 0
    large_without: int = 0

    def add(self, result: "ImageResult") -> None:
        """Count a photo's result."""
        from fervit.faces.finder import may_hide_faces

        self.total += 1
        self.read += result.error is None
        self.faces += len(result.predictions)
        self.large_without += result.error is None and not result.predictions and may_hide_faces(result.size)

    def print(self, options: PhotoOptions) -> None:
        """Sum a run over several photos up on stderr; a single one only if it could not be read."""
        if self.total > 1 or self.read < self.total:
            failed = f", {self.total - self.read} could not be read" if self.read < self.total else ""
            note(f"{counted(self.total, 'image')}, {counted(self.faces, 'face')}{failed}")
        if not options.detecting:
            return
        if self.large_without and not options.tiled:
            photos = counted(self.large_without, "large photo")
            note(f"no face found in {photos}; to search for small faces, which takes longer, add --tile")
        elif self.read and not self.faces:
            note("no face found; for images that are face crops already, add --crop")


class PhotoSinks:
    """Where a run's photos go beside the tables: lines on the screen, annotated copies, and the count at the end.

    Args:
        files: the photos.
        options: the options for photos.
        out: the result files; without any, each photo has its lines on the screen.
    """

    def __init__(self, files: Sequence["File"], options: PhotoOptions, out: "ResultWriter"):
        self.counts, self._out = PhotoCounts(), out
        self._show = None if out.targets.any or not files else _table(files)
        self._draw = None
        if options.annotate and files:
            with out.failures.tolerated(ANNOTATE, ends=False):
                self._draw = _annotator(options.annotate)

    def add(self, file: "File", result: "ImageResult") -> None:
        """Take the next photo's result."""
        if self._show:
            self._show(result)
        if self._draw and result.error is None and ANNOTATE not in self._out.failures:
            with self._out.failures.tolerated(ANNOTATE, ends=False):
                self._draw(file, result)
        self.counts.add(result)


def _table(files: Sequence["File"]) -> Callable[["ImageResult"], None]:
    """Return a function that prints an image's lines, aligned over all files."""
    from fervit.inference.rows import NAME_WIDTH, columns, printable, table_lines
    from fervit.inference.runs.outputs import writing
    from fervit.media.images import source_name

    width = min(NAME_WIDTH, max(columns(printable(source_name(file))) for file in files))

    def write(result: "ImageResult") -> None:
        with writing("stdout"):
            for line in table_lines(result, width):
                typer.echo(line)

    return write


def _annotator(folder: Path) -> Callable[["File", "ImageResult"], None]:
    """Return a function that writes an annotated copy under a name that no file has yet."""
    from fervit.inference.runs.outputs import new_name, writing
    from fervit.media.draw import annotate
    from fervit.media.images import read_image, write_image

    with writing(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)

    def draw(file: "File", result: "ImageResult") -> None:
        suffix = ".jpg" if file.suffix.lower() in {".jpg", ".jpeg", ".jfif"} else ".png"
        write_image(new_name(folder, file.stem, suffix), annotate(read_image(file), result.predictions))

    return draw
