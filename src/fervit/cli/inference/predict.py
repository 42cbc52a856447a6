"""`fervit predict`."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import DETECTORS, MODEL
from fervit.cli.inference.outputs import Targets, new_name, open_tables, progress, rows_on_screen, writing
from fervit.cli.inference.video import VideoOptions, check_options, predict_videos
from fervit.errors import ConfigError, ImageError, VideoError

if TYPE_CHECKING:
    from fervit.inference.recognizer import Recognizer
    from fervit.inference.results import ImageResult
    from fervit.inference.tables import Result

AUTO_FROM = 200  # photos; OpenVINO starts a second later and gains 10 ms a face on one core
PROGRESS_FROM = 20  # files; fewer are done before a bar helps


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(predict)


def predict(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Photos, folders of photos, and videos.")],
    model: Annotated[Path | None, typer.Option(help=MODEL)] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write JSON lines, one a face, to FILE; - is stdout.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write CSV, one row a face.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Parquet, one row a face.")] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="Write copies with boxes and labels into this folder, or one video's as .mp4."
        ),
    ] = None,
    timeline: Annotated[Path | None, typer.Option(metavar="PNG", help="Draw a video's expressions over time.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Look only at every N-th frame of a video.")] = 1,
    detect_every: Annotated[
        int, typer.Option(min=1, help="Detect faces in every N-th frame of a video; interpolate between.")
    ] = 3,
    smooth: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Smooth a video's probabilities over time; 0: not.")
    ] = 0.2,
    skip_done: Annotated[
        bool, typer.Option("--skip-done", help="Skip pictures that the result files have already, and append.")
    ] = False,
    crop: Annotated[bool, typer.Option("--crop", help="The pictures are face crops already: do not detect.")] = False,
    detector: Annotated[str, typer.Option(help=DETECTORS)] = "auto",
    tile: Annotated[
        bool, typer.Option("--tile", help="Search big pictures tile by tile too: small faces in group photos.")
    ] = False,
    min_confidence: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Answer uncertain below this probability; `fervit evaluate --precision` computes one."
        ),
    ] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    runtime: Annotated[
        str, typer.Option(help="onnxruntime, openvino, or auto: the faster one that is installed.")
    ] = "auto",
) -> None:
    """Say what every face in photos, folders and videos shows."""
    from fervit.faces.detectors import make_detector
    from fervit.inference.loading import load

    photos, videos = _files(inputs)
    targets = Targets(json, csv, parquet)
    options = VideoOptions(annotate, timeline, every, detect_every, smooth)
    check_options(photos, videos, options, targets, read=[] if model is None else [model])
    if skip_done and (videos or not targets.files):
        raise ConfigError("--skip-done resumes a run over photos: it needs --json, --csv or --parquet, and no video")
    found = make_detector("none" if crop else detector, tile=tile and not crop)
    recognizer = load(
        model,
        detector=found,
        threads=threads,
        runtime=_runtime(runtime, len(photos), videos),
        min_confidence=min_confidence,
    )
    alone = len(photos) + len(videos) == 1
    with open_tables(targets, recognizer.spec.labels, errors=bool(photos), resume=skip_done) as (write, done):
        clips = predict_videos(recognizer, videos, options, targets, write, alone=alone)
        todo = _not_done(photos, done)
        read = faces = 0
        if todo:
            read, faces = _predict_photos(
                recognizer,
                todo,
                targets,
                write,
                annotate=annotate,
                batch_size=batch_size,
                alone=alone,
                resume=skip_done,
            )
        if not clips + read and len(todo) == len(photos):  # what was done before may have been read
            raise _none_read(len(photos), len(videos))
    _finish(len(todo), read, faces, detecting=not (crop or detector == "none"))


def _runtime(name: str, photos: int, videos: Sequence[Path]) -> str:
    """Return the runtime: for a few photos `auto` takes the one that starts at once."""
    return "onnxruntime" if name == "auto" and photos < AUTO_FROM and not videos else name


def _predict_photos(
    recognizer: "Recognizer",
    files: Sequence[Path],
    targets: Targets,
    write: Callable[["Result"], None],
    *,
    annotate: Path | None,
    batch_size: int,
    alone: bool,
    resume: bool,
) -> tuple[int, int]:
    """Run over photos; one that cannot be read has a row that says so.

    Args:
        recognizer: what finds and judges faces.
        files: the photos.
        targets: the result files.
        write: takes every photo's result.
        annotate: a folder for copies, or None.
        batch_size: faces classified at once.
        alone: the user gave one photo and nothing else.
        resume: an earlier run's rows stay.

    Returns:
        How many of them could be read, and the number of faces in them.

    Raises:
        ImageError: the only input could not be read.
    """
    read = faces = 0
    show = None if targets.any else _table(files)
    draw = _annotator(annotate) if annotate else None
    quiet = rows_on_screen(targets) or len(files) <= PROGRESS_FROM
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(contextlib.closing(recognizer.images(files, batch_size=batch_size)))
        tick = stack.enter_context(progress("predicting", len(files), unit="files", quiet=quiet))
        for count, (file, result) in enumerate(zip(files, results, strict=True), start=1):
            if result.error is not None and alone:
                if resume:  # the files are open already, and its row may just have been cut off
                    write(result)
                raise ImageError(result.error)
            write(result)
            if show:
                show(result)
            if draw and result.error is None:
                draw(file, result)
            read += result.error is None
            faces += len(result.predictions)
            tick(count)
    return read, faces


def _files(inputs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the named photos with those in the named folders, and the named videos, each once, in order.

    Raises:
        ImageError: a path does not exist, or a folder holds no picture.
    """
    from fervit.media.images import EXTENSIONS
    from fervit.media.video import EXTENSIONS as VIDEOS

    files: dict[Path, None] = {}
    for path in inputs:
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except OSError:  # the name is too long, or its folder closed to us: reading it tells which
            is_folder, exists = False, True
        if is_folder:
            found = _list(path)
            if not found:
                raise ImageError(f"no pictures in {path} (looked for {', '.join(sorted(EXTENSIONS))})")
            files.update(dict.fromkeys(found))
        elif exists:
            files[path] = None
        else:
            raise ImageError(f"no such file or folder: {path}")
    videos = [path for path in files if path.suffix.lower() in VIDEOS]
    return [path for path in files if path not in set(videos)], videos


