"""What is left out at random while a model trains: whole layers, or patches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fervit.models.backbone import backbone_of, layers_of
from fervit.models.inputs import send
from fervit.training.parallel import generator


def add_drop_path(model: Any, rate: float) -> list[Any]:
    """Drop whole layers at random per sample while training, `rate` at the last one, less below.

    Stochastic depth (Huang et al. 2016, arXiv 1603.09382), with the layer's change divided by the
    probability of keeping it. A layer that changes the shape, as some of a CNN's do, is never dropped. Returns
    the hooks' handles; `handle.remove()` takes them off.
    """
    layers = layers_of(model)

    def hook_for(drop: float) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if not module.training or not drop:
                return output
            before, after = args[0], output[0] if isinstance(output, tuple) else output
            if before.shape != after.shape:
                return output
            draws = send(torch.rand(len(before), generator=generator()), after.device)
            keep = (draws >= drop).to(after.dtype) / (1 - drop)
            mixed = before + (after - before) * keep.view(-1, *[1] * (before.ndim - 1))
            return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

        return hook

    last = max(1, len(layers) - 1)
    return [layer.register_forward_hook(hook_for(rate * k / last)) for k, layer in enumerate(layers)]


def add_patch_drop(model: Any, share: float) -> Any:
    """Leave out a random `share` of each picture's patches while training; the CLS token stays.

    PatchDropout (Liu et al. 2022, arXiv 2208.07220): a step costs little more than the patches that are left, and
    every picture looks different every time. At least one patch is kept. Returns the hook's handle.
    """

    def hook(module: nn.Module, _args: tuple[Any, ...], tokens: torch.Tensor) -> torch.Tensor | None:
        if not module.training:
            return None
        count = tokens.shape[1] - 1
        kept = max(1, round(count * (1 - share)))
        draws = torch.rand(len(tokens), count, generator=generator())
        rows = 1 + send(draws.argsort(dim=1)[:, :kept], tokens.device)
        patches = tokens.gather(1, rows.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
        return torch.cat([tokens[:, :1], patches], dim=1)  # (B, 1 + N, D) -> (B, 1 + kept, D)

    return backbone_of(model).embeddings.register_forward_hook(hook)
