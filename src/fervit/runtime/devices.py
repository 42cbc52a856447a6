"""Where a model computes: what `--device` may name, and what `auto` finds."""

import functools
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from fervit.errors import ConfigError, quoted

AUTO, CPU, CUDA, TENSORRT, MPS, OPENVINO = "auto", "cpu", "cuda", "tensorrt", "mps", "openvino"
DEVICES = "auto, cpu, cuda, cuda:1, tensorrt, tensorrt:1, mps, openvino:GPU or openvino:NPU"
_FORM = re.compile(
    r"(?P<kind>auto|cpu|mps)|(?P<gpu>cuda|tensorrt)(:(?P<index>\d{1,3}))?|openvino:(?P<target>[A-Za-z.\d]+)"
)
MODEL_FOLDERS = (AUTO, CPU, CUDA, MPS)
"""What PyTorch, which runs model folders, computes on."""

DRIVER_FILES = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/usr/lib/wsl/lib/nvidia-smi")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A place to compute on.

    Attributes:
        kind: `auto`, `cpu`, `cuda`, `tensorrt`, `mps` or `openvino`.
        index: the GPU's number, of `cuda` and `tensorrt`.
        target: OpenVINO's own name of the device, such as `GPU`, `GPU.1` or `NPU`.
    """

    kind: str
    index: int = 0
    target: str = ""

    def __str__(self) -> str:
        if self.kind == OPENVINO:
            return f"{OPENVINO}:{self.target}"
        return f"{self.kind}:{self.index}" if self.kind in (CUDA, TENSORRT) else self.kind


def read_device(text: object) -> Device:
    """Return the device that a text names.

    >>> str(read_device("cuda")), str(read_device("openvino:gpu"))
    ('cuda:0', 'openvino:GPU')

    Raises:
        ConfigError: it names none.
    """
    found = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ConfigError(f"expected a device such as {DEVICES}, got {quoted(text)}")
    if found["target"]:
        return Device(OPENVINO, target=found["target"].upper())
    return Device(found["kind"] or found["gpu"], int(found["index"] or 0))


def has_nvidia_gpu() -> bool:
    """Return whether the driver of an NVIDIA GPU is installed, and its GPUs are not hidden from this process.

    No library is loaded for it: where there is no GPU, `auto` costs no time.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1", "NoDevFiles"):
        return False
    return any(Path(name).exists() for name in DRIVER_FILES) or shutil.which("nvidia-smi") is not None


@functools.cache
def say_once(text: str) -> None:
    """Log a warning, once in a process: that an accelerator which is here is not used."""
    log.warning("%s", text)