def _list(folder: Path) -> list[Path]:
    from fervit.media.images import list_images

    try:
        return list_images(folder)
    except OSError as error:
        raise ImageError(f"the folder {folder} cannot be read: {error.strerror or error}") from error


def _not_done(files: Sequence[Path], done: set[str]) -> list[Path]:
    from fervit.media.images import source_name

    todo = [file for file in files if source_name(file) not in done]
    if done:
        typer.echo(f"{len(files) - len(todo)} of {len(files)} pictures were done before", err=True)
    return todo


def _table(files: Sequence[Path]) -> Callable[["ImageResult"], None]:
    """Return a function that prints a picture's lines, aligned over all files."""
    from fervit.inference.rows import NAME_WIDTH, columns, printable, table_lines
    from fervit.media.images import source_name

    width = min(NAME_WIDTH, max(columns(printable(source_name(file))) for file in files))

    def write(result: "ImageResult") -> None:
        with writing("stdout"):
            for line in table_lines(result, width):
                typer.echo(line)

    return write


def _annotator(folder: Path) -> Callable[[Path, "ImageResult"], None]:
    """Return a function that writes an annotated copy under a name that no file has yet."""
    from PIL import Image

    from fervit.media.draw import annotate
    from fervit.media.images import read_image

    with writing(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)

    def draw(file: Path, result: "ImageResult") -> None:
        suffix = ".jpg" if file.suffix.lower() in {".jpg", ".jpeg", ".jfif"} else ".png"
        copy = new_name(folder, file.stem, suffix)
        picture = annotate(read_image(file), result.predictions)
        with writing(str(copy)):
            Image.fromarray(picture).save(copy, quality=92)

    return draw


def _finish(total: int, read: int, faces: int, *, detecting: bool) -> None:
    """Sum a run over several pictures up on stderr; a single one only if it could not be read."""
    if total > 1 or read < total:
        broken = f", {total - read} could not be read" if read < total else ""
        pictures, found = (f"{n} {name}{'' if n == 1 else 's'}" for n, name in ((total, "picture"), (faces, "face")))
        typer.echo(f"{pictures}, {found}{broken}", err=True)
    if read and not faces and detecting:
        typer.echo("no face found; for pictures that are face crops already, add --crop", err=True)


def _none_read(photos: int, videos: int) -> ImageError | VideoError:
    """Return the error of a run over several inputs that were all broken."""
    if not photos:
        return VideoError(f"none of the {videos} videos could be read")
    return ImageError(f"none of the {photos + videos} {'inputs' if videos else 'pictures'} could be read")
