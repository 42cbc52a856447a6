"""Work ahead: a stage of a pipeline in a thread of its own, as far ahead of the next one as memory allows."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

MAX_WAITING_BYTES = 100_000_000  # of frames that wait for the next stage: sixteen of 1080p, four of 4K, one of 8K
T = TypeVar("T")


def ahead(items: Iterable[T], size: int, weigh: Callable[[T], int] = lambda item: 0) -> Generator[T]:
    """Yield what `items` yields, computed in a thread a little ahead; its exceptions are raised here.

    Args:
        items: computed in a thread of their own, one after the other.
        size: how many may wait.
        weigh: the bytes of an item; where those that wait have `MAX_WAITING_BYTES`, no more are computed.
    """
    ready: _Weighed[T] = _Weighed(size, weigh)
    stop = threading.Event()

    def put(item: T | None, error: BaseException | None = None) -> None:
        while not stop.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        source = iter(items)
        try:
            for item in source:
                put(item)
                if stop.is_set():
                    break
            else:
                put(None, StopIteration())
        except BaseException as error:  # noqa: BLE001  (raised again in the thread that waits)
            put(None, error)
        finally:
            if isinstance(source, Generator):
                source.close()

    worker = threading.Thread(target=work, name="fervit-ahead", daemon=True)
    worker.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # T where there is no error
    finally:
        stop.set()
        worker.join()


class _Weighed(queue.Queue[tuple[T | None, BaseException | None]]):
    """A queue that is full when it holds so many items, or so many bytes."""

    def __init__(self, size: int, weigh: Callable[[T], int]):
        super().__init__(maxsize=size)
        self._weigh, self._bytes = weigh, 0

    def _put(self, item: tuple[T | None, BaseException | None]) -> None:
        super()._put(item)
        self._bytes += 0 if item[0] is None else self._weigh(item[0])

    def _get(self) -> tuple[T | None, BaseException | None]:
        item = super()._get()
        self._bytes -= 0 if item[0] is None else self._weigh(item[0])
        return item

    def _qsize(self) -> int:
        return self.maxsize if self._bytes >= MAX_WAITING_BYTES else super()._qsize()
