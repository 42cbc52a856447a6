"""`TorchClassifier`: a model folder run by PyTorch."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fervit.concurrency import renew_in_children
from fervit.media.crops import preprocess_batch
from fervit.models.loading import load_checkpoint
from fervit.probabilities import softmax
from fervit.types import ModelSpec


class TorchClassifier:
    """A model folder run by PyTorch: the train half's counterpart of `OnnxClassifier`.

    Args:
        model: the folder, or a model in memory.
        spec: of a model in memory; a folder has its own.
        device: where it runs; by default on a GPU where there is one.
    """

    def __init__(self, model: nn.Module | str | Path, spec: ModelSpec | None = None, *, device: str | None = None):
        if isinstance(model, nn.Module):
            assert spec is not None, "a model in memory needs its spec"
            self._opening = functools.partial(TorchClassifier, model, spec, device=device)
        else:
            self._opening = functools.partial(TorchClassifier, Path(model).absolute(), device=device)
            model, spec = load_checkpoint(model)
        self.spec = spec
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
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
            parts.append(self.model(**x).logits.float().cpu().numpy())
        return np.concatenate(parts)

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of `(H, W, C)` uint8 crops."""
        return softmax(self.logits(crops, batch_size=batch_size))
