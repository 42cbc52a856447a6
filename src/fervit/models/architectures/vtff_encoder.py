# mypy: disallow-untyped-calls=False
"""First weights of a VTFF's encoder: the first layers, the CLS token and the positions of a ViT or a DINOv2."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fervit.config.architectures import VTFFOptions
from fervit.errors import ModelError
from fervit.models.architectures.vit import build_backbone
from fervit.models.backbone import layers_in
from fervit.models.folders.config import read_config
from fervit.models.inherit import check_fit
from fervit.models.pretrained import read_safetensors
from fervit.weights.hub import find_folder

Tensor = torch.Tensor
PATCH = 16  # of most ViTs
OF_LAYERS = ("hidden_act", "layer_norm_eps", "qkv_bias")  # what the weights of a layer were trained with


@dataclass(frozen=True)
class Encoder:
    """First weights of an encoder under the names of `VTFFModel`, and the fields that they were trained with."""

    fields: dict[str, Any]
    state: dict[str, Tensor]


def read_encoder(init: str | Path, options: VTFFOptions) -> Encoder:
    """Read the first layers, the CLS token and the positions of a ViT or a DINOv2 as those of an encoder.

    Raises:
        ModelError: the weights are missing or unreadable, or do not fit the options.
    """
    backbone, _ = build_backbone(init, options.grid * _patch_size(init))
    config = backbone.config
    if getattr(config, "use_swiglu_ffn", False):
        raise ModelError(f"{init} has gated layers (SwiGLU), which vtff has not; take a ViT or a smaller DINOv2")
    dinov2 = config.model_type == "dinov2"
    theirs = {
        "width": config.hidden_size,
        "heads": config.num_attention_heads,
        "mlp": config.hidden_size * config.mlp_ratio if dinov2 else config.intermediate_size,
    }
    check_fit(init, theirs, options)
    layers = layers_in(backbone)
    if len(layers) < options.depth:
        raise ModelError(f"{init} has {len(layers)} layers, model.depth is {options.depth}: set it to at most that")
    state = {
        f"embeddings.{name}": getattr(backbone.embeddings, name).detach()
        for name in ("cls_token", "position_embeddings")
    }
    for k in range(options.depth):
        of_layer = _as_vit_layer(layers[k]) if dinov2 else layers[k].state_dict()
        state |= {f"layers.{k}.{name}": tensor for name, tensor in of_layer.items()}
    return Encoder({name: getattr(config, name) for name in OF_LAYERS}, state)


def _patch_size(init: str | Path) -> int:
    """Return the patch size of a ViT's weights; where they cannot be read, `build_backbone` says why."""
    if Path(init).is_file():
        kernel = read_safetensors(Path(init)).get("patch_embed.proj.weight")
        return PATCH if kernel is None else int(kernel.shape[-1])
    try:
        config = read_config(find_folder(str(init)))
    except (OSError, ValueError, ModelError):
        return PATCH
    return int(getattr(config, "patch_size", PATCH))


def _as_vit_layer(layer: nn.Module) -> dict[str, Tensor]:
    """Return a DINOv2 layer's weights as those of the ViT layer that computes the same: its scales folded in."""
    state = layer.state_dict()
    for scale, linear in (("layer_scale1", "attention.o_proj"), ("layer_scale2", "mlp.fc2")):
        factor = state.pop(f"{scale}.lambda1")
        state[f"{linear}.weight"] = state[f"{linear}.weight"] * factor[:, None]
        state[f"{linear}.bias"] = state[f"{linear}.bias"] * factor
    for dinov2, vit in (("norm1", "layernorm_before"), ("norm2", "layernorm_after")):
        for part in ("weight", "bias"):
            state[f"{vit}.{part}"] = state.pop(f"{dinov2}.{part}")
    return state
