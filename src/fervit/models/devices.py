"""What PyTorch computes on: `--device` in its terms."""

import torch

from fervit.errors import ModelError
from fervit.runtime.devices import AUTO, CPU, CUDA, MODEL_FOLDERS, has_nvidia_gpu, read_device, say_once

CUDA_BUILD = "install PyTorch's build for CUDA, as pytorch.org says"


def torch_device(name: str) -> torch.device:
    """Return PyTorch's device for one of `fervit.runtime.devices`; `auto` is an NVIDIA GPU where it has one.

    That the machine has one, and the installed PyTorch cannot use it, is logged as a warning, once in a process.

    Raises:
        ConfigError: there is no such device.
        ModelError: PyTorch cannot compute there; the message says what brings it.
    """
    wanted = read_device(name)
    if wanted.kind not in MODEL_FOLDERS:
        raise ModelError(f"PyTorch runs models on {', '.join(MODEL_FOLDERS[1:])}, not on {wanted}")
    if wanted.kind == AUTO:
        if torch.cuda.is_available():
            return torch.device(CUDA)
        if has_nvidia_gpu():
            say_once(
                f"this machine has an NVIDIA GPU that the installed PyTorch {torch.__version__} cannot use, so the "
                f"model runs on the CPU; {CUDA_BUILD} (--device cpu: no warning)"
            )
        return torch.device(CPU)
    if wanted.kind == CUDA:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ModelError(f"PyTorch {torch.__version__} can use no NVIDIA GPU here; {CUDA_BUILD}")
        if wanted.index >= count:
            raise ModelError(
                f"there is no {wanted}: PyTorch sees {count} GPU{'s' if count > 1 else ''}, from cuda:0 on"
            )
        return torch.device(CUDA, wanted.index)
    if wanted.kind != CPU and not torch.backends.mps.is_available():
        raise ModelError(f"PyTorch {torch.__version__} has no mps here: it needs a Mac with Apple silicon and macOS 14")
    return torch.device(wanted.kind)


def bf16_on(device: torch.device) -> bool:
    """Return whether a device is a GPU that multiplies in bfloat16."""
    return device.type == CUDA and bool(torch.cuda.is_bf16_supported(including_emulation=False))
