"""8-bit ONNX graphs: activations in unsigned 8 bits, weights in 7 of signed 8, rounded to keep each layer's outputs."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fervit.errors import ModelError
from fervit.export.float16 import expand
from fervit.export.rounding import round_weights
from fervit.runtime.ort import onnxruntime_quietly, open_session
from fervit.types import METADATA_KEY, ModelSpec

if TYPE_CHECKING:
    import onnx

PRODUCTS = ("MatMul", "Gemm", "Conv")
# The largest magnitude of a weight: without VNNI, AVX2 adds pairs of products in 16 bits, which weights of all 8 bits
# overflow.
LARGEST = 64
# What an activation's range spans of its values: a few values far out would cost all others their precision.
PERCENTILE = 99.998
POSITIONS = 64  # of each image whose inputs a layer's rounding takes into account: 19,456 of 304 images

Batch = Mapping[str, np.ndarray]


def write_int8(model: Path, out: Path, spec: ModelSpec, batches: Sequence[Batch]) -> None:
    """Write `model`'s graph with 8-bit products, for ONNX Runtime and OpenVINO alike.

    In 8 bits: products and convolutions with weights, and the ReLU or clip behind a convolution. In 32 bits: the first
    layer, the heads, products of activations with each other, softmax, layer norm, GELU.

    Args:
        model: an ONNX file.
        out: the file to write.
        spec: for its metadata.
        batches: inputs by name, all batches of one size, as ONNX Runtime's histograms need them.

    Raises:
        ModelError: there are no products besides the first and the heads.
    """
    import onnx

    proto = onnx.load(model)
    expand(proto)
    for i, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    products = _products(proto)
    grams = _grams(proto, products, batches)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        exact = Path(scratch) / "exact.onnx"
        onnx.save(proto, exact)
        _quantise(exact, out, [*products, *_activations(proto, products)], batches)
    written = onnx.load(out)
    for node in written.graph.node:
        if node.name in products:
            _round(written, node, proto, grams)
    onnx.helper.set_model_props(written, {METADATA_KEY: spec.to_json()})
    onnx.save(written, out)


def _products(proto: "onnx.ModelProto") -> list[str]:
    """Return the names of the nodes that multiply by weights, without the first ones and the heads.

    First is what reads the pixels and, of a MobileNet, the depthwise convolution right behind it, whose few weights
    differ most: in 8 bits it cost more than all other layers together. A head is a product behind which there is no
    other.

    Raises:
        ModelError: there is none.
    """
    weights = {entry.name for entry in proto.graph.initializer}
    nodes = {node.name: node for node in proto.graph.node if node.op_type in PRODUCTS and node.input[1] in weights}
    passed: dict[str, int] = {}  # products between the pixels and a tensor
    found = []
    for node in proto.graph.node:
        before = max((passed.get(name, 0) for name in node.input), default=0)
        first = 1 if _is_depthwise(node) else 0
        if node.name in nodes and before > first:
            found.append(node.name)
        passed.update((name, before + (node.name in nodes)) for name in node.output)
    needed: set[str] = set()  # tensors that products depend on, directly or not
    heads = set()
    for node in reversed(proto.graph.node):
        useful = bool(needed.intersection(node.output))
        if node.name in nodes and not useful:
            heads.add(node.name)
        if node.name in nodes or useful:
            needed.update(node.input)
    found = [name for name in found if name not in heads]
    if not found:
        raise ModelError(
            "int8 refused: the model has no products with weights but its first and its head; export without"
        )
    return found


def _is_depthwise(node: "onnx.NodeProto") -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


def _activations(proto: "onnx.ModelProto", products: Sequence[str]) -> list[str]:
    """Return the names of the ReLUs and clips behind a convolution of `products`.

    Where they are quantised too, 8 bits span their outputs, and saturation does their work. It also gives
    every convolution inputs in 8 bits: ONNX Runtime quantises a 32-bit convolution between two 8-bit activations by
    itself, with one scale for all channels, which ruins a depthwise one.
    """
    outputs = {node.output[0] for node in proto.graph.node if node.op_type == "Conv" and node.name in products}
    return [node.name for node in proto.graph.node if node.op_type in ("Relu", "Clip") and node.input[0] in outputs]


def _quantise(model: Path, out: Path, nodes: Sequence[str], batches: Sequence[Batch]) -> None:
    onnxruntime_quietly()
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        """The batches, one after another."""

        def __init__(self) -> None:
            self.batches = iter(batches)

        def get_next(self) -> Batch | None:
            return next(self.batches, None)

    # It warns on the root logger that the model was not pre-processed, and prints the progress of its histograms.
    with _quiet_root(), contextlib.redirect_stdout(io.StringIO()):
        quantize_static(
            str(model),
            str(out),
            Batches(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # to 7 bits, see LARGEST
            nodes_to_quantize=list(nodes),
            calibrate_method=CalibrationMethod.Percentile,
            # A matrix product's output stays in 32 bits: more accurate, and no slower.
            extra_options={"CalibPercentile": PERCENTILE, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )


@contextlib.contextmanager
def _quiet_root() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _grams(proto: "onnx.ModelProto", products: Sequence[str], batches: Sequence[Batch]) -> dict[str, np.ndarray]:
    """Return for each product's weights the Gram matrices of its inputs and a 1, `(G, I + 1, I + 1)`, all batches."""
    import onnx

    nodes = [node for node in proto.graph.node if node.name in products]
    shapes = {entry.name: tuple(entry.dims) for entry in proto.graph.initializer}
    inputs = sorted({node.input[0] for node in nodes})
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    for name in inputs:
        watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = open_session(watched.SerializeToString(), threads=None)
    rng = np.random.default_rng(0)
    grams: dict[str, np.ndarray] = {}
    for batch in batches:
        values = dict(zip(inputs, session.run(inputs, dict(batch)), strict=True))
        for node in nodes:
            rows = _rows(node, values[node.input[0]], shapes[node.input[1]], rng)
            rows = np.pad(rows, ((0, 0), (0, 0), (0, 1)), constant_values=1)
            squares = (rows.swapaxes(1, 2) @ rows).astype(np.float64)  # many batches are summed
            grams[node.input[1]] = grams.get(node.input[1], 0) + squares
    return grams


