"""The files of a run in processes of their own; what happens comes in the order in which one process would give it."""

import contextlib
import itertools
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from fervit.errors import ConfigError, reason
from fervit.inference.people import read_again
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import FrameResult
from fervit.inference.runs.files import Ahead, Ended, Event, Reached, RunOptions, Source, Started, run_files
from fervit.inference.runs.sidecar import Unfinished
from fervit.inference.runs.worker import COUNTS, HEAD, LAST, OTHER, Done, Failed, Logged, Setup, Task
from fervit.media.images import source_name
from fervit.media.video import VideoInfo, read_frames
from fervit.runtime.ort import cores
from fervit.types import Frame

TELL_EVERY_S = 0.25  # how far the other files are, while the present one has nothing new
PROGRAM = "from fervit.inference.runs.worker import main; main()"


class Workers:
    """Processes that look at files, each at one after the other.

    Files that are done before their turn wait in temporary files, as results without images. A process that is ended
    from outside ends the run.

    Args:
        recognizer: is opened again in each process, from its files.
        options: how files are looked at; `workers` is the number of processes.
    """

    def __init__(self, recognizer: Recognizer, options: RunOptions):
        self._recognizer, self._options = recognizer, options
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopping = False
        self._lock = threading.Lock()

    def run(
        self,
        files: Sequence[Source],
        videos: Sequence[Source],
        infos: Mapping[Source, VideoInfo] | None = None,
        begun: Unfinished | None = None,
    ) -> Generator[Event]:
        """Yield the events of `run_files` over the same files, in the same order, and `Ahead` now and then.

        Raises:
            ConfigError: the recognizer cannot be brought into another process, or a process was ended.
        """
        tasks = _tasks(files, set(videos), infos or {}, begun, self._options.batch_size)
        spools = [_Spool() if _is_sent(task) else None for task in tasks]
        todo = iter([(task, spool) for task, spool in zip(tasks, spools, strict=True) if spool is not None])
        try:
            setup = pickle.dumps(Setup(self._recognizer, self._options, max(1, cores() // self._options.workers)))
        except Exception as error:  # whatever a detector or model of the user's own raises
            raise ConfigError(
                f"the recognizer cannot be brought into other processes ({reason(error)}): use one worker"
            ) from error
        count = min(self._options.workers, sum(spool is not None for spool in spools))
        threads = [
            threading.Thread(target=self._serve, args=(todo, setup), name="fervit-worker", daemon=True)
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            for number, (task, spool) in enumerate(zip(tasks, spools, strict=True)):
                if spool is None:
                    yield from self._here(task)
                else:
                    yield from self._events(task, spool, spools[number:])
        finally:
            self._stop(threads)
            for spool in filter(None, spools):
                spool.close()

    def _here(self, task: Task) -> Generator[Event]:
        """Yield the events of a camera, or of what came on standard input."""
        videos = task.files if task.is_video else ()
        yield from run_files(self._recognizer, task.files, videos, self._options, task.infos, task.begun)

    def _events(self, task: Task, spool: "_Spool", later: "Sequence[_Spool | None]") -> Iterator[Event]:
        images: Generator[Frame] | None = None
        try:
            for message in spool.messages():
                if message is None:
                    yield Ahead(sum(each.waiting for each in later if each is not None))
                elif isinstance(message, Logged):
                    logging.getLogger(message.name).log(message.level, "%s", message.text)
                elif isinstance(message, Failed):
                    raise message.error
                elif isinstance(message, Done):
                    if self._options.people is not None:
                        self._options.people.note(message.seen)
                elif isinstance(message, Started | FrameResult | Reached | Ended):
                    if isinstance(message, Started) and self._options.images and isinstance(message.file, Path):
                        start = 0 if message.before is None else message.before.resume.index + 1
                        images = read_frames(message.file, every=self._options.every, start=start)
                    if isinstance(message, FrameResult) and images is not None:
                        message = message.with_image(read_again(images, message.frame).image)
                    yield message
        finally:
            if images is not None:
                images.close()

    def _serve(self, todo: "Iterator[tuple[Task, _Spool]]", setup: bytes) -> None:
        """Start a process and give it one task after the other."""
        process: subprocess.Popen[bytes] | None = None
        while True:
            with self._lock:
                task, spool = next(todo, (None, None))
                if task is None or spool is None or self._stopping:
                    return
                if process is None:
                    process = _start()
                    self._processes.append(process)
                    first = True
            assert process.stdin is not None and process.stdout is not None
            try:
                if first:
                    _send(process.stdin, setup)
                    first = False
                _send(process.stdin, pickle.dumps(task))
                whole = spool.fill(process.stdout)
            except OSError:  # the process is no more
                whole = False
            if not whole:
                spool.fail(_ended(process, task))
                return

    def _stop(self, threads: Sequence[threading.Thread]) -> None:
        with self._lock:
            self._stopping = True
            processes = list(self._processes)
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        for thread in threads:
            thread.join()
        for process in processes:
            for pipe in filter(None, (process.stdin, process.stdout)):
                with contextlib.suppress(OSError):  # what is still to be flushed has no reader
                    pipe.close()


class _Spool:
    """The messages of one task, in a temporary file until their turn comes."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._ready = threading.Condition()
        self._written = self._read = 0
        self._counts = 0
        self._whole = False
        self._error: ConfigError | None = None

    @property
    def waiting(self) -> int:
        """How many results of frames and photos are there and were not yet given out."""
        return self._counts

    def fill(self, source: IO[bytes]) -> bool:
        """Take the messages of a task from a process; return False where it ended before the task did."""
        while True:
            head = source.read(HEAD.size)
            if len(head) < HEAD.size:
                return False
            kind, size = HEAD.unpack(head)
            data = source.read(size)
            if len(data) < size:
                return False
            with self._ready:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="fervit-")  # noqa: SIM115  (closed by `close`)
                self._file.seek(self._written)
                self._written += self._file.write(head + data)
                self._counts += kind == COUNTS
                self._whole = kind == LAST
                self._ready.notify()
            if kind == LAST:
                return True

    def fail(self, error: ConfigError) -> None:
        """Raise this where the messages that came are read."""
        with self._ready:
            self._error = error
            self._ready.notify()

    def messages(self) -> Iterator[object]:
        """Yield the messages while they come, and None where there has been none for a while."""
        while True:
            with self._ready:
                if self._read == self._written:
                    if self._whole:
                        return
                    if self._error is not None:
                        raise self._error
                    self._ready.wait(TELL_EVERY_S)
                message = self._next() if self._read < self._written else None
            yield message

    def _next(self) -> object:
        assert self._file is not None, "something was written"
        self._file.seek(self._read)
        kind, size = HEAD.unpack(self._file.read(HEAD.size))
        message: object = pickle.loads(self._file.read(size))  # written by this run, into a file without a name
        self._read += HEAD.size + size
        self._counts -= kind == COUNTS
        return message

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()


def _tasks(
    files: Sequence[Source],
    videos: set[Source],
    infos: Mapping[Source, VideoInfo],
    begun: Unfinished | None,
    photos: int,
) -> list[Task]:
    """Return the files in order: each video alone, photos together, what only this process can read alone."""
    tasks: list[Task] = []
    for (is_video, is_path), group in itertools.groupby(files, lambda file: (file in videos, isinstance(file, Path))):
        some_files, most = list(group), photos if is_path and not is_video else 1
        for start in range(0, len(some_files), most):
            some = tuple(some_files[start : start + most])
            known = {file: infos[file] for file in some if file in infos}
            before = begun if is_video and begun is not None and begun.source == source_name(some[0]) else None
            tasks.append(Task(some, is_video, known, before))
    return tasks


def _is_sent(task: Task) -> bool:
    return all(isinstance(file, Path) for file in task.files)


def _start() -> "subprocess.Popen[bytes]":
    # Where this process finds fervit, and a detector of the user's own.
    path = os.pathsep.join(each or str(Path.cwd()) for each in sys.path)
    env = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-P", "-c", PROGRAM]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)


def _send(target: IO[bytes], data: bytes) -> None:
    target.write(HEAD.pack(OTHER, len(data)) + data)
    target.flush()


def _ended(process: "subprocess.Popen[bytes]", task: Task) -> ConfigError:
    code = process.wait()
    how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with status {code}"
    return ConfigError(
        f"a worker was ended {how} while it looked at {source_name(task.files[0])}: go on with --skip-done, with fewer "
        "workers if the memory was full"
    )
