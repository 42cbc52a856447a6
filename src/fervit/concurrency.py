"""What threads and forked processes share: locks, worker threads and open models that a child process makes anew.

In a child that `fork` made (multiprocessing, gunicorn `--preload`) there is the memory of the parent and one of its
threads: a lock that another thread held is never released, and a pool waits for threads that are not there. What is
registered here is renewed in the child before anything else runs in it. The same classes pickle as what they are
"""

import contextlib
import ctypes
import functools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
S = TypeVar("S")


class Renewable(Protocol):
    """What a forked child must make anew."""

    def renew(self) -> None:
        """Drop what belongs to the parent; called in the child, when it has one thread only."""
        ...


_renewables: "weakref.WeakSet[Renewable]" = weakref.WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Have `thing.renew()` called in every process that is forked from this one, as long as `thing` lives."""
    _listen()
    _renewables.add(thing)


@functools.cache
def _listen() -> None:
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=_renew_all)


def _renew_all() -> None:
    for thing in list(_renewables):
        thing.renew()


class Lock(contextlib.AbstractContextManager[None]):
    """A lock for `with` that is free in a forked child, whichever thread of the parent held it, and that pickles."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        renew_in_children(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._owner = None
        self._lock.release()

    def renew(self) -> None:
        """Take a new lock, unless it was this very thread that forked while it held the lock."""
        if self._owner != threading.get_ident():
            self._lock, self._owner = threading.Lock(), None

    def __reduce__(self) -> tuple[type["Lock"], tuple[()]]:
        return Lock, ()


def map_ahead(function: Callable[[T], S], items: Iterable[T], workers: int) -> Generator[S]:
    """Yield `function` of each item, in order, computed in threads a few items ahead.

    Memory does not grow with the number of items: one more than there are threads is read ahead. The first exception is
    raised.

    Args:
        function: called in the threads.
        items: read lazily, in the thread that iterates.
        workers: how many threads.
    """
    ahead: deque[Future[S]] = deque()
    pool = ThreadPoolExecutor(workers, "fervit-ahead")
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class WorkerThreads:
    """Threads that share work for any number of callers; they start at the first call of each process.

    Args:
        count: how many.
        name: what their names begin with.
    """

    def __init__(self, count: int, name: str):
        self.count, self.name = count, name
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        renew_in_children(self)

    def map(self, function: Callable[[T], S], items: Iterable[T]) -> list[S]:
        """Return `function` of every item, in order; the first exception is raised."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.count, self.name)
            pool = self._pool
        return list(pool.map(function, items))

    def renew(self) -> None:
        """Forget the threads, which only the parent has."""
        self._pool = None

    def __reduce__(self) -> tuple[type["WorkerThreads"], tuple[int, str]]:
        return WorkerThreads, (self.count, self.name)


class NativeCalls:
    """Calls of a library that must not be forked in the middle of one: a fork waits until none is running.

    The library's own locks would stay as they are in the child, held by threads that it does not have.

    Args:
        rest_s: how long after a call the library's threads may still be busy; a fork waits as long.
    """

    def __init__(self, rest_s: float = 0.0):
        self._changed, self._running = threading.Condition(), 0
        self._rest_s, self._ended_s = rest_s, 0.0
        self._forking = 0  # the thread that forks and therefore has the lock
        if hasattr(os, "register_at_fork"):  # Windows has no fork
            os.register_at_fork(before=self._wait, after_in_parent=self._go_on, after_in_child=self._renew)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Make a call in this context; while a process is being forked, it waits."""
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._ended_s = time.monotonic()
                self._changed.notify_all()

    def _wait(self) -> None:
        self._changed.acquire()
        while self._running:
            self._changed.wait()
        time.sleep(max(0.0, self._ended_s + self._rest_s - time.monotonic()))
        self._forking = threading.get_ident()

    def _go_on(self) -> None:
        # Else `_wait` did not run for this fork, which may have begun before this was registered.
        if self._forking == threading.get_ident():
            self._forking = 0
            self._changed.release()

    def _renew(self) -> None:
        self._changed, self._running, self._forking = threading.Condition(), 0, 0


class PerProcess(Generic[T]):
    """Something native, such as an open model, of which every process has its own.

    It is opened at once, and again where a pickle of it is read; a forked child opens its own when it first asks.

    Args:
        open_it: returns it; a function of a module, or a `functools.partial` of one, where it is to be pickled.

    Raises:
        Exception: what `open_it` raises.
    """

    def __init__(self, open_it: Callable[[], T]):
        self._open = open_it
        self._lock = Lock()
        self._opened: list[T] = [open_it()]
        renew_in_children(self)

    def get(self) -> T:
        """Return this process's own, opened now if it is the first time."""
        opened = self._opened
        if not opened:
            with self._lock:
                if not self._opened:
                    self._opened.append(self._open())
                opened = self._opened
        return opened[0]

    def renew(self) -> None:
        """Leave the parent's alone: a destructor may wait for threads that this process does not have (OpenVINO's)."""
        for left in self._opened:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))  # so that it is never destroyed, not even at exit
        self._opened = []

    def __reduce__(self) -> tuple[type["PerProcess[T]"], tuple[Callable[[], T]]]:
        return PerProcess, (self._open,)
