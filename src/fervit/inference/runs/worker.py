"""A process that looks at files for a run in another one: tasks come on standard input, results go to standard output.

Started by `fervit.inference.runs.workers`, which calls `main` in it. Whoever started it may be killed
at any time; this process then ends by itself, as its pipes are closed.
"""

import contextlib
import logging
import os
import pickle
import signal
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO

from fervit.inference.people import NO_IMAGE
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import FrameResult
from fervit.inference.runs.files import Ended, Event, RunOptions, Source, run_files
from fervit.inference.runs.sidecar import Unfinished
from fervit.media.opencv import opencv
from fervit.media.video import VideoInfo

HEAD = struct.Struct("<BQ")
"""What is before each message: its kind, and how many bytes follow."""
OTHER, COUNTS, LAST = range(3)
"""Kinds: a frame or a photo counts, and the last message of a task is told from the others."""


@dataclass(frozen=True)
class Setup:
    """What a worker needs once; `threads` are those of OpenCV."""

    recognizer: Recognizer
    options: RunOptions
    threads: int


@dataclass(frozen=True)
class Task:
    """A video, or photos that follow each other.

    Attributes:
        files: in the order of the run.
        is_video: it is one video.
        infos: headers that were read before.
        begun: how far an earlier run came in it.
    """

    files: tuple[Source, ...]
    is_video: bool
    infos: Mapping[Source, VideoInfo]
    begun: Unfinished | None = None


@dataclass(frozen=True)
class Logged:
    """A line of the worker's log."""

    name: str
    level: int
    text: str


@dataclass(frozen=True)
class Done:
    """A task is finished; `seen` are the entries of the table of people that matched a face."""

    seen: frozenset[tuple[str, int | None]]


@dataclass(frozen=True)
class Failed:
    """A task ended with an error that is none of its files'."""

    error: BaseException


class _Sender(logging.Handler):
    """Sends messages, those of the log among them."""

    def __init__(self, out: IO[bytes]):
        super().__init__(logging.WARNING)
        self._out = out

    def send(self, message: object, kind: int = OTHER) -> None:
        """Send a message of one of the kinds."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with self.lock or contextlib.nullcontext():
            self._out.write(HEAD.pack(kind, len(data)) + data)
            if kind != COUNTS:  # frames wait for the end of their batch: a system call for each would cost
                self._out.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line of the log."""
        self.send(Logged(record.name, record.levelno, record.getMessage()))


def without_image(event: Event) -> Event:
    """Return an event as it is sent: images are large, and whoever wants them reads them again."""
    if not isinstance(event, FrameResult):
        return event
    return replace(event.with_image(NO_IMAGE), resume=None)


def _run(setup: Setup, task: Task, sender: _Sender) -> None:
    videos = task.files if task.is_video else ()
    events = run_files(setup.recognizer, task.files, videos, setup.options, task.infos, task.begun)
    with contextlib.closing(events):
        for event in events:
            photo = isinstance(event, Ended) and not task.is_video
            sender.send(without_image(event), COUNTS if photo or isinstance(event, FrameResult) else OTHER)
    people = setup.options.people
    sender.send(Done(frozenset() if people is None else people.matched()), LAST)


def _failed(error: Exception) -> Failed:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001  (whatever an error's own arguments raise)
        return Failed(RuntimeError(f"{type(error).__name__}: {error}"))
    return Failed(error)


def work(source: IO[bytes], out: IO[bytes]) -> None:
    """Do the tasks that come until there are no more.

    Args:
        source: `Setup` and each `Task`, pickled, each after its length.
        out: the messages.
    """
    sender = _Sender(out)
    logging.getLogger().addHandler(sender)
    try:
        _work(source, sender)
    finally:
        logging.getLogger().removeHandler(sender)


def _work(source: IO[bytes], sender: _Sender) -> None:
    setup: Setup | None = None
    while head := source.read(HEAD.size):
        data = source.read(HEAD.unpack(head)[1])
        try:
            if setup is None:
                setup = pickle.loads(data)  # of the process that started this one
                opencv().setNumThreads(setup.threads)
            else:
                _run(setup, pickle.loads(data), sender)
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001  (told of where the run is)
            sender.send(_failed(error), LAST)
            return


def main() -> None:
    """Work for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the other one ends this one
    out = os.fdopen(os.dup(1), "wb", 1 << 16)
    os.dup2(2, 1)  # whatever a library prints is no message
    with contextlib.suppress(BrokenPipeError):
        work(sys.stdin.buffer, out)
    sys.stdout = sys.stderr
    os._exit(0)  # threads of decoders may still wait for frames of a run that is no more
