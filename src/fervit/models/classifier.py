"""`TorchClassifier`: a model folder run by PyTorch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fervit.media.crops import preprocess_batch
from fervit.models.loading import load_checkpoint
from fervit.probabilities import softmax
from fervit.types import ModelSpec


class TorchClassifier:
    """A model folder run by PyTorch: the train half's counterpart of `runtime.OnnxClassifier`."""

    def __init__(self, model: Any, spec: ModelSpec | None = None, *, device: str | None = None):
        if spec is None:
            model, spec = load_checkpoint(model)
        self.spec = spec
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()

    @torch.inference_mode()
    def logits(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """Return `(N, K)` float32 logits of `(H, W, C)` uint8 crops, resized as in every runtime, by Pillow."""
        parts = [np.empty((0, len(self.spec.labels)), np.float32)]
        for start in range(0, len(crops), batch_size):
            part = crops[start : start + batch_size]
            seen = {name: preprocess_batch(part, ways) for name, ways in self.spec.inputs.items()}
            x = {name: torch.from_numpy(pixels).to(self.device) for name, pixels in seen.items()}
            parts.append(self.model(**x).logits.float().cpu().numpy())
        return np.concatenate(parts)

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of `(H, W, C)` uint8 crops."""
        return softmax(self.logits(crops, batch_size=batch_size))
