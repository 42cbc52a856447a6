"""Videos within `fervit predict`."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.cli.inference.outputs import STDOUT, Targets, new_name, progress, writing
from fervit.errors import ConfigError, MissingExtra, VideoError

if TYPE_CHECKING:
    from fervit.inference.recognizer import Recognizer
    from fervit.inference.tables import Result

WRITABLE = (".mp4", ".webm")


@dataclass(frozen=True)
class VideoOptions:
    """What `fervit predict` was told about videos.

    Attributes:
        annotate: an `.mp4` or `.webm` to write, or a folder for copies.
        timeline: a picture of expressions over time, to write.
        every: look only at every so many frames.
        detect_every: frames from one detection to the next.
        smooth_s: time constant of the smoothing.
    """

    annotate: Path | None = None
    timeline: Path | None = None
    every: int = 1
    detect_every: int = 3
    smooth_s: float = 0.2


def check_options(
    photos: Sequence[Path], videos: Sequence[Path], options: VideoOptions, targets: Targets, read: Sequence[Path] = ()
) -> None:
    """Refuse what cannot be meant, before anything is written.

    Args:
        photos: the photos among the inputs.
        videos: the videos among them.
        options: what was said about videos.
        targets: the result files.
        read: other files that must not be overwritten, such as the model.

    Raises:
        ConfigError: one file is named for the copies of several inputs, an input or another output would be
            overwritten, or a file of another kind was asked for.
        MissingExtra: a timeline or a Parquet file is wanted and what writes it is not installed.
    """
    from fervit.media.video import EXTENSIONS

    files: list[tuple[str, Path]] = []
    folders: list[tuple[str, Path]] = []
    if options.timeline is not None:
        if options.timeline.suffix.lower() != ".png":
            raise ConfigError(f"--timeline draws a picture: expected a name that ends in .png, got {options.timeline}")
        files.append(("--timeline", options.timeline))
    copy = options.annotate
    if copy is not None:
        with writing(str(copy)):
            one = copy.suffix.lower() in EXTENSIONS and not copy.is_dir()
        if one and copy.suffix.lower() not in WRITABLE:
            raise ConfigError(f"--annotate writes {' or '.join(WRITABLE)}, or into a folder; got {copy}")
        (files if one else folders).append(("--annotate", copy))
    for name, path in files:
        if len(videos) != 1 or (photos and name == "--annotate"):
            raise ConfigError(f"{name} {path} takes one video, got {len(videos)} and {len(photos)} photos")
    targets.check([*photos, *videos, *read], files, folders)
    if options.timeline is not None and find_spec("matplotlib") is None:
        raise MissingExtra("the timeline picture", "video")


def predict_videos(
    recognizer: "Recognizer",
    videos: Sequence[Path],
    options: VideoOptions,
    targets: Targets,
    write: Callable[["Result"], None],
    *,
    alone: bool,
) -> int:
    """Run over videos one by one; one that cannot be read is told, and the run goes on.

    Args:
        recognizer: what finds and judges faces.
        videos: the files.
        options: what was said about videos.
        targets: the result files.
        write: takes every frame's result.
        alone: there is one video, and no other input.

    Returns:
        How many of them could be read.

    Raises:
        VideoError: the only input could not be read.
    """
    read = 0
    for path in videos:
        try:
            _predict_video(recognizer, path, options, write, echo_err=targets.json == STDOUT)
            read += 1
        except VideoError as error:
            if alone:
                raise
            typer.echo(f"fervit: {' '.join(str(error).split())}", err=True)
    return read


def _predict_video(
    recognizer: "Recognizer", path: Path, options: VideoOptions, write: Callable[["Result"], None], *, echo_err: bool
) -> None:
    from fervit.inference.rows import printable
    from fervit.inference.timeline import Timeline
    from fervit.media.images import source_name
    from fervit.media.video import probe
    from fervit.media.video_writer import VideoWriter

    info = probe(path)
    name = printable(source_name(path))
    timeline = Timeline()
    copy = _copy_name(options.annotate, path)
    try:
        with contextlib.ExitStack() as stack:
            sink = None
            if copy is not None:
                sink = stack.enter_context(VideoWriter(copy, rate=info.rate / options.every))
            results = stack.enter_context(
                contextlib.closing(
                    recognizer.video(
                        path, every=options.every, detect_every=options.detect_every, smooth_s=options.smooth_s
                    )
                )
            )
            tick = stack.enter_context(progress(Path(name).name, info.duration_s, unit="s", quiet=False))
            for result in results:
                write(result)
                timeline.add(result)
                if sink is not None:
                    from fervit.media.draw import annotate

                    sink.write(annotate(result.frame.image, result.predictions), result.frame.time_s)
                tick(result.frame.time_s)
            if info.duration_s:
                tick(info.duration_s)  # the last frame begins before the end
    finally:  # also of what was done until Ctrl-C
        if timeline.frames:
            timeline.close()
            lines = list(timeline.summary())
            try:
                typer.echo("\n".join([f"{name}: {lines[0]}", *lines[1:]]), err=echo_err)
                if copy is not None:
                    typer.echo(f"annotated copy: {copy}", err=True)
            finally:  # nobody reading the summary costs no picture, and no picture costs no summary
                if options.timeline is not None:
                    timeline.save(options.timeline, title=name)


def _copy_name(target: Path | None, video: Path) -> Path | None:
    """Return the file for the annotated copy: the one that was named, or a new one in the folder."""
    if target is None:
        return None
    if target.suffix.lower() in WRITABLE and not target.is_dir():
        return target
    with writing(str(target)):
        target.mkdir(parents=True, exist_ok=True)
    return new_name(target, video.stem, ".mp4" if find_spec("av") else ".webm")
