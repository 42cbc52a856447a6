"""A ViT or DINOv2 encoder inside another architecture: kept in its configuration as plain values, made from them."""

from typing import Any

from transformers import Dinov2Config, Dinov2Model, PreTrainedConfig, PreTrainedModel, ViTConfig, ViTModel

# Fields of a configuration that belong to a classifier or to a file, not to an encoder.
OF_A_CLASSIFIER = ("id2label", "label2id", "architectures", "transformers_version", "dtype", "fervit")


class EncoderSizes:
    """Sizes of the input, for a configuration whose `encoder` has the plain values of its encoder's."""

    encoder: dict[str, Any]

    @property
    def image_size(self) -> int:
        """Side of the input in px."""
        return int(self.encoder["image_size"])

    @property
    def patch_size(self) -> int:
        """Side of the encoder's patches in px."""
        return int(self.encoder["patch_size"])


def encoder_values(config: PreTrainedConfig) -> dict[str, Any]:
    """Return an encoder's configuration as plain values, without what belongs to a classifier or to a file."""
    values = config.to_diff_dict() | {key: getattr(config, key) for key in ("model_type", "image_size", "patch_size")}
    return {key: value for key, value in values.items() if key not in OF_A_CLASSIFIER and not key.startswith("_")}


def new_encoder(values: dict[str, Any], attention: str | None) -> PreTrainedModel:
    """Return the `ViTModel` or `Dinov2Model` of `encoder_values`, with first weights and this form of attention."""
    fields = dict(values)
    if fields.pop("model_type", "vit") == "dinov2":
        dinov2 = Dinov2Config(**fields)
        dinov2._attn_implementation = attention
        return Dinov2Model(dinov2)
    vit = ViTConfig(**fields)
    vit._attn_implementation = attention
    return ViTModel(vit, add_pooling_layer=False)
