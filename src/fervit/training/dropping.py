"""What is left out at random while a model trains: whole layers, or patches."""

from typing import TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from fervit.models.backbone import backbone_of, layers_of
from fervit.models.inputs import copy_to_device
from fervit.training.parallel import generator

Tensor = torch.Tensor
Output = TypeVar("Output", Tensor, tuple[Tensor, ...])


class _LayerDrop:
    """A forward hook that undoes a layer's change for a random `drop` of the samples while training."""

    def __init__(self, drop: float):
        self.drop = drop

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], output: Output) -> Output:
        if not module.training or not self.drop:
            return output
        if isinstance(output, tuple):
            return (self._mixed(args[0], output[0]), *output[1:])
        return self._mixed(args[0], output)

    def _mixed(self, before: Tensor, after: Tensor) -> Tensor:
        if before.shape != after.shape:
            return after
        draws = copy_to_device(torch.rand(len(before), generator=generator()), after.device)
        keep = (draws >= self.drop).to(after.dtype) / (1 - self.drop)
        return before + (after - before) * keep.view(-1, *[1] * (before.ndim - 1))


def add_drop_path(model: nn.Module, rate: float) -> list[RemovableHandle]:
    """Drop whole layers at random per sample while training, `rate` at the last one, less below.

    Stochastic depth (Huang et al. 2016, arXiv 1603.09382), with the layer's change divided by the
    probability of keeping it. A layer that changes the shape, as some of a CNN's do, is never dropped. Returns
    the hooks' handles; `handle.remove()` takes them off.
    """
    layers = layers_of(model)
    last = max(1, len(layers) - 1)
    return [layer.register_forward_hook(_LayerDrop(rate * k / last)) for k, layer in enumerate(layers)]


def add_patch_drop(model: nn.Module, fraction: float) -> RemovableHandle:
    """Leave out a random `fraction` of each image's patches while training; the CLS token stays.

    PatchDropout (Liu et al. 2022, arXiv 2208.07220): a step costs little more than the patches that are left, and
    every image looks different every time. At least one patch is kept. Returns the hook's handle.
    """

    def hook(module: nn.Module, _args: tuple[Tensor, ...], tokens: Tensor) -> Tensor | None:
        if not module.training:
            return None
        count = tokens.shape[1] - 1
        kept = max(1, round(count * (1 - fraction)))
        draws = torch.rand(len(tokens), count, generator=generator())
        rows = 1 + copy_to_device(draws.argsort(dim=1)[:, :kept], tokens.device)
        patches = tokens.gather(1, rows.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
        return torch.cat([tokens[:, :1], patches], dim=1)  # (B, 1 + N, D) -> (B, 1 + kept, D)

    return backbone_of(model).get_submodule("embeddings").register_forward_hook(hook)
