"""ONNX Runtime behind the seam: threads share a batch."""

import threading
from pathlib import Path

import numpy as np
import pytest

from fervit.runtime.sessions import OnnxSession


def test_every_thread_takes_a_chunk_and_an_error_arrives(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = OnnxSession(tiny_onnx, threads=2)
    seen: list[tuple[str, int]] = []

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        seen.append((threading.current_thread().name, len(batch["pixel_values"])))
        if len(seen) > 2:
            raise ValueError("no memory")
        means: np.ndarray = batch["pixel_values"].mean(axis=(2, 3))
        return means

    monkeypatch.setattr(session, "_run", run)
    batch = np.arange(5, dtype=np.float32).repeat(3 * 4).reshape(5, 3, 2, 2)
    assert session.run({"pixel_values": batch})[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert sorted(size for _, size in seen) == [2, 3]
    assert all(name.startswith("fervit-chunk") for name, _ in seen)
    with pytest.raises(ValueError, match="no memory"):
        session.run({"pixel_values": batch})
