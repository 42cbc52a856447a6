"""Vision Transformers in timm's naming, as plain safetensors files: ViT and DINOv2."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

from fervit.errors import ModelError
from fervit.models.backbone import attention_in_steps
from fervit.models.positions import patch_grid, resize_positions
from fervit.models.pretrained import HALF, as_named_in, check_shapes, label_fields, load_state, read_safetensors
from fervit.types import Preprocess

# A file does not say how many attention heads it has. Up to ViT-L they are 64 wide; the larger ones are
# ViT-H (arXiv 2010.11929, table 1), ViT-g and ViT-G (arXiv 2106.04560), and DINOv2's ViT-g of 24 heads (2304.07193).
HEAD_WIDTH, LARGEST_OF_64 = 64, 1024
HEADS = {1280: 16, 1408: 16, 1536: 24, 1664: 16}
TIMM_NORM_EPS = 1e-6  # timm's LayerNorm; Hugging Face's default for ViT is 1e-12
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def from_timm(path: Path, labels: Sequence[str], image_size: int) -> tuple[PreTrainedModel, Preprocess]:
    """Build from timm's names; layer scale distinguishes a DINOv2 from a plain ViT.

    Raises:
        ModelError: the file is no safetensors file of a ViT with a CLS token, or does not fit `image_size`.
    """
    weights = read_safetensors(path)
    if "patch_embed.proj.weight" not in weights or "pos_embed" not in weights:
        raise ModelError(f"{path} does not hold a ViT in timm's naming (no patch_embed.proj.weight, pos_embed)")
    dinov2 = "blocks.0.ls1.gamma" in weights
    model = _new(path, weights, labels, image_size)
    positions = weights["pos_embed"].float()
    if positions.shape[1] == round((positions.shape[1]) ** 0.5) ** 2:
        raise ModelError(f"{path} has no position for a CLS token; only ViTs with one are supported")
    weights["pos_embed"] = resize_positions(positions, image_size // model.config.patch_size)
    state = as_named_in(model, timm_to_hugging_face(weights, dinov2=dinov2))
    places = model.state_dict()
    check_shapes(path, ((k, v.shape, places[k].shape) for k, v in state.items() if k in places))
    state = {k: v.float() for k, v in state.items()}
    load_state(model, state, renewed=("classifier.", "mask_token"), misfit=f"{path} does not fit")
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if dinov2 else (HALF, HALF)
    return model, Preprocess(image_size=image_size, mean=mean, std=std)


def _new(path: Path, weights: Mapping[str, torch.Tensor], labels: Sequence[str], image_size: int) -> PreTrainedModel:
    """Return a model of the shape that a file's tensors have, with first weights."""
    width, _, patch, _ = weights["patch_embed.proj.weight"].shape
    hidden = len(weights["blocks.0.mlp.fc1.bias"])
    patch_grid(image_size, patch)  # raises where the patches do not fit
    sizes: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks.")),
        "num_attention_heads": _heads_of(path, width),
        "image_size": image_size,
        "patch_size": patch,
        "layer_norm_eps": TIMM_NORM_EPS,
        **label_fields(labels),
    }
    if "blocks.0.ls1.gamma" in weights:
        return Dinov2ForImageClassification(attention_in_steps(Dinov2Config(mlp_ratio=hidden // width, **sizes)))
    return ViTForImageClassification(attention_in_steps(ViTConfig(intermediate_size=hidden, **sizes)))


def _heads_of(path: Path, width: int) -> int:
    """Return how many attention heads a ViT of this width has."""
    if width in HEADS:
        return HEADS[width]
    if width > LARGEST_OF_64 or width % HEAD_WIDTH:
        known = f"multiples of {HEAD_WIDTH} up to {LARGEST_OF_64}, and {', '.join(map(str, HEADS))}"
        raise ModelError(
            f"{path} holds a ViT of width {width}, and does not say how many heads it has (known: {known}); "
            "convert it to a Hugging Face folder, whose config.json does"
        )
    return width // HEAD_WIDTH


def timm_to_hugging_face(weights: dict[str, torch.Tensor], *, dinov2: bool) -> dict[str, torch.Tensor]:
    """Rename timm's tensors to those of transformers 5 and split the joint query-key-value matrix."""
    prefix = "dinov2" if dinov2 else "vit"
    layer = "dinov2.encoder.layer" if dinov2 else "vit.layers"
    norms = ("norm1", "norm2") if dinov2 else ("layernorm_before", "layernorm_after")
    parts = {
        "norm1": norms[0],
        "norm2": norms[1],
        "attn.proj": "attention.o_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    roots = {
        "cls_token": f"{prefix}.embeddings.cls_token",
        "pos_embed": f"{prefix}.embeddings.position_embeddings",
        "patch_embed.proj.weight": f"{prefix}.embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": f"{prefix}.embeddings.patch_embeddings.projection.bias",
        "norm.weight": f"{prefix}.layernorm.weight",
        "norm.bias": f"{prefix}.layernorm.bias",
    }
    state: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if name in roots:
            state[roots[name]] = tensor
        elif name.startswith("blocks."):
            _, index, rest = name.split(".", 2)
            if rest.startswith("attn.qkv."):
                for part, chunk in zip("qkv", tensor.chunk(3), strict=True):
                    state[f"{layer}.{index}.attention.{part}_proj.{rest.rsplit('.', 1)[1]}"] = chunk.clone()
                continue
            old = next((p for p in parts if rest.startswith(p)), None)
            state[f"{layer}.{index}.{parts[old] + rest[len(old) :]}" if old else name] = tensor
        elif not name.startswith("head."):
            state[name] = tensor  # load_state_dict reports it
    return state
