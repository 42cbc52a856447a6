"""Vision Transformers for classification: Hugging Face ViT and DINOv2, started from weights of any form.

Starting weights may be a Hub id, a Hugging Face model folder (of fervit's or anyone's), or a safetensors file
in timm's naming. Positions are interpolated to the wanted image size and the head is re-made for the labels.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import Dinov2Config, Dinov2ForImageClassification, PreTrainedModel

from fervit.config.architectures import ViTOptions
from fervit.errors import ModelError
from fervit.models.backbone import attention_in_steps, backbone_of
from fervit.models.positions import patch_grid, resize_positions
from fervit.models.pretrained import as_named_in, from_hugging_face, load_state
from fervit.models.timm import from_timm
from fervit.types import Preprocess

# Fields that the configurations of a ViT and of a DINOv2 have in common.
IN_BOTH = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps", "qkv_bias"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "image_size", "patch_size", "id2label", "label2id"),
)
# Parts of the names of a ViT's weights, and what a DINOv2 calls them, in the order in which they are replaced.
RENAMED = {
    "vit.layers.": "dinov2.encoder.layer.",
    "vit.": "dinov2.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
}


def build(
    init: str | Path, labels: Sequence[str], image_size: int, options: ViTOptions
) -> tuple[PreTrainedModel, Preprocess]:
    """Return a classifier over `labels` at `image_size` px, with the preprocessing that its weights expect.

    Raises:
        ModelError: the weights are missing, unsafe (a pickle), truncated, of an unknown form, or their patch
            size does not divide `image_size`.
    """
    path = Path(init)
    if path.is_file():
        model, preprocess = from_timm(path, labels, image_size)
    else:
        model, preprocess = from_hugging_face(init, labels, image_size, kinds=("vit", "dinov2"), files=True)
        model = _at_size(model, image_size)
    if options.pool == "cls_mean" and model.config.model_type == "vit":
        model = _with_mean_pool(model)
    return model, preprocess


def build_backbone(init: str | Path, image_size: int) -> tuple[PreTrainedModel, Preprocess]:
    """Return the encoder alone (`ViTModel` or `Dinov2Model`) of the same starting weights; see `build`."""
    model, preprocess = build(init, ("none",), image_size, ViTOptions())
    backbone = backbone_of(model)
    assert isinstance(backbone, PreTrainedModel), backbone
    return backbone, preprocess


def _at_size(model: PreTrainedModel, image_size: int) -> PreTrainedModel:
    """Return the same classifier for an image size, with its positions interpolated where it had another."""
    grid = patch_grid(image_size, model.config.patch_size)
    if model.config.image_size == image_size:
        return model
    config = type(model.config).from_dict(model.config.to_dict() | {"image_size": image_size})
    resized = type(model)(attention_in_steps(config))
    key = f"{model.base_model_prefix}.embeddings.position_embeddings"
    state = model.state_dict()
    resized.load_state_dict(state | {key: resize_positions(state[key], grid)})
    return resized


def _with_mean_pool(model: PreTrainedModel) -> PreTrainedModel:
    """Return a ViT as the DINOv2 that computes the same features, whose head also sees the patches' mean."""
    old = model.config
    if old.intermediate_size % old.hidden_size:
        raise ModelError(
            f"cls_mean needs layers whose hidden part is a multiple of their width, got {old.intermediate_size} and "
            f"{old.hidden_size}"
        )
    config = Dinov2Config(
        mlp_ratio=old.intermediate_size // old.hidden_size,
        layerscale_value=1.0,
        **{name: getattr(old, name) for name in IN_BOTH},
    )
    pooled = Dinov2ForImageClassification(attention_in_steps(config))
    state = {}
    for name, tensor in model.state_dict().items():
        for part, new in RENAMED.items():
            name = name.replace(part, new)
        if not name.startswith("classifier."):
            state[name] = tensor
    renewed = ("classifier.", "mask_token", "lambda1")  # the new head, and what starts neutral
    load_state(pooled, as_named_in(pooled, state), renewed=renewed, misfit="cls_mean: the weights do not fit")
    return pooled
