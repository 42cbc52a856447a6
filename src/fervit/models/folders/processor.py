# mypy: disallow-untyped-calls=False
"""`preprocessor_config.json`: what transformers' image processors do, as a `Preprocess`; or a refusal by name.

The fields that a file lacks are those of its class in transformers, and the arithmetic of all of them, rescaling and
normalising, becomes one mean and one deviation, so that every runtime follows it without knowing of it.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig
from transformers.image_processing_backends import PilBackend
from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES

from fervit.errors import ModelError, reason
from fervit.metadata import FILTERS, MAX_RESIZED, MEAN
from fervit.types import Preprocess
from fervit.weights.layout import PROCESSOR, read_object

log = logging.getLogger(__name__)

NAMES = {number: name for name, number in FILTERS.items()}
# The classes that resize, cut, rescale and normalise as all others do, in code of their own, or in a way known here.
OWN = ("Beit", "MobileNetV2", "MobileNetV1", "Segformer", "ConvNext", "Levit", "PoolFormer", "EfficientNet")
OWN_STEPS = tuple(f"{name}ImageProcessorPil" for name in OWN)
FLAGS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
# Steps that change nothing here: crops are RGB, and labels are no part of the input.
NEUTRAL = ("do_convert_rgb", "do_reduce_labels")
# Such a processor resizes the shortest edge to more than what it cuts: LeViT by this factor.
LEVIT_FACTOR = 256 / 224
MAX_FACTOR = 1e6  # of rescaling; 1/255 is common
CONVNEXT_WARPS_FROM = 384  # px from which a ConvNeXt's processor cuts nothing


@dataclass(frozen=True)
class _Geometry:
    """Where the pixels of the input come from: its side in px, and `Preprocess.resize_to`."""

    side: int
    resize_to: tuple[int, ...] | None


def read_preprocess(
    folder: Path,
    config: PreTrainedConfig,
    *,
    image_size: int | None = None,
    margins: Mapping[str, float] | None = None,
) -> Preprocess:
    """Read `preprocessor_config.json` of a folder.

    Args:
        folder: of the model.
        config: its configuration, which says how many channels the input has.
        image_size: side in px of an input that is wanted instead, for training: crops are resized to it as a whole.
        margins: the fields of `Preprocess` that the file does not hold.

    Raises:
        ModelError: there is none, it is not readable, or it asks for what fervit does not do; the message names it.
    """
    path = folder / PROCESSOR
    try:
        values = read_object(path)
    except FileNotFoundError:
        raise ModelError(f"{folder} has no {PROCESSOR}, so its mean and std are unknown") from None
    processor = _processor(path, values, config)
    _check_flags(path, processor, values)
    number = processor.resample if processor.resample is not None else FILTERS["bilinear"]
    if isinstance(number, bool) or not isinstance(number, int) or int(number) not in NAMES:
        known = ", ".join(f"{number} ({name})" for number, name in NAMES.items())
        raise ModelError(f"{path}: resample {number!r} is none of Pillow's filters: {known}")
    geometry = _Geometry(image_size, None) if image_size else _geometry(path, processor)
    mean, std = _mean_and_std(path, processor, config)
    try:
        return Preprocess.from_dict(
            {
                "image_size": geometry.side,
                "mean": mean,
                "std": std,
                "interpolation": NAMES[int(number)],
                "resize_to": geometry.resize_to,
                **(margins or {}),
            }
        )
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def processor_of(preprocess: Preprocess) -> dict[str, object]:
    """Return the content of `preprocessor_config.json` that does what a `Preprocess` says."""
    side, sides = preprocess.image_size, preprocess.resize_to
    size: dict[str, int] = {"height": side, "width": side}
    if sides:
        size = {"shortest_edge": sides[0]} if len(sides) == 1 else {"height": sides[0], "width": sides[1]}
    values: dict[str, object] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": sides != (),
        "size": size,
        "resample": FILTERS[preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }
    if sides is not None:
        values |= {"do_center_crop": True, "crop_size": {"height": side, "width": side}}
    return values


def _processor(path: Path, values: Mapping[str, object], config: PreTrainedConfig) -> Any:
    """Return transformers' own processor for a file, in its form for Pillow."""
    named = values.get("image_processor_type") or values.get("feature_extractor_type")
    if named is None:
        classes = IMAGE_PROCESSOR_MAPPING_NAMES.get(config.model_type) or {}
        named = classes.get("pil") or "ViTImageProcessorPil"
    if not isinstance(named, str) or not named.isidentifier():
        raise ModelError(f"{path}: image_processor_type is {str(named)[:60]!r}; expected the name of a class")
    base = named.removesuffix("Pil").removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    kind = getattr(transformers, f"{base}Pil", None) if base.endswith("ImageProcessor") else None
    if not isinstance(kind, type) or not issubclass(kind, PilBackend) or not _is_known(kind):
        raise ModelError(
            f"{path}: fervit does not do what the image processor {named[:60]} does; expected one that resizes, crops, "
            "rescales and normalises, such as ViTImageProcessor or BitImageProcessor"
        )
    try:
        return kind.from_dict(dict(values))
    except Exception as error:  # transformers checks with exceptions of many kinds
        raise ModelError(f"{path} is not readable: {reason(error)}") from error


def _is_known(kind: type[PilBackend]) -> bool:
    """Return whether a processor has no steps of its own, or known ones."""
    steps = ("_preprocess", "preprocess", "resize", "center_crop", "rescale", "normalize")
    return kind.__name__ in OWN_STEPS or all(getattr(kind, step) is getattr(PilBackend, step) for step in steps)


