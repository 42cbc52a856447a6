"""ONNX Runtime as fervit uses it: imported late, and with its telemetry off."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def cores() -> int:
    """Return how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def onnxruntime_quietly() -> Any:
    """Import ONNX Runtime with its telemetry off: from 1.29 on it reports to its maker unless told not to."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, when it is imported
    import onnxruntime

    return onnxruntime


def open_session(
    model: str | Path | bytes, *, threads: int | None = 1, initializers: Mapping[str, np.ndarray] | None = None
) -> Any:
    """Open a model on ONNX Runtime's CPU provider; errors come as exceptions, not on stderr.

    Args:
        model: the file, or its bytes.
        threads: that share one operation; 1 is the caller's own thread, None all cores, which then wait asleep.
        initializers: weights by name that the file declares as external.

    Raises:
        Exception: the model cannot be read; ONNX Runtime's exceptions share no base class of their own.
    """
    onnxruntime = onnxruntime_quietly()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they reach the user as exceptions anyway
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if initializers:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in initializers.values()]
        options.add_external_initializers(list(initializers), values)
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
