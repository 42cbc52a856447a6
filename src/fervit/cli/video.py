"""Videos within `fervit predict`."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.cli._shared import check_target
from fervit.cli.outputs import STDOUT, Targets, progress, writing
from fervit.errors import ConfigError, VideoError

if TYPE_CHECKING:
    from fervit.recognizer import Recognizer
    from fervit.tables import Result

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


def check_options(photos: Sequence[Path], videos: Sequence[Path], options: VideoOptions) -> None:
    """Refuse what cannot be meant, before anything is written.

    Raises:
        ConfigError: one file is named for the copies of several inputs, an input would be overwritten, or a file of
            another kind was asked for.
    """
    from fervit.video import EXTENSIONS

    if options.timeline is not None:
        if options.timeline.suffix.lower() != ".png":
            raise ConfigError(f"--timeline draws a picture: expected a name that ends in .png, got {options.timeline}")
        check_target("--timeline", str(options.timeline))
    single = [("--timeline", options.timeline)]
    copy = options.annotate
    if copy is not None and copy.suffix.lower() in EXTENSIONS and not copy.is_dir():
        if copy.suffix.lower() not in WRITABLE:
            raise ConfigError(f"--annotate writes {' or '.join(WRITABLE)}, or into a folder; got {copy}")
        single.append(("--annotate", copy))
    for name, path in single:
        if path is None:
            continue
        if len(videos) != 1 or (photos and name == "--annotate"):
            raise ConfigError(f"{name} {path} takes one video, got {len(videos)} and {len(photos)} photos")
        if path.resolve() == videos[0].resolve():
            raise ConfigError(f"{name} {path} would overwrite the video itself")


def predict_videos(
    recognizer: "Recognizer",
    videos: Sequence[Path],
    options: VideoOptions,
    targets: Targets,
    write: Callable[["Result"], None],
) -> None:
    """Run over videos one by one; one that cannot be read is told, and the run goes on.

    Raises:
        VideoError: not one of them could be read.
    """
    failed = 0
    for path in videos:
        try:
            _predict_video(recognizer, path, options, write, echo_err=targets.json == STDOUT)
        except VideoError as error:
            if len(videos) == 1:
                raise
            typer.echo(f"fervit: {error}", err=True)
            failed += 1
    if videos and failed == len(videos):
        raise VideoError(f"none of the {failed} videos could be read")


def _predict_video(
    recognizer: "Recognizer", path: Path, options: VideoOptions, write: Callable[["Result"], None], *, echo_err: bool
) -> None:
    from fervit.images import source_name
    from fervit.rows import printable
    from fervit.timeline import Timeline
    from fervit.video import VideoWriter, probe

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
                    from fervit.draw import annotate

                    sink.write(annotate(result.frame.image, result.predictions), result.frame.time_s)
                tick(result.frame.time_s)
            if info.duration_s:
                tick(info.duration_s)  # the last frame begins before the end
    finally:  # also of what was done until Ctrl-C
        if timeline.frames:
            timeline.close()
            if options.timeline is not None:
                timeline.save(options.timeline, title=name)
            lines = list(timeline.summary())
            typer.echo("\n".join([f"{name}: {lines[0]}", *lines[1:]]), err=echo_err)
            if copy is not None:
                typer.echo(f"annotated copy: {copy}", err=True)


def _copy_name(target: Path | None, video: Path) -> Path | None:
    """Return the file for the annotated copy: the one that was named, or a new one in the folder."""
    if target is None:
        return None
    if target.suffix.lower() in WRITABLE and not target.is_dir():
        return target
    from importlib.util import find_spec

    with writing(str(target)):
        target.mkdir(parents=True, exist_ok=True)
    suffix = ".mp4" if find_spec("av") else ".webm"
    copy, number = target / f"{video.stem}{suffix}", 1
    while copy.exists():
        number += 1
        copy = target / f"{video.stem}-{number}{suffix}"
    return copy
