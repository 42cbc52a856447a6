"""Videos within `fervit predict`."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.cli._shared import STDOUT, progress_towards
from fervit.cli.inference.failures import Failures
from fervit.cli.inference.outputs import ResultWriter, Targets, new_name, writing
from fervit.errors import ConfigError, MissingExtra, VideoError

if TYPE_CHECKING:
    from fervit.analysis.study import Collector
    from fervit.inference.inputs import File, Inputs
    from fervit.inference.recognizer import Recognizer
    from fervit.inference.results import FrameResult
    from fervit.inference.timeline import Timeline
    from fervit.media.video import VideoInfo

WRITABLE = (".mp4", ".webm")


@dataclass(frozen=True)
class VideoOptions:
    """The options of `fervit predict` for videos.

    Attributes:
        annotate: an `.mp4` or `.webm` to write, or a folder for copies.
        timeline: an image of expressions over time, to write.
        every: look only at every so many frames.
        detect_every: frames from one detection to the next.
        smooth_s: time constant of the smoothing.
        stats: a file for the statistics of all videos.
        events: a file for the episodes of all videos.
    """

    annotate: Path | None = None
    timeline: Path | None = None
    every: int = 1
    detect_every: int = 3
    smooth_s: float = 0.2
    stats: Path | None = None
    events: Path | None = None


def check_options(inputs: "Inputs", options: VideoOptions, targets: Targets, read: Sequence[Path] = ()) -> None:
    """Refuse what cannot be meant, before anything is written.

    Args:
        inputs: the photos and videos.
        options: the options for videos.
        targets: the result files.
        read: other files that must not be overwritten, such as the model.

    Raises:
        ConfigError: one file is named for the copies of several inputs, an input or another output would be
            overwritten, or a file of another kind was asked for.
        MissingExtra: a timeline or a Parquet file is wanted and what writes it is not installed.
    """
    from fervit.files import FIGURE_SUFFIXES
    from fervit.media.kinds import VIDEO_EXTENSIONS

    files: list[tuple[str, Path]] = []
    folders: list[tuple[str, Path]] = []
    if options.timeline is not None:
        if options.timeline.suffix.lower() not in FIGURE_SUFFIXES:
            raise ConfigError(
                f"--timeline draws an image: expected a name that ends in {', '.join(FIGURE_SUFFIXES)}, "
                f"got {options.timeline}"
            )
        files.append(("--timeline", options.timeline))
    many = _check_statistics(inputs, options)
    copy = options.annotate
    if copy is not None:
        with writing(str(copy)):
            one = copy.suffix.lower() in VIDEO_EXTENSIONS and not copy.is_dir()
        if one and copy.suffix.lower() not in WRITABLE:
            raise ConfigError(f"--annotate writes {' or '.join(WRITABLE)}, or into a folder; got {copy}")
        (files if one else folders).append(("--annotate", copy))
    for name, path in files:
        videos, photos = inputs.count - len(inputs.photos), len(inputs.photos)
        if videos != 1 or (photos and name == "--annotate"):
            raise ConfigError(f"{name} {path} takes one video, got {videos} and {photos} photos")
    targets.check([*inputs.paths, *read], [*files, *many], folders)
    if options.timeline is not None and find_spec("matplotlib") is None:
        raise MissingExtra("the timeline figure", "video")


def _check_statistics(inputs: "Inputs", options: VideoOptions) -> list[tuple[str, Path]]:
    """Return the files for statistics and events, each after its option."""
    from fervit.analysis.events import check_events
    from fervit.analysis.frames import check_statistics

    checks = (("--stats", options.stats, check_statistics), ("--events", options.events, check_events))
    files = [(name, check(path)) for name, path, check in checks if path is not None]
    videos = inputs.count - len(inputs.photos)
    for name, path in files:
        if not videos:
            raise ConfigError(f"{name} {path} takes videos, got {len(inputs.photos)} photos")
        if path.suffix.lower() == ".eaf" and videos > 1:
            raise ConfigError(f"{name} {path} takes one video, got {videos}: name a .tsv, or run fervit study TABLE")
    return files


def write_statistics(options: VideoOptions, out: ResultWriter) -> None:
    """Write the statistics and events of all videos that were read; a failure of one does not prevent the other."""
    if out.collector is None or not out.collector.sources:
        return
    from fervit.analysis.events import write_events

    study = out.collector.study()
    if options.stats is not None:
        with out.failures.tolerated(str(options.stats)):
            study.save(options.stats)
    if options.events is not None:
        with out.failures.tolerated(str(options.events)):
            write_events(study, options.events)


def predict_videos(
    recognizer: "Recognizer", videos: Sequence["File | str"], options: VideoOptions, out: ResultWriter, *, alone: bool
) -> int:
    """Run over videos one by one; one that cannot be read is reported, and the run goes on.

    Args:
        recognizer: what finds and classifies faces.
        videos: the files, and the addresses of cameras.
        options: the options for videos.
        out: where every frame's result goes.
        alone: there is one video, and no other input.

    Returns:
        How many of them could be read.

    Raises:
        VideoError: the only input could not be read.
    """
    from fervit.inference.results import ImageResult
    from fervit.media.images import source_name

    read = 0
    for path in videos:
        try:
            _predict_video(recognizer, path, options, out)
            read += 1
        except VideoError as error:
            if alone:
                raise
            typer.echo(f"fervit: {' '.join(str(error).split())}", err=True)
            out.note([ImageResult(source_name(path), error=str(error))])
    return read


def _predict_video(recognizer: "Recognizer", path: "File | str", options: VideoOptions, out: ResultWriter) -> None:
    from fervit.analysis.study import Collector
    from fervit.inference.timeline import Timeline
    from fervit.media.video import FALLBACK_RATE, VideoInfo, probe

    info = VideoInfo(0, 0, FALLBACK_RATE, None, None) if isinstance(path, str) else probe(path)
    copy = None
    with out.failures.tolerated(str(options.annotate)):
        copy = _copy_name(options.annotate, path)
    sinks = _Sinks(out, Timeline(), copy, None if options.timeline is None else Collector())
    try:
        _run(recognizer, path, info, options, sinks)
    finally:  # what was done until Ctrl-C is reported too
        if sinks.timeline.frames:
            _report(sinks, path, options.timeline)


@dataclass(frozen=True)
class _Sinks:
    """Where a video's results go: result files, summary, the annotated copy and the figure, if any."""

    out: ResultWriter
    timeline: "Timeline"
    copy: Path | None
    collector: "Collector | None" = None


