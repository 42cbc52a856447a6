"""`fervit.watch`: a camera's rows, written and sent frame by frame while it runs."""

import contextlib
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict, Unpack

from fervit.errors import ConfigError, quoted, unknown
from fervit.inference.loading import load
from fervit.inference.people import check_one_face
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import FrameResult
from fervit.inference.rows import json_rows
from fervit.inference.runs.failures import Failures
from fervit.inference.runs.files import RunOptions, Seen, frames_of, settings_of
from fervit.inference.runs.outputs import STDOUT, ResultWriter, Targets, Writing
from fervit.inference.runs.receiver import Receiver, check_receiver
from fervit.inference.runs.run import targets_of
from fervit.media.camera import camera_name, check_camera

log = logging.getLogger(__name__)


class WatchKeywords(TypedDict, total=False):
    """The options of `watch`.

    Attributes:
        overwrite: replace result files that exist already.
        every: look only at every so many of the camera's newest frames.
        smooth_s: time constant of the smoothing of each track's probabilities.
        patience_s: a face that is lost for no longer keeps its track.
        one_face: of each frame, the `largest` or most `central` face only.
        reconnect_s: for so long it is tried to connect again to a camera that was lost; None is a minute for an
            address or a file, and no time for a number.
        command: the command line, for the file beside a table.
        tell: is given a line for people when an output fails while the others go on.
    """

    overwrite: bool
    every: int
    smooth_s: float
    patience_s: float
    one_face: str | None
    reconnect_s: float | None
    command: str
    tell: Callable[[str], None]


@dataclass(frozen=True)
class _Watch:
    """What is watched, how, and where the rows go."""

    device: str
    run: RunOptions
    targets: Targets
    address: str | None
    how: Writing
    tell: Callable[[str], None]


def watch(
    device: int | str = 0,
    recognizer: Recognizer | None = None,
    *,
    csv: str | Path | None = None,
    json: str | Path | None = None,
    parquet: str | Path | None = None,
    http: str | None = None,
    **options: Unpack[WatchKeywords],
) -> Generator[FrameResult]:
    """Yield the result of a camera's newest frame, again and again, each after its rows were written and sent.

    Tables have the rows of `fervit.predict`, also for a frame without a face; CSV and JSON are on the disk with every
    frame, Parquet once a second. The camera is opened with the first result that is asked for, and result files are
    made when it is there. Ends when the camera does; whoever closes the generator ends it, too.

    >>> import fervit
    >>> for result in fervit.watch("rtsp://10.0.0.2/live", http="http://127.0.0.1:9000/rows"):  # doctest: +SKIP
    ...     print(result.frame.time_s, len(result.predictions))

    Args:
        device: the camera's number, from 0, its file such as `/dev/video2`, or its address (`rtsp://...`).
        recognizer: what finds and classifies faces; `fervit.load()` where there is none.
        csv: a table to write.
        json: JSON lines to write; `-` is standard output.
        parquet: a table to write.
        http: an address to which rows are sent by POST, as JSON
            `{"source": ..., "started": "2026-01-31T12:00:00.000+00:00", "lost": 0, "rows": [...]}`; a row's moment is
            `started` plus its `time_s`.
        **options: the fields of `WatchKeywords`.

    Raises:
        ConfigError: an option is unknown or out of range, a table exists already or cannot be written, or rows could
            not be delivered; the latter two at the end, where other outputs went on.
        VideoError: `device` is no camera, there is none, or it never gives a frame.
    """
    for name in options:
        if name not in WatchKeywords.__annotations__:
            raise ConfigError(unknown("option", name, WatchKeywords.__annotations__))
    if not isinstance(recognizer, Recognizer | None):
        raise ConfigError(f"expected a recognizer, such as `fervit.load` returns, got {quoted(recognizer)}")
    device = check_camera(device)
    run = RunOptions(**{each.name: options[each.name] for each in fields(RunOptions) if each.name in options})  # type: ignore[literal-required]
    check_one_face(run.one_face, cameras=True)
    targets = targets_of(csv, json, parquet)
    targets.check([])
    if not options.get("overwrite", False):
        targets.check_new(resumable=False)
    if http is not None:
        check_receiver(http)
    recognizer = recognizer or load()
    how = Writing(sidecar=True, settings=settings_of(recognizer, run), command=options.get("command", ""))
    return _watched(recognizer, _Watch(str(device), run, targets, http, how, options.get("tell", log.warning)))


def _watched(recognizer: Recognizer, watched: _Watch) -> Generator[FrameResult]:
    targets, run, seen = watched.targets, watched.run, Seen()
    # Who asked for the results gets them, whatever else fails.
    outputs = len(targets.files) + (targets.json == STDOUT) + 1
    failures = Failures(outputs, watched.tell)
    started = datetime.now(UTC)
    stopped: BaseException | None = None
    name = camera_name(watched.device)
    receiver = None if watched.address is None else Receiver(watched.address, name, watched.tell)
    with (
        contextlib.closing(frames_of(recognizer, watched.device, run)) as results,
        ResultWriter(targets, recognizer.spec.labels, watched.how, failures) as out,
        receiver or contextlib.nullcontext(),
    ):
        try:
            for result in results:
                if not seen.frames:  # it may have taken seconds to open the camera
                    started = datetime.now(UTC) - timedelta(seconds=result.frame.time_s)
                out.write(result)
                if receiver is not None:
                    receiver.started = receiver.started or started.isoformat(timespec="milliseconds")
                    receiver.add(json_rows(result))
                seen.add(result)
                yield result
        except (GeneratorExit, KeyboardInterrupt) as error:  # the usual ends of a camera's run: the tables are whole
            stopped = error
        if seen.frames:
            record = seen.record(watched.device, None, run)
            out.finished(replace(record, started=started.isoformat(timespec="milliseconds")))
    if receiver is not None and (lost := receiver.undelivered()):
        raise ConfigError(lost)
    if isinstance(stopped, KeyboardInterrupt):
        raise stopped
