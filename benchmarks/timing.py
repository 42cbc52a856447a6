"""Helpers of the benchmarks: faces of noise, times of training steps and of calls, and a bare ONNX Runtime session."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from fervit.data.dataset import Dataset
from fervit.labels import FER7
from fervit.runtime.ort import onnxruntime_quietly


class StepClock(TrainerCallback):
    """Takes the time after every step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args, state, control, **_):
        self.times.append(time.perf_counter())


def random_faces(count: int) -> Dataset:
    """Return `count` grey images of noise at 48 px, all for training."""
    rng = np.random.default_rng(0)
    return Dataset(
        name="noise",
        labels=FER7,
        images=rng.integers(0, 256, (count, 48, 48, 1), dtype=np.uint8),
        targets=rng.integers(0, 7, count),
        split_ids=np.zeros(count, np.int8),
        rows=np.arange(count),
        data_hash="",
    )


def rate(times: list[float], batch: int, warm_up: int) -> float:
    """Return images a second from the times after each step, the first `warm_up` left out."""
    times = times[warm_up:]
    return batch * (len(times) - 1) / (times[-1] - times[0])


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare_session(path: Path, threads: int) -> Any:
    """Open a model on ONNX Runtime's own threads, which do not spin while they wait."""
    onnxruntime = onnxruntime_quietly()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
