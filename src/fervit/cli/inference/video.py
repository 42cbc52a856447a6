"""Videos within `fervit predict`."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.cli._quiet import note
from fervit.cli._shared import STDOUT
from fervit.errors import ConfigError, MissingExtra
from fervit.formatting import counted

if TYPE_CHECKING:
    from fervit.analysis.study import Collector
    from fervit.inference.inputs import File, Inputs
    from fervit.inference.results import FrameResult
    from fervit.inference.runs.failures import Failures
    from fervit.inference.runs.files import Started
    from fervit.inference.runs.outputs import ResultWriter, Targets

WRITABLE = (".mp4", ".webm")


@dataclass(frozen=True)
class VideoOptions:
    """The options of `fervit predict` for videos.

    Attributes:
        annotate: an `.mp4` or `.webm` to write, or a folder for copies.
        timeline: an image of expressions over time to write, or a folder for one of each video.
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


def check_options(inputs: "Inputs", options: VideoOptions, targets: "Targets", read: Sequence[Path] = ()) -> None:
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
    from fervit.inference.runs.outputs import writing
    from fervit.media.kinds import VIDEO_EXTENSIONS

    files: list[tuple[str, Path]] = []
    folders: list[tuple[str, Path]] = []
    if options.timeline is not None:
        with writing(str(options.timeline)):
            folder = options.timeline.is_dir() or not options.timeline.suffix
        if not folder and options.timeline.suffix.lower() not in FIGURE_SUFFIXES:
            raise ConfigError(
                f"--timeline draws an image: expected a name that ends in {', '.join(FIGURE_SUFFIXES)}, or a folder, "
                f"got {options.timeline}"
            )
        (folders if folder else files).append(("--timeline", options.timeline))
    many = _check_statistics(inputs, options)
    copy = options.annotate
    if copy is not None:
        with writing(str(copy)):
            one = copy.suffix.lower() in VIDEO_EXTENSIONS and not copy.is_dir()
        if one and copy.suffix.lower() not in WRITABLE:
            raise ConfigError(f"--annotate writes {' or '.join(WRITABLE)}, or into a folder; got {copy}")
        if one and copy.suffix.lower() == ".mp4" and find_spec("av") is None:
            raise MissingExtra("writing .mp4 (.webm works without)", "video")
        (files if one else folders).append(("--annotate", copy))
    for name, path in files:
        videos, photos = inputs.count - len(inputs.photos), len(inputs.photos)
        if videos != 1 or (photos and name == "--annotate"):
            found = f"{videos} and {counted(photos, 'photo')}"
            raise ConfigError(f"{name} {path} takes one video, got {found}: name a folder for one each")
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


def write_statistics(options: VideoOptions, out: "ResultWriter", collector: "Collector") -> None:
    """Write the statistics and events of all videos that were read; a failure of one does not prevent the other."""
    if not collector.sources:
        return
    from fervit.analysis.events import write_events

    study = collector.study()
    if options.stats is not None:
        with out.failures.tolerated(str(options.stats)):
            study.save(options.stats)
    if options.events is not None:
        with out.failures.tolerated(str(options.events)):
            write_events(study, options.events)


