"""Export of model folders to ONNX, with the `ModelSpec` in the metadata and parity checked before it counts."""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fervit.errors import ConfigError, ModelError
from fervit.models import load_checkpoint
from fervit.ort import onnxruntime_quietly
from fervit.types import ModelSpec

INPUT, OUTPUT = "pixel_values", "logits"
MAX_DIFFERENCE = 1e-4  # of a probability, fp32 ONNX against PyTorch; float rounding stays near 1e-6
MAX_DIFFERENCE_INT8 = 0.25  # catches a broken graph; accuracy itself is for `fervit evaluate` to judge


class _Logits(torch.nn.Module):
    """Strips transformers' output object: pixel values in, logits out."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(pixel_values=pixel_values).logits
        return logits


def export(folder: str | Path, out: str | Path, *, int8: bool = False, overwrite: bool = False) -> float:
    """Write `folder`'s model as ONNX: `pixel_values (batch, 3, S, S)` float32 -> `logits (batch, K)`.

    The file appears under its name only after its answers agreed with PyTorch's on random pictures of two
    batch sizes. Returns the largest difference in probability.

    Raises:
        ModelError: the folder cannot be read, or the exported file answers differently.
        ConfigError: `out` exists and `overwrite` is not set, or cannot be written.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise ConfigError(f"the exported file must end in .onnx, got {out.name}")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it")
    model, spec = load_checkpoint(folder)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as scratch:
            exported = Path(scratch) / "model.onnx"
            _to_onnx(model, spec, exported)
            if int8:
                exported = _quantise(exported, spec)
            difference = _parity(model, spec, exported)
            limit = MAX_DIFFERENCE_INT8 if int8 else MAX_DIFFERENCE
            if not difference <= limit:
                raise ModelError(f"the exported model answers differently: {difference:.2g} > {limit:.2g}")
            exported.replace(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}") from error
    return difference


def _to_onnx(model: Any, spec: ModelSpec, path: Path) -> None:
    side = spec.preprocess.image_size
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Logits(model).eval(),
                (torch.zeros(2, 3, side, side),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
                dynamo=True,
                verbose=False,
            )
    finally:
        noisy.setLevel(level)
    assert program is not None
    import onnx

    _save(program.model_proto, spec, path, onnx)


def _save(proto: Any, spec: ModelSpec, path: Path, onnx: Any) -> None:
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions):
        del part.metadata_props[:]  # the exporter's stack traces, with this machine's paths
    for node in proto.graph.node:
        node.doc_string = ""
    onnx.helper.set_model_props(proto, {"fervit": spec.to_json()})
    onnx.save(proto, path)


def _quantise(path: Path, spec: ModelSpec) -> Path:
    """Quantise the weights of all matrix products to 8 bits per channel; activations dynamically."""
    import onnx

    onnxruntime_quietly()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantised = path.with_name("int8.onnx")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it warns on the root logger that the model was not pre-processed
    try:
        quantize_dynamic(
            path,
            quantised,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
    finally:
        root.setLevel(level)
    _save(onnx.load(quantised), spec, quantised, onnx)
    return quantised


def _parity(model: Any, spec: ModelSpec, path: Path) -> float:
    """Return the largest difference in probability between PyTorch and ONNX Runtime on random pictures."""
    onnxruntime = onnxruntime_quietly()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    largest = 0.0
    for batch in (1, 5):
        side = spec.preprocess.image_size
        # low-frequency pictures: white noise would not move the model
        coarse = torch.from_numpy(rng.standard_normal((batch, 3, 6, 6), dtype=np.float32))
        x = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
        with torch.inference_mode():
            expected = model(pixel_values=x).logits.softmax(dim=1).numpy()
        logits = session.run([OUTPUT], {INPUT: x.numpy()})[0]
        actual = torch.from_numpy(logits).softmax(dim=1).numpy()
        largest = max(largest, float(np.abs(expected - actual).max()))
    return largest