def _run(recognizer: "Recognizer", path: "File | str", info: "VideoInfo", options: VideoOptions, sinks: _Sinks) -> None:
    with contextlib.ExitStack() as stack:
        copy = None
        if sinks.copy is not None:
            copy = stack.enter_context(_copying(sinks.copy, info.rate / options.every, sinks.out.failures))
        if isinstance(path, str):
            frames = recognizer.webcam(path, every=options.every, smooth_s=options.smooth_s)
        else:
            frames = recognizer.video(
                path, every=options.every, detect_every=options.detect_every, smooth_s=options.smooth_s
            )
        results = stack.enter_context(contextlib.closing(frames))
        tick = stack.enter_context(progress_towards(info.duration_s, Path(_shown(path)).name, percent=True))
        for result in results:
            sinks.out.write(result)
            sinks.timeline.add(result)
            if sinks.collector is not None:
                sinks.collector.add_result(result)
            if copy is not None:
                copy(result)
            tick(result.frame.time_s)
        if info.duration_s:
            tick(info.duration_s)  # the last frame begins before the end


@contextlib.contextmanager
def _copying(path: Path, rate: float, failures: Failures) -> Iterator[Callable[["FrameResult"], None]]:
    """Yield a function that appends a frame to the annotated copy; where that fails, the run goes on without it."""
    from fervit.media.draw import annotate
    from fervit.media.video_writer import VideoWriter

    name, writer = str(path), None
    with failures.tolerated(name):
        writer = VideoWriter(path, rate=rate)

    def write(result: "FrameResult") -> None:
        if writer is not None and name not in failures:
            with failures.tolerated(name):
                writer.write(annotate(result.frame.image, result.predictions), result.frame.time_s)

    try:
        yield write
    finally:
        if writer is not None:
            with failures.tolerated(name):
                writer.close()


def _report(sinks: _Sinks, path: "File | str", figure: Path | None) -> None:
    """Print a video's summary and save its figure; a failure of one does not prevent the other."""
    timeline, failures = sinks.timeline, sinks.out.failures
    timeline.close()
    name = _shown(path)
    first, *others = timeline.summary()
    try:
        typer.echo("\n".join([f"{name}: {first}", *others]), err=sinks.out.targets.json == STDOUT)
        if sinks.copy is not None and str(sinks.copy) not in failures:
            typer.echo(f"annotated copy: {sinks.copy}", err=True)
    finally:
        if figure is not None and sinks.collector is not None:
            from fervit.analysis.timeline import draw_timeline
            from fervit.reports.figures.files import write_figure

            with failures.tolerated(str(figure)):
                study = sinks.collector.study()
                write_figure(draw_timeline(study, study.videos[0].source), figure)


def _copy_name(target: Path | None, video: "File | str") -> Path | None:
    """Return the file for the annotated copy: the one that was named, or a new one in the folder."""
    if target is None:
        return None
    if target.suffix.lower() in WRITABLE and not target.is_dir():
        return target
    with writing(str(target)):
        target.mkdir(parents=True, exist_ok=True)
    return new_name(target, "camera" if isinstance(video, str) else video.stem, ".mp4" if find_spec("av") else ".webm")


def _shown(path: "File | str") -> str:
    from fervit.inference.rows import printable
    from fervit.media.images import source_name

    return printable(source_name(path))
