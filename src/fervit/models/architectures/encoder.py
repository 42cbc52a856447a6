"""A ViT or DINOv2 encoder inside another architecture: kept in its configuration as plain values, made from them."""

from typing import Any

from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

OF_A_CLASSIFIER = ("id2label", "label2id", "architectures", "transformers_version", "dtype", "fervit")


def encoder_values(config: Any) -> dict[str, Any]:
    """Return an encoder's configuration as plain values, without what belongs to a classifier or to a file."""
    values = config.to_diff_dict() | {key: getattr(config, key) for key in ("model_type", "image_size", "patch_size")}
    return {key: value for key, value in values.items() if key not in OF_A_CLASSIFIER and not key.startswith("_")}


def new_encoder(values: dict[str, Any], attention: str | None) -> Any:
    """Return the `ViTModel` or `Dinov2Model` of `encoder_values`, with first weights and this form of attention."""
    fields = dict(values)
    dinov2 = fields.pop("model_type", "vit") == "dinov2"
    config: Any = (Dinov2Config if dinov2 else ViTConfig)(**fields)
    config._attn_implementation = attention
    return Dinov2Model(config) if dinov2 else ViTModel(config, add_pooling_layer=False)
