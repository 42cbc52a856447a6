"""ONNX Runtime as fervit uses it: imported late, and with its telemetry off."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

Shape = list[int | str | None]
"""Sizes of a model's input or output; one that is no int varies, such as the batch."""


CPU_ALONE = (("CPUExecutionProvider", dict[str, str]()),)


class Tensor(Protocol):
    """A model's input or output."""

    name: str
    shape: Shape


class Metadata(Protocol):
    """The metadata of an ONNX file."""

    custom_metadata_map: dict[str, str]


class Binding(Protocol):
    """The part of `onnxruntime.IOBinding` that fervit calls: where one run reads and writes."""

    def bind_ortvalue_input(self, name: str, value: object) -> None:
        """Read an input from memory of the device."""
        ...

    def bind_output(self, name: str, device_type: str, device_id: int) -> None:
        """Write an output to memory of the device."""
        ...

    def copy_outputs_to_cpu(self) -> list[np.ndarray]:
        """Return the outputs."""
        ...


class OrtSession(Protocol):
    """The part of `onnxruntime.InferenceSession` that fervit calls; the package has no types of its own."""

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the named outputs, or all of them."""
        ...

    def get_inputs(self) -> list[Tensor]:
        """Return the model's inputs."""
        ...

    def get_outputs(self) -> list[Tensor]:
        """Return the model's outputs."""
        ...

    def get_modelmeta(self) -> Metadata:
        """Return the file's metadata."""
        ...

    def get_providers(self) -> list[str]:
        """Return the execution providers that started, the first choice first."""
        ...

    def io_binding(self) -> Binding:
        """Return what binds inputs and outputs to memory of a device."""
        ...

    def run_with_iobinding(self, binding: Binding) -> None:
        """Run on what is bound."""
        ...


def cores() -> int:
    """Return how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def onnxruntime_quietly() -> ModuleType:
    """Import ONNX Runtime with its telemetry off: from 1.29 on it reports to its maker unless this is set."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, when it is imported
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


def open_session(
    model: str | Path | bytes,
    *,
    threads: int | None = 1,
    initializers: Mapping[str, np.ndarray] | None = None,
    providers: Sequence[tuple[str, Mapping[str, str]]] = CPU_ALONE,
) -> OrtSession:
    """Open a model on ONNX Runtime; errors come as exceptions, not on stderr.

    Args:
        model: the file, or its bytes.
        threads: that share one operation; 1 is the caller's own thread, None all cores. Idle ones sleep.
        initializers: weights by name that the file declares as external.
        providers: execution providers with their options, the first choice first; the CPU's by default.

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
    session: OrtSession = onnxruntime.InferenceSession(source, options, providers=list(providers))
    return session
