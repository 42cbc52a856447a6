"""One run over photos, videos and cameras, file by file, in the order in which they were named."""

import contextlib
import functools
import itertools
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fervit.errors import VideoError, check_counts
from fervit.faces.tracking import PATIENCE_S, Smoother, Tracker
from fervit.inference.classifier import BATCH_SIZE
from fervit.inference.inputs import File
from fervit.inference.people import People, one_face
from fervit.inference.recognizer import DETECT_EVERY, SMOOTH_S, Recognizer
from fervit.inference.results import FrameResult, ImageResult
from fervit.inference.runs.sidecar import SourceRecord, Unfinished
from fervit.inference.videos.points import ResumePoint
from fervit.media.camera import camera_name
from fervit.media.images import source_name
from fervit.media.video import FALLBACK_RATE, VideoInfo, probe, read_frames

CUT_S = 1.0  # a video that ends so much before its header says is told of
CUT_FRACTION = 0.05  # or by so much of its length, where that is more
Source: TypeAlias = File | str
"""A file, or the address of a camera."""


@dataclass(frozen=True)
class RunOptions:
    """How the files of a run are looked at.

    Attributes:
        every: look only at every so many frames of a video.
        detect_every: frames from one detection to the next.
        smooth_s: time constant of the smoothing of each track's probabilities.
        batch_size: faces of photos that are classified at once.
        patience_s: a face that is lost for no longer keeps its track.
        one_face: one face a frame of each video: `largest`, `central` or `longest` (see `one_face`).
        people: who the tracks are.
        reconnect_s: for so long it is tried to connect again to a camera that was lost (see `Recognizer.webcam`).
        workers: files that are looked at at a time, each in a process of its own where these are several.
        images: results that come from other processes have their frames' images, which are read a second time.

    Raises:
        ConfigError: `smooth_s` or `patience_s` is no time, or another one is no whole number from 1.
    """

    every: int = 1
    detect_every: int = DETECT_EVERY
    smooth_s: float = SMOOTH_S
    batch_size: int = BATCH_SIZE
    patience_s: float = PATIENCE_S
    one_face: str | None = None
    people: People | None = None
    reconnect_s: float | None = None
    workers: int = 1
    images: bool = True

    def __post_init__(self) -> None:
        check_counts(every=self.every, detect_every=self.detect_every, batch_size=self.batch_size, workers=self.workers)
        Smoother(self.smooth_s)
        Tracker(patience_s=self.patience_s)


@dataclass(frozen=True)
class Started:
    """A video or a camera begins; its frames follow.

    Attributes:
        file: the file, or the address of a camera.
        info: its header.
        before: how far an earlier run came in it; the frames after that follow.
    """

    file: Source
    info: VideoInfo
    before: Unfinished | None = None


@dataclass(frozen=True)
class Reached:
    """So far a video is: a point from which a run that is interrupted goes on."""

    unfinished: Unfinished


@dataclass(frozen=True)
class Ahead:
    """So many frames and photos of later files are done, where several files are looked at at a time."""

    frames: int


@dataclass(frozen=True)
class Ended:
    """A source is finished.

    Attributes:
        file: the file, or the address of a camera.
        record: what was found out about it.
        result: a photo's result, or that of a file that could not be read; None after a video, whose frames came
            before.
    """

    file: Source
    record: SourceRecord
    result: ImageResult | None = None


Event: TypeAlias = Started | FrameResult | Reached | Ahead | Ended


def run_files(
    recognizer: Recognizer,
    files: Sequence[Source],
    videos: Sequence[Source],
    options: RunOptions,
    infos: Mapping[Source, VideoInfo] | None = None,
    begun: Unfinished | None = None,
) -> Generator[Event]:
    """Yield what happens in a run over files; one that cannot be read ends with its error, and the run goes on.

    Photos that follow each other are decoded ahead and classified together, as by `Recognizer.images`.

    Args:
        recognizer: what finds and classifies faces.
        files: photos, videos and the addresses of cameras, in the order of the run.
        videos: those of `files` that are videos or cameras.
        options: how they are looked at.
        infos: headers that were read before; the others are read now.
        begun: how far an earlier run came in one of the videos.

    Raises:
        ConfigError: one of the options is out of range.
    """
    moving, infos = set(videos), infos or {}
    for is_video, group in itertools.groupby(files, key=lambda file: file in moving):
        if is_video:
            for file in group:
                before = begun if begun is not None and begun.source == source_name(file) else None
                yield from _video(recognizer, file, options, infos.get(file), before)
        else:
            yield from _photos(recognizer, [file for file in group if not isinstance(file, str)], options)


def settings_of(recognizer: Recognizer, options: RunOptions) -> dict[str, object]:
    """Return whatever changes the rows of a run, by name; a run can be resumed only with the same."""
    spec = recognizer.spec
    return {
        "model": spec.name or spec.arch,
        "labels": list(spec.labels),
        "detector": str(getattr(recognizer.detector, "name", type(recognizer.detector).__name__)),
        "min_confidence": recognizer.min_confidence,
        "every": options.every,
        "detect_every": options.detect_every,
        "smooth_s": options.smooth_s,
        "patience_s": options.patience_s,
        "one_face": options.one_face,
        "people": None if options.people is None else [[*key, name] for key, name in options.people.names.items()],
    }


