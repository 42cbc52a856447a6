"""A model on ONNX Runtime or OpenVINO, on the CPU or an accelerator: the seam between fervit and what computes."""

import functools
import mmap
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from fervit.concurrency import PerProcess, WorkerThreads
from fervit.errors import ModelError, reason, unknown
from fervit.runtime.devices import AUTO as AUTO_DEVICE
from fervit.runtime.devices import CPU, CUDA, OPENVINO, Device, has_nvidia_gpu, say_once
from fervit.runtime.graph_checks import check_graph, check_ir
from fervit.runtime.ort import OrtSession, Shape, cores, open_session
from fervit.runtime.providers import BROUGHT_BY, PROVIDERS, AcceleratedSession, available_providers, placement_on
from fervit.types import METADATA_KEY, OUTPUT

AUTO = "auto"
RUNTIMES = ("onnxruntime", "openvino")
DEFAULT_DEVICE = Device(CPU)


class Session(Protocol):
    """A runtime with one model in it: the seam between fervit and what computes.

    Any number of threads may run it at once, and so may a child that was forked after it was opened; its pickle opens
    the file again.

    Attributes:
        metadata: the JSON text of the `ModelSpec`, or None when the file has none.
        inputs: shape of each input by name; an entry that is no int varies.
        outputs: shape of each output by name.
    """

    metadata: str | None
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each input."""
        ...


class OnnxSession:
    """ONNX Runtime on the CPU; see `Session`.

    Every thread takes its own chunk of a batch through the whole network. ONNX Runtime's own threads split each
    operation instead and wait for each other after every one: 1.1 to 1.2 times the time on two cores, for batches of 32
    and 8 faces (`benchmarks/batch_chunks.py`). A single face takes 1.1 times as long.
    """

    def __init__(self, path: Path, *, threads: int | None = None):
        self._threads = threads or cores()
        self._workers = WorkerThreads(self._threads, "fervit-chunk")
        self._session = PerProcess(functools.partial(_open_ort, path.absolute()))
        session = self._session.get()
        self.metadata: str | None = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.inputs = {entry.name: entry.shape for entry in session.get_inputs()}
        self.outputs = {entry.name: entry.shape for entry in session.get_outputs()}

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each input."""
        count = len(next(iter(batch.values())))
        chunks = min(self._threads, count)
        if chunks < 2:
            return self._run(batch)
        ends = [count * k // chunks for k in range(chunks + 1)]
        parts = ({name: x[start:end] for name, x in batch.items()} for start, end in pairwise(ends))
        return np.concatenate(self._workers.map(self._run, parts))

    def _run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._session.get().run([OUTPUT], dict(batch))[0]


def choose_runtime(name: str, path: Path) -> str:
    """Return the runtime that `name` means for a file: `auto` is OpenVINO where it is installed.

    OpenVINO is the faster one per face (docs/video.md), but takes a second longer to start. An 8-bit .onnx was made for
    ONNX Runtime and judged on it, so `auto` keeps to that.

    Raises:
        ModelError: there is no such runtime, or it cannot read such a file.
    """
    if not isinstance(name, str) or name not in (AUTO, *RUNTIMES):
        raise ModelError(unknown("runtime", name, [AUTO, *RUNTIMES]))
    own = path.suffix.lower() == ".xml"
    if own and name == "onnxruntime":
        raise ModelError(f"{path} is OpenVINO's own form: run it with --runtime openvino")
    if name == AUTO:
        return "openvino" if own or (find_spec("openvino") and not is_8_bit(path)) else "onnxruntime"
    return name


def choose_device(device: Device, runtime: str, path: Path) -> tuple[Device, str]:
    """Return where a model file runs, and the name of the runtime that runs it there.

    `auto` is the first NVIDIA GPU where there is one and the installed ONNX Runtime can use it, else the CPU. That a
    GPU is here and cannot be used is logged as a warning, once in a process. OpenVINO is not moved from the CPU that
    it was asked for, and an 8-bit file, made and judged for CPUs, stays there.

    Raises:
        ModelError: there is no such runtime, it cannot read such a file, or it cannot run on such a device.
    """
    if device.kind == OPENVINO:
        return device, choose_runtime("openvino", path)
    if device.kind not in (AUTO_DEVICE, CPU):
        if runtime == "openvino" or path.suffix.lower() == ".xml":
            raise ModelError(f"OpenVINO runs {path.name} on cpu, openvino:GPU or openvino:NPU, not on {device}")
        return device, choose_runtime("onnxruntime", path)
    chosen = choose_runtime(runtime, path)
    portable = runtime != "openvino" and path.suffix.lower() != ".xml"
    if device.kind == AUTO_DEVICE and portable and has_nvidia_gpu() and not is_8_bit(path):
        if PROVIDERS[CUDA] in available_providers():
            return Device(AUTO_DEVICE), "onnxruntime"
        say_once(
            "this machine has an NVIDIA GPU that the installed onnxruntime cannot use, so the model runs on the CPU; "
            f"{BROUGHT_BY[CUDA]} (--device cpu: no warning)"
        )
    return Device(CPU), chosen


def open_model(
    path: Path, *, runtime: str, threads: int | None = None, device: Device = DEFAULT_DEVICE
) -> tuple[Session, Device]:
    """Open a model file on a runtime in `RUNTIMES` and a device, as `choose_device` returns them.

    Returns:
        The session, and the device that it runs on: where `auto` finds that a GPU cannot be used after all, the CPU,
        and a warning is logged, once in a process.

    Raises:
        ModelError: the file cannot be read, its graph is none of a classifier's (`check_graph`), or the device cannot
            be used.
        MissingExtra: the runtime is not installed.
    """
    if path.suffix.lower() == ".xml":
        check_ir(path)
    else:
        check_graph(path)
    if runtime == "openvino":
        from fervit.runtime.openvino import OpenVinoSession

        return OpenVinoSession(path, threads=threads, target=device.target or "CPU"), device
    if device.kind == AUTO_DEVICE:
        first = Device(CUDA)
        try:
            return AcceleratedSession(path, first, placement_on(first), threads=threads), first
        except ModelError as error:
            cpu = OnnxSession(path, threads=threads)  # raises where it is the file that cannot be read
            say_once(f"{error} (the model runs on the CPU; --device cpu: no warning)")
            return cpu, Device(CPU)
    if device.kind != CPU:
        return AcceleratedSession(path, device, placement_on(device), threads=threads), device
    return OnnxSession(path, threads=threads), device


def is_8_bit(path: Path) -> bool:
    """Return whether an ONNX file has quantised products, by the name of the operation that all of them need."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"DequantizeLinear") >= 0


def _open_ort(path: Path) -> OrtSession:
    try:
        return open_session(path)
    except Exception as error:  # its exceptions share no base class of their own
        raise ModelError(f"{path} is not a readable ONNX model, or truncated: {reason(error)}") from error
