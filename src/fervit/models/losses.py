"""Losses with soft targets."""

import torch

Tensor = torch.Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of `(B, K)` logits with `(B, K)` target rows that sum to 1, in float32."""
    return -(targets * logits.float().log_softmax(dim=1)).sum(dim=1).mean()
