# mypy: disallow-untyped-calls=False
"""Image classifiers of many kinds, as the Hub has them: the labels' spelling, and the pipeline's probabilities."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from fervit.inference.loading import open_classifier
from fervit.labels import FER7
from fervit.models.pretrained import label_fields
from tests.helpers.commands import error_of, run

TOLERANCE = 1e-3  # of a probability
HUB = ("Sad", "DISGUST", "anger", "neutral", "Fear", "surprised", "Happiness")  # in an order and spelling of its own
OURS = ("sad", "disgust", "angry", "neutral", "fear", "surprise", "happy")
VIT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
VIT |= {"image_size": 32, "intermediate_size": 64}
SWIN: dict[str, Any] = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}
CONVNEXT: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4}
EFFICIENTNET: dict[str, Any] = {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128, "image_size": 32}
SQUARE: dict[str, Any] = {"size": {"height": 32, "width": 32}}
CROPPED: dict[str, Any] = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}

FAMILIES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "vit": (
        lambda **more: transformers.ViTConfig(**VIT, **more),
        {"image_processor_type": "ViTImageProcessor"} | SQUARE,
    ),
    "vit, fast": (
        lambda **more: transformers.ViTConfig(**VIT, **more),
        {"image_processor_type": "ViTImageProcessorFast", "do_convert_rgb": None} | SQUARE,
    ),
    "deit": (
        lambda **more: transformers.DeiTConfig(**VIT, architectures=["DeiTForImageClassification"], **more),
        {"image_processor_type": "DeiTImageProcessor", "do_center_crop": True} | CROPPED,
    ),
    "beit": (
        lambda **more: transformers.BeitConfig(**VIT, use_relative_position_bias=True, **more),
        {"image_processor_type": "BeitImageProcessor", "do_center_crop": False} | SQUARE,
    ),
    "dinov2": (
        lambda **more: transformers.Dinov2Config(**VIT, mlp_ratio=2, **more),
        {"image_processor_type": "BitImageProcessor"} | CROPPED,
    ),
    "dinov2, registers": (
        lambda **more: transformers.Dinov2WithRegistersConfig(**VIT, mlp_ratio=2, **more),
        {"image_processor_type": "BitImageProcessorFast"} | CROPPED,
    ),
    "convnext": (
        lambda **more: transformers.ConvNextConfig(**CONVNEXT, **more),
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}},
    ),
    "convnextv2": (
        lambda **more: transformers.ConvNextV2Config(**CONVNEXT, **more),
        {"image_processor_type": "ConvNextImageProcessorFast", "size": {"shortest_edge": 32}},
    ),
    "swin": (
        lambda **more: transformers.SwinConfig(**SWIN, window_size=4, **more),
        {"image_processor_type": "ViTImageProcessor"} | SQUARE,
    ),
    "swinv2": (
        lambda **more: transformers.Swinv2Config(**SWIN, window_size=4, **more),
        {"image_processor_type": "ViTImageProcessorFast"} | SQUARE,
    ),
    "efficientnet": (
        lambda **more: transformers.EfficientNetConfig(**EFFICIENTNET, **more),
        {"image_processor_type": "EfficientNetImageProcessor"} | SQUARE,
    ),
    "resnet": (
        lambda **more: transformers.ResNetConfig(hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8, **more),
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}},
    ),
}


def draw_images(*sizes: tuple[int, int]) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    coarse = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in sizes]
    return [image.resize(size, Image.Resampling.BICUBIC) for image, size in zip(coarse, sizes, strict=True)]


IMAGES = draw_images((64, 64), (33, 33), (61, 90))


def write_family(folder: Path, name: str, labels: tuple[str, ...] = HUB) -> Path:
    """Write a small random model whose predictions depend on the image, as a folder of the Hub."""
    make, processor = FAMILIES[name]
    torch.manual_seed(0)
    folder.mkdir()
    settings = make(**label_fields(labels))
    settings.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    own = AutoImageProcessor.from_pretrained(folder, backend="pil")
    x = torch.cat([torch.tensor(own(image)["pixel_values"][0])[None] for image in IMAGES]).float()
    model = AutoModelForImageClassification.from_config(settings, dtype=torch.float32).eval()
    head = next(m for m in reversed(list(model.modules())) if isinstance(m, torch.nn.Linear) and m.out_features == 7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * (0.2 if weight.ndim > 1 else 0.05))
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        model.train()(pixel_values=x)  # the statistics of these images, which keep activations from vanishing
        logits = model.eval()(pixel_values=x).logits
        scale = 2 / logits.std(dim=0).clamp(min=1e-6)
        head.weight.mul_(scale[:, None])
        head.bias.copy_((head.bias - logits.mean(dim=0)) * scale)
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_of_the_hub_predicts_what_the_pipeline_predicts(tmp_path: Path, name: str) -> None:
    folder = write_family(tmp_path / "m", name)
    classify: Any = pipeline("image-classification", model=str(folder), top_k=7)
    rows = [{item["label"]: item["score"] for item in classify(image)} for image in IMAGES]
    expected = np.array([[row[label] for label in HUB] for row in rows])
    assert np.ptp(expected, axis=0).max() > 0.02, "all images look alike to the model"
    classifier = open_classifier(folder)
    assert classifier.spec.labels == OURS
    np.testing.assert_allclose(classifier.probs([np.asarray(x) for x in IMAGES]), expected, atol=TOLERANCE)


def test_two_spellings_of_one_expression_stay_as_they_are(tmp_path: Path) -> None:
    labels = ("joy", "Happy", "anger", "neutral", "Fear", "surprised", "sad")
    assert open_classifier(write_family(tmp_path / "m", "vit", labels)).spec.labels == labels


def test_numbers_for_labels_ask_for_names(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "m", "vit", tuple(f"LABEL_{k}" for k in range(7)))
    assert open_classifier(folder, label_map="fer7").spec.labels == FER7


@pytest.mark.slow
def test_an_exported_file_keeps_the_names_for_all_commands(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "m", "vit", tuple(f"LABEL_{k}" for k in range(7)))
    refused = run("export", folder, "--out", tmp_path / "m.onnx")
    assert "calls its outputs LABEL_0" in error_of(refused)
    done = run("export", folder, "--out", tmp_path / "m.onnx", "--label-map", "fer7")
    assert done.exit_code == 0, done.output
    assert open_classifier(tmp_path / "m.onnx").spec.labels == FER7
