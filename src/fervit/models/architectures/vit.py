"""Vision Transformers for classification: Hugging Face ViT and DINOv2, started from weights of any form.

Starting weights may be a Hub id, a Hugging Face model folder (of fervit's or anyone's), or a safetensors file
in timm's naming. Positions are interpolated to the wanted image size and the head is re-made for the labels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fervit.config.architectures import ViTOptions
from fervit.errors import ModelError
from fervit.models.backbone import backbone_of
from fervit.models.positions import patch_grid, resize_positions
from fervit.models.pretrained import as_named_in, from_hugging_face
from fervit.models.timm import from_timm
from fervit.types import Preprocess


def build(init: str | Path, labels: Sequence[str], image_size: int, options: ViTOptions) -> tuple[Any, Preprocess]:
    """Return a classifier over `labels` at `image_size` px, with the preprocessing that its weights expect.

    Raises:
        ModelError: the weights are missing, unsafe (a pickle), truncated, of an unknown form, or their patch
            size does not divide `image_size`.
    """
    path = Path(init)
    model: Any
    if path.is_file():
        model, preprocess = from_timm(path, labels, image_size)
    else:
        model, preprocess = from_hugging_face(init, labels, image_size, kinds=("vit", "dinov2"), files=True)
        model = _at_size(model, image_size)
    if options.pool == "cls_mean" and model.config.model_type == "vit":
        model = _with_mean_pool(model)
    return model, preprocess


def build_backbone(init: str | Path, image_size: int) -> tuple[Any, Preprocess]:
    """Return the encoder alone (`ViTModel` or `Dinov2Model`) of the same starting weights; see `build`."""
    model, preprocess = build(init, ("none",), image_size, ViTOptions())
    return backbone_of(model), preprocess


def _at_size(model: Any, image_size: int) -> Any:
    """Return the same classifier for an image size, with its positions interpolated where it had another."""
    grid = patch_grid(image_size, model.config.patch_size)
    if model.config.image_size == image_size:
        return model
    config = type(model.config).from_dict(model.config.to_dict() | {"image_size": image_size})
    config._attn_implementation = "eager"
    resized = type(model)(config)
    key = f"{model.base_model_prefix}.embeddings.position_embeddings"
    state = model.state_dict()
    resized.load_state_dict(state | {key: resize_positions(state[key], grid)})
    return resized


def _with_mean_pool(model: Any) -> Any:
    """Return a ViT as the DINOv2 that computes the same features, whose head also sees the patches' mean."""
    from transformers import Dinov2Config, Dinov2ForImageClassification

    old = model.config
    if old.intermediate_size % old.hidden_size:
        raise ModelError(
            f"cls_mean needs layers whose hidden part is a multiple of their width, got {old.intermediate_size} and "
            f"{old.hidden_size}"
        )
    config: Any = Dinov2Config(
        hidden_size=old.hidden_size,
        num_hidden_layers=old.num_hidden_layers,
        num_attention_heads=old.num_attention_heads,
        mlp_ratio=old.intermediate_size // old.hidden_size,
        hidden_act=old.hidden_act,
        hidden_dropout_prob=old.hidden_dropout_prob,
        attention_probs_dropout_prob=old.attention_probs_dropout_prob,
        image_size=old.image_size,
        patch_size=old.patch_size,
        layer_norm_eps=old.layer_norm_eps,
        qkv_bias=old.qkv_bias,
        layerscale_value=1.0,
        id2label=old.id2label,
        label2id=old.label2id,
    )
    config._attn_implementation = "eager"
    pooled = Dinov2ForImageClassification(config)
    renamed = {
        "vit.layers.": "dinov2.encoder.layer.",
        "vit.": "dinov2.",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
    }
    state = {}
    for name, tensor in model.state_dict().items():
        for part, new in renamed.items():
            name = name.replace(part, new)
        if not name.startswith("classifier."):
            state[name] = tensor
    missing, unexpected = pooled.load_state_dict(as_named_in(pooled, state), strict=False)
    ours = ("classifier.", "mask_token", "lambda1")  # the new head, and what starts neutral
    missing = [name for name in missing if not any(part in name for part in ours)]
    if missing or unexpected:
        raise ModelError(f"cls_mean: the weights do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return pooled