def _rows(node: "onnx.NodeProto", x: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return the inputs of a product's weights, `(G, N, I)` float32, at `POSITIONS` places of each image."""
    if node.op_type != "Conv":
        tokens = x.reshape(len(x), -1, x.shape[-1])
        chosen = _some(tokens.shape[1], rng)
        return tokens[:, chosen].reshape(1, -1, x.shape[-1])
    options = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    channels = x.shape[1]
    groups = channels // shape[1]
    kernel = np.array(shape[2:])
    strides, dilations = (np.array(options.get(name, (1, 1))) for name in ("strides", "dilations"))
    pads = options.get("pads", (0, 0, 0, 0))
    x = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    height, width = (np.array(x.shape[2:]) - dilations * (kernel - 1) - 1) // strides + 1
    chosen = _some(height * width, rng)
    top, left = strides[0] * (chosen // width), strides[1] * (chosen % width)
    down, right = (dilation * np.arange(side) for dilation, side in zip(dilations, kernel, strict=True))
    patches = x[:, :, (top[:, None] + down)[:, :, None], (left[:, None] + right)[:, None, :]]
    grouped = patches.reshape(len(x), groups, channels // groups, len(chosen), -1).transpose(1, 0, 3, 2, 4)
    return grouped.reshape(groups, len(x) * len(chosen), -1)


def _some(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(count)[:POSITIONS])


def _round(
    written: "onnx.ModelProto", node: "onnx.NodeProto", proto: "onnx.ModelProto", grams: Mapping[str, np.ndarray]
) -> None:
    """Round a quantised product's weights anew, and correct its bias, if it has one, by what their mean loses."""
    import onnx

    name = next(made.input[1] for made in proto.graph.node if made.name == node.name)
    exact = next(entry for entry in proto.graph.initializer if entry.name == name)
    quantised, scales, axis = _quantised(written, node.input[1])
    weights = np.moveaxis(onnx.numpy_helper.to_array(exact), axis, 0)  # outputs first
    gram = grams[name]
    sums, gram, count = gram[:, :-1, -1], gram[:, :-1, :-1], gram[0, -1, -1]
    flat = weights.reshape(len(gram), len(weights) // len(gram), -1)
    steps = np.broadcast_to(scales, len(weights)).reshape(flat.shape[:2])
    rounded = round_weights(flat, steps, gram, largest=LARGEST)
    values = np.ascontiguousarray(np.moveaxis(rounded.reshape(weights.shape), 0, axis))
    quantised.CopyFrom(onnx.numpy_helper.from_array(values, quantised.name))
    if len(node.input) > 2:
        lost = ((steps[:, :, None] * rounded - flat) @ (sums / count)[:, :, None]).reshape(-1)
        bias, scales, _ = _quantised(written, node.input[2])
        values = onnx.numpy_helper.to_array(bias) - np.round(lost / scales).astype(np.int32)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))


def _quantised(proto: "onnx.ModelProto", name: str) -> tuple["onnx.TensorProto", np.ndarray, int]:
    """Return the integers behind a dequantised tensor, what a step of them is worth, and the axis of those steps."""
    import onnx

    maker = next(node for node in proto.graph.node if name in node.output)
    entries = {entry.name: entry for entry in proto.graph.initializer}
    axis = next((attribute.i for attribute in maker.attribute if attribute.name == "axis"), 1)
    return entries[maker.input[0]], onnx.numpy_helper.to_array(entries[maker.input[1]]), axis
