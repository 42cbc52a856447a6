"""The loop of `fervit predict` over its files, under one progress bar."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fervit.cli._quiet import note
from fervit.cli._shared import STDOUT, bar
from fervit.cli.inference.photos import PhotoCounts, PhotoOptions, PhotoSinks
from fervit.cli.inference.video import VideoOptions, VideoSinks

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fervit.inference.inputs import Inputs
    from fervit.inference.recognizer import Recognizer
    from fervit.inference.runs.files import Event, RunOptions, Source
    from fervit.inference.runs.outputs import ResultWriter, Targets
    from fervit.inference.runs.progress import Workload
    from fervit.inference.runs.run import RunSummary

PROGRESS_FROM = 20  # photos; fewer are done before a bar helps


class Bar:
    """One bar over all files: how far, and how long it will still take.

    Args:
        workload: the frames of all files.
        names: the files, by which the present one is named.
        videos: whether there are videos; photos alone are counted.
        quiet: show nothing.
    """

    def __init__(self, workload: "Workload", names: Sequence[str], *, videos: bool, quiet: bool):
        self.workload, self._names = workload, names
        self._shown: Progress | None = None if quiet else bar(percent=videos)
        self._task: TaskID | None = None
        self._number = 0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown is not None and self._task is not None:
            self._shown.stop()

    def update(self, event: "Event") -> None:
        """Show what happened."""
        from fervit.inference.runs.files import Ended

        done = self.workload.update(event)
        self._number += isinstance(event, Ended)
        unread = isinstance(event, Ended) and event.record.error is not None
        if self._shown is not None and self._task is None and not unread:  # of what cannot be read, one line is enough
            self._shown.start()
            self._task = self._shown.add_task(self._text(), total=self.workload.total)
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, completed=done, description=self._text())

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar off the terminal while something else is printed."""
        if self._shown is None or self._task is None or not self._shown.console.is_terminal:
            yield
            return
        self._shown.live.transient = True
        self._shown.stop()
        self._shown.live.transient = False
        try:
            yield
        finally:
            self._shown.start()

    def _text(self) -> str:
        if len(self._names) == 1:
            return self._names[0]
        if self._number == len(self._names):
            return "predicting"
        return f"{self._number + 1}/{len(self._names)} {self._names[self._number]}"


def predict_files(
    recognizer: "Recognizer",
    files: "Inputs",
    out: "ResultWriter",
    run: "RunOptions",
    photos: PhotoOptions,
    clips: VideoOptions,
) -> "tuple[RunSummary, PhotoCounts]":
    """Run over all files; one that cannot be read is told of and has a row, and the run goes on.

    Raises:
        ImageError: nothing could be read.
        VideoError: the same, of videos.
    """
    from fervit.inference.rows import printable
    from fervit.inference.runs.progress import Workload
    from fervit.inference.runs.run import moving, not_done, started_summary
    from fervit.media.images import source_name

    todo = not_done(files, out)
    if out.done or out.begun:
        what = "files" if moving(files) else "images"
        note(f"{files.count - len(todo)} of {files.count} {what} were done before")
    if out.begun:
        note(f"{printable(out.begun.source)} goes on after {out.begun.last_s:.1f} s")
    summary = started_summary(files, todo, out)
    stills = [file for file in todo if not isinstance(file, str) and file not in set(files.videos)]
    sinks = PhotoSinks(stills, photos, out)
    videos = len(stills) < len(todo)
    names = [printable(Path(source_name(file)).name) for file in todo]
    quiet = not todo or (not videos and (rows_on_screen(out.targets) or len(todo) <= PROGRESS_FROM))
    with Bar(Workload(todo, moving(files), run.every), names, videos=videos, quiet=quiet) as shown:
        _run(recognizer, files, todo, run, out, shown, sinks, clips, summary)
    if not summary.answered:
        raise files.none_read()
    return summary, sinks.counts


def _run(
    recognizer: "Recognizer",
    files: "Inputs",
    todo: "Sequence[Source]",
    run: "RunOptions",
    out: "ResultWriter",
    shown: Bar,
    photos: PhotoSinks,
    clips: VideoOptions,
    summary: "RunSummary",
) -> None:
    from fervit.inference.results import FrameResult
    from fervit.inference.runs.files import Ended, Started
    from fervit.inference.runs.run import recorded

    video: VideoSinks | None = None
    told = out.failures.tell

    def tell(text: str) -> None:
        with shown.aside():
            told(text)

    out.failures.tell = tell
    with contextlib.closing(recorded(recognizer, files, todo, run, out, shown.workload.infos)) as events:
        try:
            for event in events:
                if isinstance(event, Started):
                    video = VideoSinks(event, clips, out)
                elif isinstance(event, FrameResult) and video is not None:
                    video.add(event)
                elif isinstance(event, Ended):
                    with shown.aside():
                        if video is not None:
                            video.close(complete=True)
                            video = None
                        _tell_of(event, photos)
                    summary.add(event.record)
                shown.update(event)
        finally:  # what was done until Ctrl-C is reported too
            out.failures.tell = told
            if video is not None:
                with shown.aside():
                    video.close(complete=False)


def _tell_of(event: "Event", photos: PhotoSinks) -> None:
    """Print a photo's lines, or why a video could not be read."""
    from fervit.inference.runs.files import Ended

    if not isinstance(event, Ended):
        return
    if event.record.kind == "photo" and event.result is not None and not isinstance(event.file, str):
        photos.add(event.file, event.result)
        return
    if event.record.error:
        typer.echo(f"fervit: {' '.join(event.record.error.split())}", err=True)


def rows_on_screen(targets: "Targets") -> bool:
    """Return whether rows show on the terminal, which are progress enough."""
    return (not targets.any or targets.json == STDOUT) and sys.stdout.isatty()
