"""ONNX Runtime as fervit uses it: imported late, and with its telemetry off."""

import os
from typing import Any


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
