"""`TorchClassifier`: a model folder run by PyTorch."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import nn

from fervit.concurrency import renew_in_children
from fervit.media.crops import preprocess_batch
from fervit.models.devices import bf16_on, torch_device
from fervit.models.loading import load_checkpoint
from fervit.probabilities import softmax
from fervit.runtime.devices import AUTO
from fervit.types import ModelSpec


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

    def __reduce__(self) -> tuple["functools.partial[TorchClassifier]", tuple[()]]:
        return self._opening, ()  # opens the folder again; a model in memory is pickled itself

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
