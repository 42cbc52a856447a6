"""Micro-batching: the face crops of concurrent requests become one run of the model."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fervit.types import Image


@dataclass
class _Waiting:
    crops: list[Image]
    result: asyncio.Future[tuple[np.ndarray, float]]


class Batcher:
    """Collects what waits while the model is busy, and a few milliseconds more.

    A lone request never waits: the window only opens while `expecting` says that other images are
    about to bring faces. Its caller bounds how much can wait.

    Args:
        probs: N uint8 crops to `(N, K)` probabilities; called in one thread, one call at a time.
        max_batch: faces at which a batch stops waiting.
        window_s: longest wait for more, in seconds.
        expecting: how many images are being decoded.
        observe: called with the number of faces of each batch.
    """

    def __init__(
        self,
        probs: Callable[[list[Image]], np.ndarray],
        *,
        max_batch: int,
        window_s: float,
        expecting: Callable[[], int] = lambda: 0,
        observe: Callable[[int], None] = lambda faces: None,
    ):
        self._probs, self._expecting, self._observe = probs, expecting, observe
        self.max_batch, self.window_s = max_batch, window_s
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fervit-classify")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to classify; needs a running event loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; whoever still waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for item in self._waiting:
            item.result.cancel()
        self._thread.shutdown(wait=True)

    async def submit(self, crops: list[Image]) -> tuple[np.ndarray, float]:
        """Return the `(N, K)` probabilities of N crops and the seconds that their batch took."""
        item = _Waiting(crops, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._arrived.set()
        return await item.result

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = self._take()
            if batch:
                await self._classify(batch)

    async def _gather(self) -> None:
        deadline = time.monotonic() + self.window_s
        while self._expecting() and sum(len(item.crops) for item in self._waiting) < self.max_batch:
            self._arrived.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting]:
        """Return the oldest requests that fit into one batch, at least one; the abandoned are dropped."""
        batch: list[_Waiting] = []
        faces = 0
        while self._waiting and (not batch or faces + len(self._waiting[0].crops) <= self.max_batch):
            item = self._waiting.popleft()
            if not item.result.done():
                batch.append(item)
                faces += len(item.crops)
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _classify(self, batch: list[_Waiting]) -> None:
        crops = [crop for item in batch for crop in item.crops]
        self._observe(len(crops))
        started = time.perf_counter()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._probs, crops)
        except Exception as error:  # noqa: BLE001  (it belongs to the requests, and the loop must live on)
            for item in batch:
                if not item.result.done():
                    item.result.set_exception(error)
            return
        seconds = time.perf_counter() - started
        start = 0
        for item in batch:
            if not item.result.done():
                item.result.set_result((rows[start : start + len(item.crops)], seconds))
            start += len(item.crops)
