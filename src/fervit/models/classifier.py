"""`TorchClassifier`: a model folder run by PyTorch."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import nn

from fervit.concurrency import renew_in_children
from fervit.errors import ModelError
from fervit.formatting import counted
from fervit.media.crops import preprocess_batch
from fervit.models.loading import load_checkpoint
from fervit.probabilities import softmax
from fervit.runtime.devices import AUTO, CPU, CUDA, MODEL_FOLDERS, has_nvidia_gpu, read_device, say_once
from fervit.types import ModelSpec

CUDA_BUILD = "install PyTorch's build for CUDA, as pytorch.org says"


class _How(TypedDict):
    device: str
    precision: Literal["fp32", "auto"]


class TorchClassifier:
    """A model folder run by PyTorch: the train half's counterpart of `OnnxClassifier`.

    Args:
        model: the folder, or a model in memory.
        spec: of a model in memory; a folder has its own.
        device: where it runs: `cpu`, `cuda`, `cuda:1` or `mps`; `auto`: on an NVIDIA GPU where there is one.
        precision: of its arithmetic: `fp32`, or `auto`: bfloat16 on CUDA GPUs that have it. Probabilities differ
            by about 0.01 at most.

    Raises:
        ConfigError: there is no such device.
        ModelError: the device cannot be used; see `load_checkpoint`.
    """

    def __init__(
        self,
        model: nn.Module | str | Path,
        spec: ModelSpec | None = None,
        *,
        device: str = AUTO,
        precision: Literal["fp32", "auto"] = "fp32",
    ):
        how: _How = {"device": device, "precision": precision}
        if isinstance(model, nn.Module):
            assert spec is not None, "a model in memory needs its spec"
            self._opening = functools.partial(TorchClassifier, model, spec, **how)
        else:
            self._opening = functools.partial(TorchClassifier, Path(model).absolute(), **how)
            model, spec = load_checkpoint(model)
        self.spec = spec
        self.device = torch_device(device)
        self._bf16 = precision == "auto" and bf16_on(self.device)
        self.model = model.to(self.device).eval()
        renew_in_children(self)

    def renew(self) -> None:
        """Compute on one thread in a forked child: OpenMP would wait for the threads of the parent."""
        torch.set_num_threads(1)

    def __reduce__(self) -> tuple["functools.partial[TorchClassifier]", tuple[()], dict[str, ModelSpec]]:
        # Opens the folder again; a model in memory is pickled itself. The labels may have got other names since.
        return self._opening, (), {"spec": self.spec}

    @torch.inference_mode()
    def logits(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """Return `(N, K)` float32 logits of `(H, W, C)` uint8 crops, resized as in every runtime, by Pillow."""
        parts = [np.empty((0, len(self.spec.labels)), np.float32)]
        for start in range(0, len(crops), batch_size):
            part = crops[start : start + batch_size]
            inputs = {name: preprocess_batch(part, preprocess) for name, preprocess in self.spec.inputs.items()}
            x = {name: torch.from_numpy(pixels).to(self.device) for name, pixels in inputs.items()}
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
                logits = self.model(**x).logits
            parts.append(logits.float().cpu().numpy())
        return np.concatenate(parts)

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of `(H, W, C)` uint8 crops."""
        return softmax(self.logits(crops, batch_size=batch_size))


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
            raise ModelError(f"there is no {wanted}: PyTorch sees {counted(count, 'GPU')}, from cuda:0 on")
        return torch.device(CUDA, wanted.index)
    if wanted.kind != CPU and not torch.backends.mps.is_available():
        raise ModelError(f"PyTorch {torch.__version__} has no mps here: it needs a Mac with Apple silicon and macOS 14")
    return torch.device(wanted.kind)


def bf16_on(device: torch.device) -> bool:
    """Return whether a device is a GPU that multiplies in bfloat16."""
    return device.type == CUDA and bool(torch.cuda.is_bf16_supported(including_emulation=False))
