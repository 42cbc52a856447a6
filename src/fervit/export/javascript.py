"""A model folder as transformers.js opens it: two JSON files, `onnx/model.onnx`, and `onnx/model_quantized.onnx`.

Layout and names: https://huggingface.co/docs/transformers.js/custom_usage; `onnx/model.onnx` is its `dtype` "fp32", and
`onnx/model_quantized.onnx` its "q8", which is what it takes in a browser without WebGPU.
"""

from pathlib import Path

from fervit.data import Dataset
from fervit.export.model import export_float, export_int8
from fervit.weights.layout import CONFIG, ONNX, ONNX_QUANTISED, read_object

# Image classifiers of @huggingface/transformers 4.3.2: MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES in its registry.js.
KINDS = (
    *("beit", "convnext", "convnextv2", "deit", "dinov2", "dinov2_with_registers", "efficientnet", "fastvit", "hiera"),
    *("ijepa", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "pvt", "resnet", "segformer", "swin", "vit"),
    "vit_msn",
)


def write_onnx(folder: Path, target: Path, dataset: Dataset | None) -> None:
    """Write `onnx/model.onnx` below a folder, and `onnx/model_quantized.onnx` where there is data for it.

    Raises:
        ModelError: the model cannot be read or exported.
        ConfigError: a file cannot be written.
    """
    (target / ONNX).parent.mkdir(exist_ok=True)
    export_float(folder, target / ONNX)
    if dataset is not None:
        export_int8(target / ONNX, target / ONNX_QUANTISED, dataset)


def unknown_kind(folder: Path) -> str | None:
    """Return why transformers.js cannot open a model, or None where it has a class for its kind.

    Raises:
        ModelError: its configuration cannot be read.
    """
    kind = read_object(folder / CONFIG).get("model_type")
    if kind in KINDS:
        return None
    return (
        f"it is a {str(kind)[:60]!r}, for which transformers.js has no class; expected one of {', '.join(KINDS)}; "
        "onnxruntime-web runs its onnx/model.onnx"
    )
