"""A model folder as transformers.js opens it: two JSON files, `onnx/model.onnx`, and `onnx/model_quantized.onnx`.

Layout and names: https://huggingface.co/docs/transformers.js/custom_usage; `onnx/model.onnx` is its `dtype` "fp32", and
`onnx/model_quantized.onnx` its "q8", which is what it takes in a browser without WebGPU.
"""

from pathlib import Path

from fervit.data import Dataset
from fervit.errors import ModelError
from fervit.export.model import Exported, export_float, export_int8
from fervit.weights.layout import CONFIG, ENSEMBLE_FILE, ONNX, ONNX_QUANTISED, read_object

# Image classifiers of @huggingface/transformers 4.3.2: MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES in its registry.js.
KINDS = (
    *("beit", "convnext", "convnextv2", "deit", "dinov2", "dinov2_with_registers", "efficientnet", "fastvit", "hiera"),
    *("ijepa", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "pvt", "resnet", "segformer", "swin", "vit"),
    "vit_msn",
)


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
