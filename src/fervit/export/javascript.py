"""A model folder as transformers.js opens it: two JSON files, `onnx/model.onnx`, and `onnx/model_quantized.onnx`.

Layout and names: https://huggingface.co/docs/transformers.js/custom_usage; `onnx/model.onnx` is its `dtype` "fp32", and
`onnx/model_quantized.onnx` its "q8", which is what it takes in a browser without WebGPU.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from fervit.data import Dataset
from fervit.errors import ConfigError, ModelError
from fervit.export.model import Exported, ExportKeywords, export_float, export_int8
from fervit.files import replacing_folder
from fervit.inference.model_files import find_folder
from fervit.weights.layout import CONFIG, ENSEMBLE_FILE, ONNX, ONNX_QUANTISED, PROCESSOR, read_object

CARD = "README.md"
# Image classifiers of @huggingface/transformers 4.3.2: MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES in its registry.js.
KINDS = (
    *("beit", "convnext", "convnextv2", "deit", "dinov2", "dinov2_with_registers", "efficientnet", "fastvit", "hiera"),
    *("ijepa", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "pvt", "resnet", "segformer", "swin", "vit"),
    "vit_msn",
)


@dataclass(frozen=True)
class JavascriptFolder:
    """A folder that transformers.js opens.

    Attributes:
        path: the folder.
        exact: `onnx/model.onnx`, in 32 bits.
        quantised: `onnx/model_quantized.onnx`, in 8 bits; None where there was no data to calibrate it on.
    """

    path: Path
    exact: Exported
    quantised: Exported | None


def export_javascript(
    model: str | Path, out: Path, dataset: Dataset | None = None, **options: Unpack[ExportKeywords]
) -> JavascriptFolder:
    """Write a folder for transformers.js: configuration, preprocessing, card, and the exported model.

    Args:
        model: a model folder, a name or a Hub id.
        out: the folder to write.
        dataset: faces to calibrate 8 bits on (train) and to judge them on (public_test).
        options: see `ExportKeywords`.

    Raises:
        ModelError: see `export_float` and `export_int8`; or transformers.js has no such model.
        ConfigError: `out` exists and `overwrite` is not set, or cannot be written.
    """
    folder = find_folder(model)
    check_kind(folder)
    if out.exists() and not (options.get("overwrite", False) or (out.is_dir() and not any(out.iterdir()))):
        raise ConfigError(f"{out} exists; add --overwrite to replace it")
    if out.resolve() == folder.resolve() or folder.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--out {out} holds the model itself, which would be deleted: name another folder")
    commercial = options.get("commercial", False)
    with replacing_folder(out) as fresh:
        for name in (CONFIG, PROCESSOR, CARD):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, fresh / name)
        exact, quantised = write_onnx(folder, fresh, dataset, commercial=commercial)
    moved = [None if made is None else _within(made, fresh, out) for made in (exact, quantised)]
    assert moved[0] is not None
    return JavascriptFolder(out, moved[0], moved[1])


def write_onnx(
    folder: Path, target: Path, dataset: Dataset | None, *, commercial: bool = False
) -> tuple[Exported, Exported | None]:
    """Write `onnx/model.onnx` below a folder, and `onnx/model_quantized.onnx` where there is data for it."""
    (target / ONNX).parent.mkdir(exist_ok=True)
    exact = export_float(folder, target / ONNX, commercial=commercial)
    if dataset is None:
        return exact, None
    return exact, export_int8(target / ONNX, target / ONNX_QUANTISED, dataset, commercial=commercial)


def check_kind(folder: Path) -> None:
    """Refuse a model that transformers.js cannot open.

    Raises:
        ModelError: it is an ensemble, or of a kind that transformers.js has no class for.
    """
    if (folder / ENSEMBLE_FILE).is_file():
        raise ModelError(f"{folder} is an ensemble, which transformers.js cannot open: distil it into one model first")
    try:
        kind = read_object(folder / CONFIG).get("model_type")
    except FileNotFoundError:
        raise ModelError(f"{folder} is no model folder: it has no {CONFIG}") from None
    if kind not in KINDS:
        raise ModelError(
            f"{folder} is a {str(kind)[:60]!r}, for which transformers.js has no class; expected one of "
            f"{', '.join(KINDS)}; `fervit export` makes an ONNX file that onnxruntime-web runs"
        )


def _within(made: Exported, old: Path, new: Path) -> Exported:
    from dataclasses import replace

    return replace(made, path=new / made.path.relative_to(old))