class VideoSinks:
    """Where a video's frames go beside the tables: the summary, the timeline, and the annotated copy.

    Args:
        started: the video, or the camera, with its header.
        options: the options for videos.
        out: the result files.
    """

    def __init__(self, started: "Started", options: VideoOptions, out: "ResultWriter"):
        from fervit.analysis.study import Collector
        from fervit.inference.timeline import Timeline

        self._collector = None if options.timeline is None else Collector()
        file, info = started.file, started.info
        self._file, self._options, self._out, self._before = file, options, out, started.before
        self.timeline = Timeline()
        self._copy: _Copy | None = None
        path: Path | None = None
        with out.failures.tolerated(str(options.annotate), ends=False):
            path = _copy_name(options.annotate, file)
        if path is not None:
            self._copy = _Copy(path, info.rate / options.every, file, out.failures)

    def add(self, result: "FrameResult") -> None:
        """Take the next frame's result."""
        self.timeline.add(result)
        if self._collector is not None:
            self._collector.add_result(result)
        if self._copy is not None:
            self._copy.write(result)

    def close(self, *, complete: bool) -> None:
        """Finish the copy, print the summary and save the figure; what was done until Ctrl-C is reported too."""
        if self._copy is not None:
            self._copy.close(complete=complete)
        if self.timeline.frames:
            self._report()

    def _report(self) -> None:
        """Print a video's summary and save its figure; a failure of one does not prevent the other."""
        failures, figure = self._out.failures, self._options.timeline
        self.timeline.close()
        after = "" if self._before is None else f", after {self._before.last_s:.1f} s"
        name = f"{_shown(self._file)}{after}"
        first, *others = self.timeline.summary()
        try:
            typer.echo("\n".join([f"{name}: {first}", *others]), err=self._out.targets.json == STDOUT)
            if self._copy is not None and str(self._copy.path) not in failures:
                note(f"annotated copy: {self._copy.path}")
        finally:
            if figure is not None and self._collector is not None:
                from fervit.analysis.timeline import draw_timeline
                from fervit.reports.figures.files import write_figure

                with failures.tolerated(str(figure), ends=False):
                    study, target = self._collector.study(), _figure_name(figure, self._file)
                    write_figure(draw_timeline(study, study.videos[0].source), target)
                    if target != figure:
                        note(f"timeline: {target}")


class _Copy:
    """The annotated copy of a video; whatever fails there, the run goes on without it.

    Args:
        path: the file to write.
        rate: frames/s on average.
        file: the video, whose sound is copied, or the address of a camera.
        failures: told of what failed.
    """

    def __init__(self, path: Path, rate: float, file: "File | str", failures: "Failures"):
        from fervit.media.video_writer import VideoWriter

        self.path, self._failures = path, failures
        self._writer: VideoWriter | None = None
        sound = None if isinstance(file, str) else file if isinstance(file, Path) else file.getvalue()
        with self._tolerated():
            self._writer = VideoWriter(path, rate=rate, sound=sound)

    def write(self, result: "FrameResult") -> None:
        """Append a frame."""
        from fervit.media.draw import annotate

        if self._writer is not None and str(self.path) not in self._failures:
            with self._tolerated():
                self._writer.write(annotate(result.frame.image, result.predictions), result.frame.time_s)

    def close(self, *, complete: bool) -> None:
        """Finish the file; where the run came to the video's end, with all of its sound."""
        if self._writer is not None:
            with self._tolerated():
                self._writer.close(complete=complete)

    @contextlib.contextmanager
    def _tolerated(self) -> Iterator[None]:
        from fervit.errors import FervitError, VideoError, reason

        with self._failures.tolerated(str(self.path), ends=False):
            try:
                yield
            except FervitError:
                raise
            except Exception as error:  # whatever a codec raises, the rows go on
                raise VideoError(f"cannot write {self.path}: {reason(error)}") from error


def _copy_name(target: Path | None, video: "File | str") -> Path | None:
    """Return the file for the annotated copy: the one that was named, or a new one in the folder."""
    if target is None:
        return None
    if target.suffix.lower() in WRITABLE and not target.is_dir():
        return target
    from fervit.inference.runs.outputs import new_name, writing

    with writing(str(target)):
        target.mkdir(parents=True, exist_ok=True)
    return new_name(target, "camera" if isinstance(video, str) else video.stem, ".mp4" if find_spec("av") else ".webm")


def _figure_name(target: Path, video: "File | str") -> Path:
    """Return the file for the timeline: the one that was named, or a new one in the folder."""
    from fervit.files import FIGURE_SUFFIXES
    from fervit.inference.runs.outputs import new_name, writing

    if target.suffix.lower() in FIGURE_SUFFIXES and not target.is_dir():
        return target
    with writing(str(target)):
        target.mkdir(parents=True, exist_ok=True)
    return new_name(target, "camera" if isinstance(video, str) else video.stem, ".png")


def _shown(path: "File | str") -> str:
    from fervit.inference.rows import printable
    from fervit.media.images import source_name

    return printable(source_name(path))
