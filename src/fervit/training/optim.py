"""What the optimizer moves and how: layer-wise learning rates, the weight average, sharpness-aware steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

import torch
from torch import nn

from fervit.config.training import TrainConfig
from fervit.models.backbone import layer_index, learning_depth

Tensor = torch.Tensor


class ParameterGroup(TypedDict):
    """Parameters with one learning rate and one weight decay, as PyTorch's optimizers take them."""

    params: list[Tensor]
    lr: float
    weight_decay: float


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[ParameterGroup]:
    """Group parameters by depth and by whether they decay.

    Layer k of L below the head learns at `lr * layer_decay ** (L + 1 - k)` (BEiT, arXiv 2106.08254); biases,
    norms, layer scales, tokens and positions do not decay.
    """
    index = learning_depth(model)
    depth = index("classifier.weight")
    groups: dict[tuple[int, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(("_token", "position_embeddings"))
            groups.setdefault((index(name), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * config.layer_decay ** (depth - k),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (k, decays), parameters in groups.items()
    ]


def freeze(model: nn.Module, layers: int) -> None:
    """Fix the embeddings and the first `layers` layers at their starting weights; 0 fixes nothing."""
    index = layer_index(model)
    for name, parameter in model.named_parameters():
        if layers and index(name) <= layers:
            parameter.requires_grad_(False)


def averaged(model: nn.Module) -> list[Tensor]:
    """Return what the weight average covers: every parameter, and the running statistics of batch norms."""
    return [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]


@contextmanager
def sam_perturbation(model: nn.Module, rho: float) -> Iterator[None]:
    """Move the weights `rho` along their gradient, and back at the end; the gradients are cleared.

    The second pass of sharpness-aware minimization (Foret et al. 2021, arXiv 2010.01412, algorithm 1) runs inside.
    """
    moved: list[Tensor] = [p for p in model.parameters() if p.grad is not None]
    gradients = [p.grad for p in moved if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    steps = torch._foreach_mul(gradients, rho / (norm + 1e-12))
    with torch.no_grad():
        torch._foreach_add_(moved, steps)
    model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_sub_(moved, steps)