def _photos(recognizer: Recognizer, files: Sequence[File], options: RunOptions) -> Generator[Ended]:
    with contextlib.closing(recognizer.images(files, batch_size=options.batch_size)) as results:
        for file, result in zip(files, results, strict=True):
            width, height = result.size or (None, None)
            record = SourceRecord(
                result.source,
                "photo",
                rows=rows_of(result),
                frames=int(result.error is None),
                width=width,
                height=height,
                bytes=size_of(file),
                error=result.error,
            )
            yield Ended(file, record, result)


def _video(
    recognizer: Recognizer, file: Source, options: RunOptions, info: VideoInfo | None, begun: Unfinished | None
) -> Generator[Event]:
    seen = Seen(begun)
    try:
        if info is None:
            info = VideoInfo(0, 0, FALLBACK_RATE, None, None) if isinstance(file, str) else probe(file)
        yield Started(file, info, begun)
        resume = None if begun is None else begun.resume
        with contextlib.closing(frames_of(recognizer, file, options, resume)) as results:
            for result in results:
                seen.add(result)
                yield result
                if result.resume is not None and isinstance(file, Path):
                    yield Reached(seen.unfinished(file, result.resume))
    except VideoError as error:
        broken = ImageResult(source_name(file), error=str(error))
        yield Ended(file, seen.record(file, None, options, broken), broken)
        return
    yield Ended(file, seen.record(file, info, options))


def frames_of(
    recognizer: Recognizer, file: Source, options: RunOptions, resume: ResumePoint | None = None
) -> Generator[FrameResult]:
    """Yield the results of a video's frames, with the people who are known, and of those the wanted ones.

    Args:
        recognizer: what finds and classifies faces.
        file: a video, or the address of a camera.
        options: how it is looked at.
        resume: where an earlier run was in it.
    """
    how = {"smooth_s": options.smooth_s, "patience_s": options.patience_s}
    if isinstance(file, str):
        frames = recognizer.webcam(file, every=options.every, reconnect_s=options.reconnect_s, **how)
    else:
        frames = recognizer.video(file, every=options.every, detect_every=options.detect_every, resume=resume, **how)
    with contextlib.closing(frames):
        results = frames if options.people is None else map(options.people.named, frames)
        if options.one_face is None:
            yield from results
        else:
            again = None if isinstance(file, str) else functools.partial(read_frames, file, every=options.every)
            yield from one_face(results, options.one_face, frames=again)


class Seen:
    """What the frames of a video or a camera add up to, with those of an earlier run."""

    def __init__(self, before: Unfinished | None = None) -> None:
        self.frames, self.rows = 0, 0
        self.last_s: float | None = None
        self.size: tuple[int, int] | None = None
        if before is not None:
            self.frames, self.rows = before.frames, before.rows
            self.last_s, self.size = before.last_s, before.size

    def add(self, result: FrameResult) -> None:
        """Count the next frame."""
        self.frames += 1
        self.rows += rows_of(result)
        self.last_s = result.frame.time_s
        if self.size is None:
            height, width = result.frame.image.shape[:2]
            self.size = width, height

    def unfinished(self, file: Path, resume: ResumePoint) -> Unfinished:
        """Return how far a video is by now."""
        assert self.last_s is not None and self.size is not None, "a frame was added"
        size = size_of(file)
        return Unfinished(source_name(file), self.rows, self.frames, self.last_s, self.size, size, resume)

    def record(
        self, file: Source, info: VideoInfo | None, options: RunOptions, broken: ImageResult | None = None
    ) -> SourceRecord:
        """Return what is known of a source at its end.

        Args:
            file: the video, or a camera.
            info: its header, where it could be read.
            options: how it was looked at.
            broken: its result where it could not be read, or not to its end.
        """
        width, height = self.size or (None, None)
        last_s = None if self.last_s is None else round(self.last_s, 6)
        camera = isinstance(file, str)
        header_s = None if info is None or camera else info.duration_s
        step_s = options.every / info.rate if info is not None and info.rate else 0.0
        measured_s = None if last_s is None else last_s + step_s
        duration_s = measured_s if header_s is None else header_s
        name = camera_name(file) if isinstance(file, str) else source_name(file)
        return SourceRecord(
            name,
            "camera" if camera else "video",
            rows=self.rows + (broken is not None),
            frames=self.frames,
            duration_s=None if duration_s is None else round(duration_s, 6),
            fps=None if info is None or camera else round(info.rate, 6),
            last_s=last_s,
            width=width,
            height=height,
            rotation_deg=None if info is None else info.rotation_deg,
            bytes=size_of(file),
            error=None if broken is None else broken.error,
            warning=_warning(name, measured_s, header_s),
        )


def _warning(name: str, end_s: float | None, header_s: float | None) -> str | None:
    if end_s is None or header_s is None or end_s >= header_s - max(CUT_S, CUT_FRACTION * header_s):
        return None
    return f"{name} ends at {end_s:.1f} s, though its header says {header_s:.1f} s: it may be truncated"


def rows_of(result: ImageResult | FrameResult) -> int:
    """Return how many rows a result has in a run's tables."""
    return max(1, len(result.predictions))


def size_of(file: Source) -> int | None:
    """Return a file's size in bytes, or None where there is no file."""
    if isinstance(file, str):
        return None
    if not isinstance(file, Path):
        return len(file.getbuffer())
    try:
        return os.stat(file).st_size  # noqa: PTH116  (a name with a NUL is an error of either)
    except (OSError, ValueError):
        return None
