"""Several processes that share a search, and end with the one that started them, however that dies."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection

from fervit.errors import ConfigError, FervitError
from fervit.training.tuning.search import Search, work

POLL_S = 1.0  # between two looks at what the workers have finished


def work_in_processes(search: Search, look: Callable[[], None]) -> None:
    """Run a search in its number of processes, each with its part of the threads.

    Args:
        search: as for `work`; its `progress` is not called, since it may not exist in another process.
        look: called about every second, and at the end, to see what has finished.

    Raises:
        FervitError: a worker's; the others are ended.
        ConfigError: a worker died.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process that has run PyTorch may hang
    sent = replace(search, options=replace(search.options, progress=None))
    workers = []
    for number in range(search.options.workers):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(sent, number, theirs), name=f"fervit-tune-{number}")
        process.start()
        theirs.close()
        workers.append((process, ours))
    try:
        while any(process.is_alive() for process, _ in workers):
            for process, messages in workers:
                _check(process, messages)
            look()
            time.sleep(POLL_S)
        for process, messages in workers:
            _check(process, messages)
    finally:
        for process, _ in workers:
            if process.is_alive():
                process.terminate()
        for process, _ in workers:
            process.join()
    look()


def _check(process: multiprocessing.process.BaseProcess, messages: Connection) -> None:
    """Raise what ended a worker."""
    if process.is_alive() or process.exitcode == 0:
        return
    error = messages.recv() if messages.poll() else None
    if isinstance(error, FervitError):
        raise error
    raise ConfigError(
        f"a worker of the search ended with exit code {process.exitcode}, perhaps for want of memory: its trial goes "
        "on with the same command; fewer --workers need less"
    )


def _worker(search: Search, number: int, messages: Connection) -> None:
    """Take part in a search, in a process of its own; a mistake of the user's goes to the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that its trial is put back in the queue
    try:
        work(search, number)
    except FervitError as error:
        messages.send(ConfigError(str(error)))
        sys.exit(2)
    except KeyboardInterrupt:  # Ctrl-C reaches the parent, too, which says so
        sys.exit(130)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