def _check_flags(path: Path, processor: Any, values: Mapping[str, object]) -> None:
    """Refuse a switch that is no switch, or that is on for something that fervit does not do."""
    for name in {*FLAGS, *(key for key in (*values, *vars(processor)) if key.startswith("do_"))}:
        value = getattr(processor, name, None)
        if value not in (None, True, False):
            raise ModelError(f"{path}: {name} is {str(value)[:60]!r}; expected true or false")
        if value and name not in FLAGS and name not in NEUTRAL:
            raise ModelError(f"{path}: fervit does not do what {name} asks for")


def _sides(path: Path, processor: Any, name: str) -> tuple[int, ...]:
    """Return a size of a processor: `(shortest edge,)` or `(height, width)`, equal ones."""
    size = {key: value for key, value in dict(getattr(processor, name, None) or {}).items() if value is not None}
    for keys in (("shortest_edge",), ("height", "width")):
        if sorted(size) != sorted(keys):
            continue
        sides = tuple(size[key] for key in keys)
        if not all(isinstance(side, int) and 1 <= side <= MAX_RESIZED for side in sides):
            raise ModelError(f"{path}: {name} is {size}; expected 1 to {MAX_RESIZED:,} px")
        if len(set(sides)) > 1:
            raise ModelError(f"{path}: {name} is {size}; fervit's models take square images")
        return sides
    raise ModelError(f"{path}: {name} is {size or 'missing'}; expected shortest_edge, or height and width")


def _geometry(path: Path, processor: Any) -> _Geometry:
    """Return where the input comes from."""
    kind = type(processor).__name__
    resized: tuple[int, ...] = ()
    if processor.do_resize:
        resized = _sides(path, processor, "size")
        if kind == "ConvNextImageProcessorPil":
            return _convnext_geometry(path, processor, resized)
        if kind == "LevitImageProcessorPil" and len(resized) == 1:
            resized = (int(LEVIT_FACTOR * resized[0]),)
        if kind == "PoolFormerImageProcessorPil" and processor.crop_pct is not None:
            resized = tuple(int(side / _crop_pct(path, processor)) for side in resized)
    if processor.do_center_crop and kind != "SegformerImageProcessorPil":
        side = _sides(path, processor, "crop_size")[0]
        return _Geometry(side, None if resized == (side, side) else resized)
    if not resized:
        raise ModelError(
            f"{path}: do_resize is false, so that images of any size reach the model; expected do_resize or "
            "do_center_crop, which give it one size"
        )
    if len(resized) == 1:
        log.warning(
            "%s: size.shortest_edge without do_center_crop leaves images oblong; faces are cut square, and of other "
            "images the centre is taken",
            path,
        )
    return _Geometry(resized[0], resized if len(resized) == 1 else None)


def _convnext_geometry(path: Path, processor: Any, resized: tuple[int, ...]) -> _Geometry:
    if len(resized) != 1 or processor.do_center_crop:
        wrong = "do_center_crop is true" if len(resized) == 1 else "size has no shortest_edge"
        raise ModelError(f"{path}: {wrong}; a ConvNextImageProcessor crops by itself, from size.shortest_edge")
    side = resized[0]
    if side >= CONVNEXT_WARPS_FROM:
        return _Geometry(side, None)
    return _Geometry(side, (int(side / _crop_pct(path, processor)),))


def _crop_pct(path: Path, processor: Any) -> float:
    value = processor.crop_pct
    if not isinstance(value, int | float) or not 0.1 <= value <= 1:
        raise ModelError(f"{path}: crop_pct is {str(value)[:60]!r}; expected a fraction from 0.1 to 1")
    return float(value)


def _mean_and_std(path: Path, processor: Any, config: PreTrainedConfig) -> tuple[list[float], list[float]]:
    """Return what is subtracted and divided by, in units of the 0..1 range, for each channel of the input."""
    channels = getattr(config, "num_channels", 3)
    if channels not in (1, 3):
        raise ModelError(f"{path.parent}: num_channels is {channels}; expected 3, or 1 for a model of grey images")
    mean, std = [0.0] * channels, [1.0] * channels
    if processor.do_normalize:
        mean = _per_channel(path, processor, "image_mean", channels)
        std = _per_channel(path, processor, "image_std", channels)
    if type(processor).__name__ == "EfficientNetImageProcessorPil":
        if processor.do_rescale and processor.rescale_offset:  # it subtracts 1 after rescaling
            mean = [value + 1 for value in mean]
        if processor.include_top:  # it divides by the deviation once more, and also where nothing else is normalised
            std = [a * b for a, b in zip(std, _per_channel(path, processor, "image_std", channels), strict=True)]
    factor = processor.rescale_factor if processor.do_rescale else 1.0
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor <= MAX_FACTOR:
        raise ModelError(f"{path}: rescale_factor is {str(factor)[:60]!r}; expected a number above 0")
    if not all(value > 0 for value in std):
        raise ModelError(f"{path}: image_std is {std}; expected numbers above 0")
    scale = factor * 255  # (255 x f - mean) / std = (x - mean / scale) / (std / scale), for x in 0..1
    if math.isclose(scale, 1.0):
        return mean, std
    return [value / scale for value in mean], [value / scale for value in std]


def _per_channel(path: Path, processor: Any, name: str, channels: int) -> list[float]:
    """Return a number for each channel: one number counts for all, as do three equal ones for the one of grey input."""
    value = getattr(processor, name, None)
    numbers: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= MEAN[1] for v in numbers):
        raise ModelError(f"{path}: {name} is {str(value)[:60]}; expected a number for each channel")
    if len(set(numbers)) == 1 and len(numbers) in (1, 3):
        numbers = numbers[:1] * channels
    if len(numbers) != channels:
        raise ModelError(f"{path}: {name} has {len(numbers)} numbers, and the model's input {channels} channels")
    return [float(v) for v in numbers]
