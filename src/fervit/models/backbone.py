"""What fervit asks of every classifier: its encoder, its layers from the first to the last, what reads the pixels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fervit.errors import ModelError
from fervit.types import Preprocess

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, what Pillow's convert("L") uses
STEMS = (".embeddings.", ".conv_stem.")  # what stands before the first layer, in names of parameters


def backbone_of(model: Any) -> Any:
    """Return the encoder of a Hugging Face classifier: `model.vit`, `model.dinov2`, `model.backbone`."""
    return getattr(model, model.base_model_prefix)


def layers_of(model: Any) -> nn.ModuleList:
    """Return the encoder's transformer layers, first to last."""
    backbone = backbone_of(model)
    for owner in (backbone, getattr(backbone, "encoder", None)):
        for name in ("layers", "layer"):
            layers = getattr(owner, name, None)
            if isinstance(layers, nn.ModuleList):
                return layers
    raise ModelError(f"no transformer layers found in {type(model).__name__}")


def layer_index(model: Any) -> Callable[[str], int]:
    """Return a function from parameter name to depth: 0 embeddings, 1..L layers, L + 1 norm and head."""
    depth = len(layers_of(model))
    names = {id(layer): k for k, layer in enumerate(layers_of(model))}
    prefixes = {f"{name}.": names[id(m)] + 1 for name, m in model.named_modules() if id(m) in names}

    def index(name: str) -> int:
        for prefix, k in prefixes.items():
            if name.startswith(prefix):
                return k
        return 0 if any(stem in name for stem in STEMS) else depth + 1

    return index


@torch.no_grad()
def fold_luma(model: Any, preprocess: Preprocess) -> None:
    """Rewrite the patch embedding so that the model sees colour pictures as their grey (luma) version.

    A model trained on grey pictures repeated to three channels only ever used the sum of its channel
    kernels; sharing that sum out by ITU-R 601 luma leaves its answer to grey pictures as it is, and makes
    the answer to a colour picture that of its grey version, in every runtime, with no extra step.
    """
    shape = (1, -1, 1, 1)
    mean = torch.tensor(preprocess.mean, dtype=torch.float64).view(shape)
    std = torch.tensor(preprocess.std, dtype=torch.float64).view(shape)
    luma = torch.tensor(LUMA, dtype=torch.float64).view(shape)
    for projection in input_convolutions(model):
        weight = projection.weight.double()
        kernel = (weight / std).sum(1, keepdim=True)  # (D, 1, P, P): the response to one unit of grey
        folded = kernel * std * luma
        projection.weight.copy_(folded)
        if projection.bias is not None:  # a convolution without one must have equal means and deviations
            offset = ((folded - weight) * mean / std).sum(dim=(1, 2, 3))
            projection.bias.copy_(projection.bias.double() + offset)


def fuse_attention(model: Any, device: torch.device) -> None:
    """Have a GPU compute attention as one operation, which keeps no matrix of tokens by tokens in its memory.

    Models are loaded with attention in single steps, the better form for a CPU with bf16, for export and to explain.
    """
    if device.type == "cuda" and getattr(model, "_supports_sdpa", False):
        model.set_attn_implementation("sdpa")


def input_convolutions(model: Any) -> list[Any]:
    """Return the convolutions that read the pixels: the patch embedding, or what the architecture names."""
    if hasattr(model, "input_convolutions"):
        return list(model.input_convolutions())
    backbone = backbone_of(model)
    if hasattr(backbone, "conv_stem"):  # transformers' own CNNs
        return [backbone.conv_stem.convolution]
    return [backbone.embeddings.patch_embeddings.projection]
