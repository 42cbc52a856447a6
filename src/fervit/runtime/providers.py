"""ONNX Runtime on an accelerator: which of its execution providers a device needs, and a session that runs on it."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fervit.concurrency import PerProcess
from fervit.errors import ModelError, reason
from fervit.runtime.devices import CUDA, MPS, TENSORRT, Device
from fervit.runtime.ort import CPU_ALONE, Binding, OrtSession, onnxruntime_quietly, open_session
from fervit.types import METADATA_KEY, OUTPUT

PROVIDERS = {CUDA: "CUDAExecutionProvider", TENSORRT: "TensorrtExecutionProvider", MPS: "CoreMLExecutionProvider"}
GPU_PACKAGE = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
BROUGHT_BY = {
    CUDA: f"onnxruntime-gpu brings it: {GPU_PACKAGE}",
    TENSORRT: f"onnxruntime-gpu and tensorrt bring it: {GPU_PACKAGE} tensorrt",
    MPS: "onnxruntime for macOS brings it: pip install onnxruntime on a Mac",
}
Provider = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class Placement:
    """Where ONNX Runtime computes.

    Attributes:
        providers: execution providers with their options; an operation runs on the first one that has it.
        memory: the kind of memory that inputs and outputs are bound to: `cuda` or `cpu`.
        index: the number of the GPU.
    """

    providers: tuple[Provider, ...]
    memory: str = "cpu"
    index: int = 0


def available_providers() -> list[str]:
    """Return the names of the execution providers that the installed ONNX Runtime was built with."""
    names: list[str] = onnxruntime_quietly().get_available_providers()
    return names


def placement_on(device: Device) -> Placement:
    """Return what ONNX Runtime needs to compute on `cuda`, `tensorrt` or `mps`, the CPU taking what these do not have.

    Arithmetic stays in 32 bits, so that predictions are the CPU's up to rounding.

    Raises:
        ModelError: the installed ONNX Runtime lacks the provider; the message names the package that brings it.
    """
    name, index = PROVIDERS[device.kind], str(device.index)
    if name not in available_providers():
        raise ModelError(f"{device} needs {name}, which the installed onnxruntime lacks; {BROUGHT_BY[device.kind]}")
    # The usual search tries every algorithm for each new size of a batch, which takes seconds; TF32 has 10 bits.
    cuda: Provider = (
        PROVIDERS[CUDA],
        {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    )
    if device.kind == CUDA:
        return Placement((cuda, *CPU_ALONE), CUDA, device.index)
    if device.kind == TENSORRT:
        return Placement(
            ((name, {"device_id": index, "trt_fp16_enable": "False"}), cuda, *CPU_ALONE), CUDA, device.index
        )
    return Placement(((name, {}), *CPU_ALONE))


class AcceleratedSession:
    """ONNX Runtime on a GPU; see `fervit.runtime.sessions.Session`.

    A batch is not cut in chunks, as it is on the CPU. Inputs are copied to the device once, and the output stays there
    until all of it is copied back (I/O binding), so that the host waits once a batch.

    Args:
        path: the ONNX file.
        device: what was asked for, for messages.
        placement: see `placement_on`.
        threads: CPU threads for what the accelerator does not have; None takes all cores.

    Raises:
        ModelError: the file cannot be read, or the provider cannot be used: a library of it or the GPU is missing.
    """

    def __init__(self, path: Path, device: Device, placement: Placement, *, threads: int | None = None):
        self._placement = placement
        self._session = PerProcess(functools.partial(_open, path.absolute(), device, placement, threads))
        session = self._session.get()
        self.metadata: str | None = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.inputs = {entry.name: entry.shape for entry in session.get_inputs()}
        self.outputs = {entry.name: entry.shape for entry in session.get_outputs()}

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each input."""
        if not len(next(iter(batch.values()))):  # nothing can be bound
            return np.empty((0, _classes(self.outputs)), np.float32)
        session, place = self._session.get(), (self._placement.memory, self._placement.index)
        binding: Binding = session.io_binding()  # of this call alone: several threads may run the session
        ort_value = onnxruntime_quietly().OrtValue
        for name, pixels in batch.items():
            binding.bind_ortvalue_input(name, ort_value.ortvalue_from_numpy(np.ascontiguousarray(pixels), *place))
        binding.bind_output(OUTPUT, *place)
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]


def _classes(outputs: Mapping[str, Sequence[int | str | None]]) -> int:
    count = outputs[OUTPUT][-1]
    return count if isinstance(count, int) else 0


def _open(path: Path, device: Device, placement: Placement, threads: int | None) -> OrtSession:
    wanted = placement.providers[0][0]
    try:
        _preload(device)
        session = open_session(path, threads=threads, providers=placement.providers)
    except Exception as error:  # its exceptions share no base class of their own
        raise ModelError(f"{path} cannot be opened on {device} ({wanted}): {reason(error)}") from error
    if wanted not in session.get_providers():  # it goes on without a provider that fails to start
        raise ModelError(
            f"{device} cannot be used: {wanted} did not start, since the GPU, its driver or one of CUDA's libraries is "
            f"missing or does not fit; {BROUGHT_BY[device.kind]}"
        )
    return session


def _preload(device: Device) -> None:
    """Load CUDA's libraries from the packages that pip installed, where the system's folders have none."""
    preload = getattr(onnxruntime_quietly(), "preload_dlls", None)
    if device.kind in (CUDA, TENSORRT) and preload is not None:
        preload()
