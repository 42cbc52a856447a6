"""The parts of a classifier that fervit works on: its encoder and layers, its head, and what reads the pixels."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from fervit.errors import ModelError
from fervit.metadata import LUMA
from fervit.models.contract import HasDepths, HasInputConvolutions
from fervit.types import Preprocess

STEMS = (".embeddings.", ".conv_stem.")  # what comes before the first layer, in names of parameters

Config = TypeVar("Config", bound=PreTrainedConfig)


def backbone_of(model: nn.Module) -> nn.Module:
    """Return the encoder of a Hugging Face classifier: `model.vit`, `model.dinov2`, `model.backbone`."""
    return model.get_submodule(str(model.base_model_prefix))


def head_of(model: nn.Module) -> nn.Linear:
    """Return the linear layer that gives the logits."""
    head = model.get_submodule("classifier")
    assert isinstance(head, nn.Linear), head
    return head


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Return the encoder's layers, first to last."""
    return layers_in(backbone_of(model))


def layers_in(backbone: nn.Module) -> nn.ModuleList:
    """Return an encoder's layers, first to last.

    Raises:
        ModelError: there are none under the names that transformers uses.
    """
    for owner in (backbone, getattr(backbone, "encoder", None)):
        for name in ("layers", "layer"):
            layers = getattr(owner, name, None)
            if isinstance(layers, nn.ModuleList):
                return layers
    raise ModelError(f"no transformer layers found in {type(backbone).__name__}")


def layer_index(model: nn.Module) -> Callable[[str], int]:
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


def learning_depth(model: nn.Module) -> Callable[[str], int]:
    """Return a function from parameter name to the depth by which its learning rate goes, `classifier.*` the deepest.

    That is `layer_index`, or what a model says that is a `HasDepths`.
    """
    if not isinstance(model, HasDepths):
        return layer_index(model)
    own = model.depths()
    head = max(own.values()) + 1
    return lambda name: next((k for prefix, k in own.items() if name.startswith(prefix)), head)


@torch.no_grad()
def fold_luma(model: nn.Module, preprocess: Preprocess) -> None:
    """Rewrite the patch embedding so that the model sees colour images as their grey (luma) version.

    A model trained on grey images repeated to three channels only ever used the sum of its channel
    kernels; dividing that sum by ITU-R 601 luma leaves its logits for grey images as they are, and makes
    those for a colour image the ones of its grey version, in every runtime, with no extra step.
    """
    shape = (1, -1, 1, 1)
    mean = torch.tensor(preprocess.mean, dtype=torch.float64).view(shape)
    std = torch.tensor(preprocess.std, dtype=torch.float64).view(shape)
    luma = torch.tensor(LUMA, dtype=torch.float64).view(shape)
    if preprocess.channels == 1:  # of grey input, which colour crops are turned into before
        return
    for projection in input_convolutions(model):
        weight = projection.weight.double()
        kernel = (weight / std).sum(1, keepdim=True)  # (D, 1, P, P): the response to one unit of grey
        folded = kernel * std * luma
        projection.weight.copy_(folded)
        if projection.bias is not None:  # a convolution without one must have equal means and deviations
            offset = ((folded - weight) * mean / std).sum(dim=(1, 2, 3))
            projection.bias.copy_(projection.bias.double() + offset)


def input_convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions that read the pixels: the patch embedding, or what the architecture names."""
    if isinstance(model, HasInputConvolutions):
        return model.input_convolutions()
    backbone = backbone_of(model)
    of_cnn = hasattr(backbone, "conv_stem")  # transformers' own CNNs
    convolution = backbone.get_submodule(
        "conv_stem.convolution" if of_cnn else "embeddings.patch_embeddings.projection"
    )
    assert isinstance(convolution, nn.Conv2d), convolution
    return [convolution]


def attention_in_steps(config: Config) -> Config:
    """Have attention computed in single steps: the better form for a CPU with bf16, for export and to explain."""
    config._attn_implementation = "eager"
    return config


def fuse_attention(model: nn.Module, device: torch.device) -> None:
    """Have a GPU compute attention as one operation, which keeps no matrix of tokens by tokens in its memory.

    Models are loaded with `attention_in_steps`.
    """
    if device.type == "cuda" and isinstance(model, PreTrainedModel) and model._supports_sdpa:
        model.set_attn_implementation("sdpa")
