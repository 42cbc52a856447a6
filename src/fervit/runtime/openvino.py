"""OpenVINO behind the runtime's seam: the same ONNX file, or its own `.xml` and `.bin`, faster on Intel."""

import contextlib
import ctypes
import functools
import json
import queue
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from fervit.concurrency import NativeCalls, PerProcess
from fervit.errors import MissingExtra, ModelError
from fervit.runtime.ort import Shape
from fervit.types import METADATA_KEY

REST_S = 0.05  # after a call; without it, 2 of 5 runs of four forks each had a child that hung, with it none of 12


class OpenVinoSession:
    """A compiled model on the CPU or an Intel GPU or NPU, which any number of threads may run at once.

    A forked child compiles its own.

    Args:
        path: an ONNX file that `fervit export` wrote, or OpenVINO's `.xml`.
        threads: CPU threads within one batch; None leaves the choice to OpenVINO.
        target: OpenVINO's name of the device: `CPU`, `GPU`, `GPU.1`, `NPU`.

    Attributes:
        metadata: the JSON text of the `ModelSpec`, or None when it was exported elsewhere.
        inputs: shape of each input by name, None where it varies.
        outputs: shape of each output by name.

    Raises:
        MissingExtra: OpenVINO is not installed.
        ModelError: the file cannot be read, or OpenVINO sees no such device.
    """

    def __init__(self, path: Path, *, threads: int | None = None, target: str = "CPU"):
        self._compiled = PerProcess(functools.partial(_Compiled, path.absolute(), threads, target))
        compiled = self._compiled.get()
        self.metadata, self.inputs, self.outputs = compiled.metadata, compiled.inputs, compiled.outputs

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each input."""
        return self._compiled.get().run(batch)


class _Compiled:
    """One process's compiled model, with as many infer requests as OpenVINO can run at once.

    A request holds the memory of one run: of two threads that share one, the first reads what the second computed.
    """

    def __init__(self, path: Path, threads: int | None, target: str):
        try:
            import openvino
        except ImportError:
            raise MissingExtra("the OpenVINO runtime", "openvino") from None
        core = openvino.Core()
        # No 16-bit arithmetic: the same predictions everywhere, and without AMX it is slower.
        config: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None and target == "CPU":
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(str(path))
            with _native_calls()(), _same_signal_stack():
                if target != "CPU":  # asking loads every plug-in that there is
                    _check_target(target, core.available_devices)
                compiled = core.compile_model(model, target, config)
        except ModelError:
            raise
        except Exception as error:  # its exceptions share no base class of their own
            raise ModelError(f"{path} is not readable by OpenVINO, or truncated: {_last_line(error)}") from error
        self.metadata = _metadata(model)
        self.inputs = {entry.get_any_name(): _shape(entry) for entry in model.inputs}
        self.outputs = {entry.get_any_name(): _shape(entry) for entry in model.outputs}
        self._output = compiled.output(0)
        self._free: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        for _ in range(max(1, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))):
            self._free.put(compiled.create_infer_request())

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the logits of a batch, computed by a request that no other thread has at the time."""
        request = self._free.get()
        try:
            with _native_calls()():
                logits = request.infer(dict(batch), share_inputs=True)[self._output]
            return logits.copy()  # the request's own memory is overwritten by the next batch
        finally:
            self._free.put(request)


def _check_target(target: str, devices: list[str]) -> None:
    """Refuse a device that OpenVINO does not see.

    Raises:
        ModelError: the message names those that it sees, and what brings the others.
    """
    if target not in devices and target not in {name.split(".")[0] for name in devices}:
        raise ModelError(
            f"OpenVINO sees no {target} here, only {', '.join(devices)}; an Intel GPU needs its driver (on Linux the "
            "packages intel-opencl-icd and libze-intel-gpu1), an NPU intel-level-zero-npu"
        )


@functools.cache
def _native_calls() -> NativeCalls:
    """Return what a fork waits for: threads of TBB that leave a call count themselves, and a child waits for them."""
    return NativeCalls(rest_s=REST_S)


class _SignalStack(ctypes.Structure):
    """What `sigaltstack` takes and gives on Linux: where signal handlers of the calling thread have their stack."""

    _fields_: ClassVar = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextlib.contextmanager
def _same_signal_stack() -> Iterator[None]:
    """Leave the calling thread the stack for signal handlers that it has.

    OpenVINO gives a new one to the thread that loads its plug-in for the CPU, and frees it with the last compiled
    model: where another thread does that, the next signal would crash the process.
    """
    if sys.platform != "linux":
        yield
        return
    library, stack = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(stack))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(stack), None)


class _Request(Protocol):
    """The part of `openvino.InferRequest` that fervit calls."""

    def infer(self, inputs: dict[str, np.ndarray], *, share_inputs: bool) -> Mapping[object, np.ndarray]: ...


class _Dimension(Protocol):
    is_static: bool

    def get_length(self) -> int: ...


class _Tensor(Protocol):
    """An input or output of an OpenVINO model; the package has no types of its own."""

    def get_partial_shape(self) -> list[_Dimension]: ...


class _Model(Protocol):
    """The part of `openvino.Model` that holds the metadata of the file."""

    def has_rt_info(self, path: list[str]) -> bool: ...

    def get_rt_info(self, path: list[str]) -> object: ...


def _metadata(model: _Model) -> str | None:
    path = ["framework", METADATA_KEY]
    if not model.has_rt_info(path):
        return None
    value = model.get_rt_info(path)
    text = str(value.astype(str) if hasattr(value, "astype") else getattr(value, "value", value))
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return None
    return text


def _shape(entry: _Tensor) -> Shape:
    return [dimension.get_length() if dimension.is_static else None for dimension in entry.get_partial_shape()]


def _last_line(error: BaseException) -> str:
    """Return what failed: OpenVINO's messages begin with where in its own sources it was noticed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
