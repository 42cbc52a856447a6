# mypy: disallow-untyped-calls=False
"""A folder's image processor: the same predictions as transformers' own pipeline, or a refusal by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel, pipeline

from fervit.errors import ImageError, ModelError
from fervit.evaluation.explanations import METHODS, explain
from fervit.export.onnx import export
from fervit.inference.classifier import OnnxClassifier
from fervit.labels import FER7
from fervit.media.crops import preprocess_batch, shrink_crop
from fervit.models import TorchClassifier, load_checkpoint, save_checkpoint
from fervit.models.inputs import to_input
from fervit.models.pretrained import label_fields
from fervit.types import ModelSpec

TOLERANCE = 1e-3  # of a probability
SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
MODELS: dict[str, Any] = {
    "vit": lambda **more: transformers.ViTConfig(**SMALL, intermediate_size=64, image_size=32, **more),
    "dinov2": lambda **more: transformers.Dinov2Config(**SMALL, mlp_ratio=2, image_size=40, **more),
    "convnext": lambda **more: transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, **more),
}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SQUARE = {"height": 32, "width": 32}
VIT: dict[str, Any] = {"image_processor_type": "ViTImageProcessor", "size": SQUARE}
BIT: dict[str, Any] = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 40},
    "crop_size": SQUARE,
    "image_mean": MEAN,
    "image_std": STD,
}
PROCESSORS: dict[str, dict[str, Any]] = {
    "square": VIT,
    "fast": VIT | {"image_processor_type": "ViTImageProcessorFast"},
    "feature extractor": {"feature_extractor_type": "ViTFeatureExtractor", "size": 32},
    "named by the model alone": {"size": 32},
    "not normalised": VIT | {"do_normalize": False},
    "another factor": VIT | {"rescale_factor": 1 / 127.5},
    "not rescaled": VIT | {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [60.0, 70.0, 80.0]},
    "neither": VIT | {"do_rescale": False, "do_normalize": False},
    "one mean for all": VIT | {"image_mean": [0.4] * 3, "image_std": [0.3] * 3},
    "nearest": VIT | {"resample": 0},
    "lanczos": VIT | {"resample": 1},
    "bicubic": VIT | {"resample": 3},
    "box": VIT | {"resample": 4},
    "hamming": VIT | {"resample": 5},
    "converted": VIT | {"do_convert_rgb": True},
    "shortest edge and crop": BIT,
    "shortest edge and crop, fast": BIT | {"image_processor_type": "BitImageProcessorFast"},
    "crop of a whole number": BIT | {"size": 40, "crop_size": 32},
    "odd crop": BIT | {"size": {"shortest_edge": 45}},
    "crop beyond the image": BIT | {"size": {"shortest_edge": 25}},
    "crop of a square": BIT | {"size": {"height": 41, "width": 41}},
    "crop alone": BIT | {"do_resize": False},
    "crop, not normalised": BIT | {"do_normalize": False},
    "fields of the class": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 36},
        "crop_size": 32,
    },
    "DeiT": {"image_processor_type": "DeiTImageProcessor", "size": 48, "crop_size": SQUARE},
    "BEiT": {"image_processor_type": "BeitImageProcessor", "size": 48, "crop_size": SQUARE, "do_center_crop": True},
    "LeViT": {"image_processor_type": "LevitImageProcessor", "size": {"shortest_edge": 32}, "crop_size": SQUARE},
    "MobileNet v1": {
        "image_processor_type": "MobileNetV1ImageProcessor",
        "size": {"shortest_edge": 36},
        "crop_size": 32,
    },
    "MobileNet v2": {
        "image_processor_type": "MobileNetV2ImageProcessor",
        "size": {"shortest_edge": 36},
        "crop_size": 32,
    },
    "PoolFormer": {"image_processor_type": "PoolFormerImageProcessor", "size": {"shortest_edge": 32}, "crop_size": 32},
    "EfficientNet": {"image_processor_type": "EfficientNetImageProcessor", "size": SQUARE},
    "EfficientNet, offset": {
        "image_processor_type": "EfficientNetImageProcessor",
        "size": SQUARE,
        "rescale_factor": 1 / 127.5,
        "rescale_offset": True,
        "image_mean": MEAN,
        "image_std": STD,
    },
    "EfficientNet, top alone": {
        "image_processor_type": "EfficientNetImageProcessor",
        "size": SQUARE,
        "do_normalize": False,
        "image_std": STD,
    },
    "ConvNeXt": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}},
    "ConvNeXt, fraction": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_pct": 0.7,
    },
    "ConvNeXt, large": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
}


def draw_images(*shapes: tuple[int, int]) -> list[np.ndarray]:
    """Return smooth colour images of these heights and widths."""
    rng = np.random.default_rng(3)
    coarse = [rng.integers(0, 256, (9, 9, 3), dtype=np.uint8) for _ in shapes]
    return [
        np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC))
        for image, shape in zip(coarse, shapes, strict=True)
    ]


IMAGES = draw_images((64, 64), (33, 33), (90, 61), (50, 71))


def write_folder(folder: Path, kind: str, processor: dict[str, Any], **config: Any) -> Path:
    """Write a small random model of a kind, whose predictions depend on the image, with an image processor."""
    torch.manual_seed(0)
    folder.mkdir()
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    settings = MODELS[kind](**{**label_fields(FER7), **config})
    settings.save_pretrained(folder)
    model = AutoModelForImageClassification.from_config(settings).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn_like(weight) * (0.3 if weight.ndim > 1 else 0.1))
        own = AutoImageProcessor.from_pretrained(folder, backend="pil")
        x = torch.cat([torch.tensor(own(Image.fromarray(image))["pixel_values"][0])[None] for image in IMAGES[:2]])
        logits = model(pixel_values=x[:, : settings.num_channels].float()).logits
        scale = 1 / logits.std(dim=0).clamp(min=1e-6)
        model.classifier.weight.mul_(scale[:, None])
        model.classifier.bias.copy_((model.classifier.bias - logits.mean(dim=0)) * scale)
    model.save_pretrained(folder)
    return folder


def expect(folder: Path, images: list[np.ndarray]) -> np.ndarray:
    """Return what transformers' pipeline predicts, `(N, 7)`."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    classify: Any = pipeline("image-classification", model=str(folder), image_processor=processor, top_k=7)
    rows = [{item["label"]: item["score"] for item in classify(Image.fromarray(image))} for image in images]
    return np.array([[row[name] for name in FER7] for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_predictions_are_those_of_the_pipeline(tmp_path: Path, kind: str, name: str) -> None:
    if kind == "vit" and name == "ConvNeXt, large":
        pytest.skip("this ViT takes 32 px")
    if name == "neither" and kind != "dinov2":
        pytest.skip("the pipeline hands whole numbers to the model")
    if name == "named by the model alone" and kind != "vit":
        pytest.skip("its own processor wants other fields")
    folder = write_folder(tmp_path / "m", kind, PROCESSORS[name])
    expected = expect(folder, IMAGES)
    assert np.ptp(expected, axis=0).max() > 0.05, "all images look alike to the model"
    np.testing.assert_allclose(TorchClassifier(folder).probs(IMAGES), expected, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("dinov2", "not normalised"),
        ("vit", "another factor"),
        ("dinov2", "lanczos"),
        ("vit", "shortest edge and crop"),
        ("dinov2", "crop alone"),
    ],
)
def test_an_exported_file_predicts_as_the_pipeline_too(tmp_path: Path, kind: str, name: str) -> None:
    folder = write_folder(tmp_path / "m", kind, PROCESSORS[name])
    export(folder, tmp_path / "m.onnx")
    actual = OnnxClassifier(tmp_path / "m.onnx", threads=1).probs(IMAGES)
    np.testing.assert_allclose(actual, expect(folder, IMAGES), atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSORS)
def test_training_sees_nearly_the_same_pixels(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "m", "convnext", PROCESSORS[name] | {"size": PROCESSORS[name]["size"]})
    spec = TorchClassifier(folder).spec
    for image in IMAGES:
        expected = preprocess_batch([image], spec.preprocess)
        actual = to_input(torch.tensor(image).permute(2, 0, 1)[None], spec.preprocess).numpy()
        level = 1 / 255 / min(spec.preprocess.std)
        assert np.abs(actual - expected).max() <= 2.5 * level


@pytest.mark.slow
def test_a_model_of_grey_images_is_given_grey_images(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", "vit", VIT, num_channels=1)
    grey = [np.asarray(Image.fromarray(image).convert("L")) for image in IMAGES]
    pixels = [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)) for image in grey]
    x = (torch.tensor(np.stack(pixels))[:, None] / 255 - 0.4) / 0.4
    model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=False)
    with torch.no_grad():
        expected = model(pixel_values=x).logits.softmax(dim=1).numpy()
    specs = []
    for mean in ([0.4], [0.4, 0.4, 0.4], 0.4):
        processor = VIT | {"image_mean": mean, "image_std": mean}
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        classifier = TorchClassifier(folder)
        specs.append(classifier.spec)
        for images in (grey, [image[:, :, None] for image in grey], IMAGES):
            np.testing.assert_allclose(classifier.probs(images), expected, atol=TOLERANCE)
    assert specs[0] == specs[1] == specs[2]
    export(folder, tmp_path / "m.onnx")
    np.testing.assert_allclose(OnnxClassifier(tmp_path / "m.onnx").probs(IMAGES), expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_flip_channel_order": True}, "does not do what do_flip_channel_order asks for"),
        ({"do_pad": True}, "does not do what do_pad asks for"),
        ({"do_thumbnail": True}, "does not do what do_thumbnail asks for"),
        ({"do_resize": "no"}, "do_resize is 'no'; expected true or false"),
        ({"do_resize": False}, "do_resize is false, so that images of any size reach the model"),
        ({"size": {"height": 32, "width": 48}}, "fervit's models take square images"),
        ({"size": {"longest_edge": 32}}, "expected shortest_edge, or height and width"),
        ({"size": {"shortest_edge": 32, "longest_edge": 40}}, "expected shortest_edge, or height and width"),
        ({"size": 0}, "size"),
        ({"size": -4}, "size"),
        ({"size": 10**7}, "expected 1 to 2,048 px"),
        ({"size": "32"}, "size"),
        ({"size": None}, "size"),
        ({"size": 48}, "does not take what its preprocessor_config.json makes, 3 x 48 x 48"),
        ({"do_center_crop": True}, "crop_size is missing"),
        ({"do_center_crop": True, "crop_size": {"height": 32, "width": 16}}, "square images"),
        ({"do_center_crop": True, "crop_size": 24}, "3 x 24 x 24"),
        ({"resample": "bilinear"}, "resample 'bilinear' is none of Pillow's filters"),
        ({"resample": True}, "resample True is none"),
        ({"rescale_factor": 0}, "rescale_factor is '0'; expected a number above 0"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"rescale_factor": float("nan")}, "rescale_factor"),
        ({"image_std": [0.5, 0, 0.5]}, "expected numbers above 0"),
        ({"image_std": [0.5, float("inf"), 0.5]}, "expected a number for each channel"),
        ({"image_mean": [0.5, 0.4]}, "image_mean has 2 numbers, and the model's input 3 channels"),
        ({"image_mean": "grey"}, "expected a number for each channel"),
        (
            {"image_processor_type": "Siglip2ImageProcessor"},
            "does not do what the image processor Siglip2ImageProcessor",
        ),
        ({"image_processor_type": "MyOwnImageProcessor"}, "does not do what the image processor MyOwnImageProcessor"),
        ({"image_processor_type": "AutoModel"}, "does not do what the image processor AutoModel"),
        ({"image_processor_type": ["x"]}, "expected the name of a class"),
        ({"image_processor_type": "ConvNextImageProcessor"}, "has no shortest_edge"),
        ({"image_processor_type": "PoolFormerImageProcessor", "crop_pct": 0}, "expected a fraction"),
    ],
)
def test_what_is_not_done_is_refused_by_name(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    folder = write_folder(tmp_path / "m", "vit", VIT)
    (folder / "preprocessor_config.json").write_text(json.dumps(VIT | changes), encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        TorchClassifier(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_oblong_images_that_would_stay_so_are_said_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "m", "vit", BIT)
    processor = BIT | {"do_center_crop": False, "size": {"shortest_edge": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    square = IMAGES[:2]
    np.testing.assert_allclose(TorchClassifier(folder).probs(square), expect(folder, square), atol=TOLERANCE)
    assert "size.shortest_edge without do_center_crop" in caplog.text


@pytest.mark.slow
def test_a_checkpoint_keeps_what_it_was_given(tmp_path: Path) -> None:
    for k, name in enumerate(("shortest edge and crop", "crop alone", "another factor", "lanczos", "crop of a square")):
        model, spec = load_checkpoint(write_folder(tmp_path / f"{k}", "vit", PROCESSORS[name]))
        assert isinstance(model, PreTrainedModel)
        save_checkpoint(model, spec, tmp_path / f"{k}-again")
        assert load_checkpoint(tmp_path / f"{k}-again")[1].preprocess == spec.preprocess
        assert ModelSpec.from_json(spec.to_json()) == spec


def test_faces_in_a_photo_are_read_as_their_crops_are(tmp_path: Path) -> None:
    spec = TorchClassifier(write_folder(tmp_path / "m", "vit", BIT)).spec
    for image in draw_images((300, 300), (1500, 1500), (40, 40)):
        crop = shrink_crop(image, spec)
        expected, actual = (preprocess_batch([x], spec.preprocess) for x in (image, crop))
        assert np.abs(expected - actual).max() < 0.05


def test_maps_lie_where_the_model_looked(tmp_path: Path) -> None:
    classifier = TorchClassifier(write_folder(tmp_path / "m", "vit", BIT))
    for method in METHODS:
        found = explain(classifier, IMAGES[0], method=method)
        assert found.crop.shape == (40, 40, 3) and found.heat.shape == (40, 40)
        assert found.score == pytest.approx(classifier.probs([IMAGES[0]]).max(), abs=0.01)
    edge = explain(classifier, IMAGES[0], method="gradient").heat[0]
    assert not edge.any()  # it is cut away before the model sees it


def test_an_image_too_oblong_for_its_shortest_edge_is_refused(tmp_path: Path) -> None:
    spec = TorchClassifier(write_folder(tmp_path / "m", "vit", BIT)).spec
    with pytest.raises(ImageError, match="1 : 20"):
        preprocess_batch([np.zeros((1, 60_000, 3), np.uint8)], spec.preprocess)
