"""Micro-batches: what waits together is classified together, and everyone gets their own rows."""

import asyncio
import threading

import numpy as np
import pytest

from fervit.serve.batcher import Batcher


def crops(*values: int) -> list[np.ndarray]:
    return [np.full((1, 1, 1), value, np.uint8) for value in values]


def probs(batch: list[np.ndarray]) -> np.ndarray:
    """Answer every crop with its own value, so that mixed-up rows show."""
    return np.array(batch, float).reshape(-1, 1)


class Model:
    """Records its batches; the first one is held until `opened`."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.opened = threading.Event()

    def __call__(self, batch: list[np.ndarray]) -> np.ndarray:
        self.sizes.append(len(batch))
        self.opened.wait(10)
        return probs(batch)


async def run(model: Model, requests: list[list[np.ndarray]]) -> list[np.ndarray]:
    batcher = Batcher(model, max_batch=8, window_s=0.0)
    batcher.start()
    first = asyncio.create_task(batcher.submit(crops(99)))
    while not model.sizes:
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(batcher.submit(request)) for request in requests]
    await asyncio.sleep(0)
    model.opened.set()
    rows = [(await task)[0] for task in (first, *others)]
    await batcher.close()
    return rows[1:]


def test_what_arrives_while_the_model_is_busy_is_one_batch_and_keeps_its_rows() -> None:
    model = Model()
    requests = [crops(1), crops(2, 3), crops(4)]
    rows = asyncio.run(run(model, requests))
    assert model.sizes == [1, 4]
    assert [row.ravel().tolist() for row in rows] == [[1], [2, 3], [4]]


def test_batches_are_bounded_but_one_large_request_passes() -> None:
    model = Model()
    rows = asyncio.run(run(model, [crops(*range(5)), crops(*range(5)), crops(*range(20))]))
    assert model.sizes == [1, 5, 5, 20]
    assert [len(row) for row in rows] == [5, 5, 20]


def test_a_lone_request_does_not_wait_for_the_window() -> None:
    async def lone() -> float:
        batcher = Batcher(probs, max_batch=8, window_s=5)
        batcher.start()
        loop = asyncio.get_running_loop()
        started = loop.time()
        await batcher.submit(crops(1))
        took = loop.time() - started
        await batcher.close()
        return took

    assert asyncio.run(lone()) < 1


@pytest.mark.slow
def test_the_window_waits_for_images_being_decoded_and_then_ends() -> None:
    async def two() -> list[int]:
        sizes: list[int] = []
        batcher = Batcher(probs, max_batch=2, window_s=0.3, expecting=lambda: 1, observe=sizes.append)
        batcher.start()
        early = asyncio.create_task(batcher.submit(crops(1)))
        await asyncio.sleep(0.05)
        await asyncio.gather(early, batcher.submit(crops(2)))
        await batcher.submit(crops(3))  # nobody comes: the window ends
        await batcher.close()
        return sizes

    assert asyncio.run(two()) == [2, 1]


def test_an_abandoned_request_is_not_classified() -> None:
    async def abandoned() -> list[int]:
        model = Model()
        batcher = Batcher(model, max_batch=8, window_s=0)
        batcher.start()
        first = asyncio.create_task(batcher.submit(crops(1)))
        while not model.sizes:
            await asyncio.sleep(0.001)
        gone = asyncio.create_task(batcher.submit(crops(2)))
        kept = asyncio.create_task(batcher.submit(crops(3)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.opened.set()
        await asyncio.gather(first, kept)
        await batcher.close()
        return model.sizes

    assert asyncio.run(abandoned()) == [1, 1]


def test_a_failing_batch_fails_its_requests_only() -> None:
    async def failing() -> None:
        broken = [True]

        def model(batch: list[np.ndarray]) -> np.ndarray:
            if broken.pop() if broken else False:
                raise RuntimeError("broken")
            return probs(batch)

        batcher = Batcher(model, max_batch=8, window_s=0)
        batcher.start()
        with pytest.raises(RuntimeError, match="broken"):
            await batcher.submit(crops(1))
        assert (await batcher.submit(crops(2)))[0].ravel().tolist() == [2]
        await batcher.close()

    asyncio.run(failing())
