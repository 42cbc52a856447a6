"""Work ahead in a thread: in order, bounded by number and by bytes, with its errors."""

import threading
import time
from collections.abc import Iterator

import pytest

from fervit.errors import VideoError
from fervit.inference.ahead import ahead


def test_work_ahead_keeps_order_raises_and_ends() -> None:
    assert list(ahead(range(50), 3)) == list(range(50))

    def failing() -> Iterator[int]:
        yield 1
        raise VideoError("broken")

    results = ahead(failing(), 2)
    assert next(results) == 1
    with pytest.raises(VideoError, match="broken"):
        next(results)
    before = threading.active_count()
    endless = ahead(iter(int, 1), 2)
    next(endless)
    endless.close()
    assert threading.active_count() == before


@pytest.mark.slow
def test_work_ahead_waits_for_large_items_too() -> None:
    started: list[int] = []

    def counted() -> Iterator[int]:
        for k in range(20):
            started.append(k)
            yield k

    items = ahead(counted(), 10, lambda item: 60_000_000)
    next(items)
    time.sleep(0.3)
    assert len(started) <= 4  # one is taken, two wait, and one wants to
    assert list(items) == list(range(1, 20))
