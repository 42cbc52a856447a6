"""Photos within `fervit predict`."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.cli._shared import progress_towards
from fervit.cli.inference.outputs import ANNOTATE, ResultWriter, new_name, rows_on_screen, writing
from fervit.errors import ImageError

if TYPE_CHECKING:
    from fervit.inference.inputs import File
    from fervit.inference.recognizer import Recognizer
    from fervit.inference.results import ImageResult

PROGRESS_FROM = 20  # files; fewer are done before a bar helps


@dataclass(frozen=True)
class PhotoOptions:
    """The options of `fervit predict` for photos.

    Attributes:
        annotate: a folder for annotated copies, or None.
        batch_size: faces classified at once.
        resume: an earlier run's rows stay, and its photos are left out.
        detecting: faces are detected, so a run without any may have been given crops.
        tiled: large photos are searched tile by tile, too.
    """

    annotate: Path | None = None
    batch_size: int = 32
    resume: bool = False
    detecting: bool = True
    tiled: bool = False


@dataclass
class PhotoCounts:
    """How many photos there were to do, how many of them could be read, and how many faces they have.

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

        self.read += result.error is None
        self.faces += len(result.predictions)
        self.large_without += result.error is None and not result.predictions and may_hide_faces(result.size)

    def print(self, options: PhotoOptions) -> None:
        """Sum a run over several photos up on stderr; a single one only if it could not be read."""
        if self.total > 1 or self.read < self.total:
            failed = f", {self.total - self.read} could not be read" if self.read < self.total else ""
            typer.echo(f"{_count(self.total, 'image')}, {_count(self.faces, 'face')}{failed}", err=True)
        if not options.detecting:
            return
        if self.large_without and not options.tiled:
            photos = _count(self.large_without, "large photo")
            typer.echo(
                f"no face found in {photos}; to search for small faces, which takes longer, add --tile", err=True
            )
        elif self.read and not self.faces:
            typer.echo("no face found; for images that are face crops already, add --crop", err=True)


def predict_photos(
    recognizer: "Recognizer", files: Sequence["File"], options: PhotoOptions, out: ResultWriter, *, alone: bool
) -> PhotoCounts:
    """Run over photos; one that cannot be read has a row with its error.

    Args:
        recognizer: what finds and classifies faces.
        files: the photos.
        options: the options for photos.
        out: where every photo's result goes.
        alone: there is one photo, and no other input.

    Raises:
        ImageError: the only input could not be read.
    """
    todo = _not_done(files, out.done)
    counts = PhotoCounts(len(todo))
    if not todo:
        return counts
    show = None if out.targets.any else _table(todo)
    draw = None
    if options.annotate:
        with out.failures.tolerated(ANNOTATE):
            draw = _annotator(options.annotate)
    quiet = rows_on_screen(out.targets) or len(todo) <= PROGRESS_FROM
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(contextlib.closing(recognizer.images(todo, batch_size=options.batch_size)))
        tick = stack.enter_context(progress_towards(len(todo), "predicting", quiet=quiet))
        for count, (file, result) in enumerate(zip(todo, results, strict=True), start=1):
            if result.error is not None and alone:
                if options.resume:  # the files are open already, and its row may just have been cut off
                    out.write(result)
                raise ImageError(result.error)
            out.write(result)
            if show:
                show(result)
            if draw and result.error is None and ANNOTATE not in out.failures:
                with out.failures.tolerated(ANNOTATE):
                    draw(file, result)
            counts.add(result)
            tick(count)
    return counts


def _not_done(files: Sequence["File"], done: set[str]) -> list["File"]:
    from fervit.media.images import source_name

    todo = [file for file in files if source_name(file) not in done]
    if done:
        typer.echo(f"{len(files) - len(todo)} of {len(files)} images were done before", err=True)
    return todo


def _table(files: Sequence["File"]) -> Callable[["ImageResult"], None]:
    """Return a function that prints an image's lines, aligned over all files."""
    from fervit.inference.rows import NAME_WIDTH, columns, printable, table_lines
    from fervit.media.images import source_name

    width = min(NAME_WIDTH, max(columns(printable(source_name(file))) for file in files))

    def write(result: "ImageResult") -> None:
        with writing("stdout"):
            for line in table_lines(result, width):
                typer.echo(line)

    return write


def _annotator(folder: Path) -> Callable[["File", "ImageResult"], None]:
    """Return a function that writes an annotated copy under a name that no file has yet."""
    from fervit.media.draw import annotate
    from fervit.media.images import read_image, write_image

    with writing(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)

    def draw(file: "File", result: "ImageResult") -> None:
        suffix = ".jpg" if file.suffix.lower() in {".jpg", ".jpeg", ".jfif"} else ".png"
        write_image(new_name(folder, file.stem, suffix), annotate(read_image(file), result.predictions))

    return draw


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
