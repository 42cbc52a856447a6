"""What a model file holds, before a runtime opens it: graphs whose time or memory nobody can know are refused.

A runtime computes whatever does not depend on the input while it opens a file, so that a few hundred bytes can ask for
a terabyte or for a loop without an end. A classifier needs neither loops nor tensors made from a shape, and `fervit
export` writes none. The file is read as protobuf (https://protobuf.dev/programming-guides/encoding), by the field
numbers of onnx.proto; no package is needed, and tensors' contents are skipped.
"""

import math
import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from fervit.errors import ModelError, reason
from fervit.files import open_regular, read_regular

Bytes = memoryview
UNBOUNDED = {
    *("Loop", "Scan", "If", "SequenceMap"),
    *("ConstantOfShape", "Range", "Tile", "EyeLike", "OneHot", "Upsample", "CenterCropPad", "MaxUnpool", "Col2Im"),
    *("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"),
}
SHAPED = ("Expand", "Resize", "Pad", "Reshape", "ConvTranspose")  # by a tensor or an attribute that says how large
MAX_ELEMENTS = 1 << 26  # of a tensor whose shape the file states: 268 MB
MAX_NODES = 100_000
MAX_XML = 64_000_000  # bytes of OpenVINO's .xml, which holds no weights
UNBOUNDED_IR = ("Loop", "TensorIterator", "If", "OneHot", "Eye", "RandomUniform", "Multinomial")
PORT, DIM = re.compile(r"<port\b[^>]*>(?:\s*<dim>-?\d{1,18}</dim>)+"), re.compile(r"<dim>(-?\d+)</dim>")
# Field numbers in onnx.proto.
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_TYPE, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_INTS, ATTRIBUTE_GRAPHS = 5, 6, 8, 11
TENSOR_DIMS, TENSOR_TYPE, TENSOR_INT64, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_LOCATION = (
    1,
    2,
    7,
    8,
    9,
    13,
    14,
)
INT64 = 7  # TensorProto.DataType
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types
LARGEST_SHAPE = 16  # numbers in a tensor that is read as a shape


def check_graph(path: Path) -> None:
    """Refuse an ONNX file whose graph loops, makes tensors from shapes, or reads other files.

    What is no protobuf passes: the runtime says so in its own words.

    Raises:
        ModelError: the file cannot be read, or holds such a graph; the message names the operation.
    """
    try:
        with open_regular(path) as file:
            # It is closed when the last view of it is gone, not here: an error may still hold one.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        wrong = _find_wrong(memoryview(content))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, IndexError, struct.error):
        return
    if wrong:
        raise ModelError(f"{path} {wrong}; expected a file that `fervit export` wrote: export the model folder again")


def _find_wrong(model: Bytes) -> str:
    """Return what is wrong with a model, or nothing."""
    shapes: dict[bytes, tuple[int, ...]] = {}
    count = 0
    for field, graph in _fields(model):
        if field == MODEL_FUNCTIONS:
            return "has functions of its own, which may multiply each other"
        if field != MODEL_GRAPH or not isinstance(graph, memoryview):
            continue
        for part, value in _fields(graph):
            if not isinstance(value, memoryview):
                continue
            if part == GRAPH_INITIALIZER:
                name, shape, elsewhere = _tensor(value)
                if elsewhere:
                    return "keeps weights in other files"
                shapes[name] = shape
            elif part == GRAPH_NODE:
                count += 1
                if count > MAX_NODES:
                    return f"has more than {MAX_NODES:,} operations"
                if wrong := _node_wrong(value, shapes):
                    return wrong
        # Nodes may come before the initializers that they read.
        for part, value in _fields(graph):
            if part == GRAPH_NODE and isinstance(value, memoryview) and (wrong := _node_wrong(value, shapes)):
                return wrong
    return ""


def _node_wrong(node: Bytes, shapes: dict[bytes, tuple[int, ...]]) -> str:
    """Return what is wrong with an operation, or nothing; a constant's value is added to `shapes`."""
    kind, inputs, outputs, sizes = "", [], [], []
    for field, value in _fields(node):
        if not isinstance(value, memoryview):
            continue
        if field == NODE_TYPE:
            kind = bytes(value).decode("utf-8", "replace")
        elif field == NODE_INPUT:
            inputs.append(bytes(value))
        elif field == NODE_OUTPUT:
            outputs.append(bytes(value))
        elif field == NODE_ATTRIBUTE:
            for part, content in _fields(value):
                if part in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                    return f"has a {kind or 'graph within its graph'}, whose time and memory nobody can know"
                if part == ATTRIBUTE_TENSOR and isinstance(content, memoryview):
                    _, shape, elsewhere = _tensor(content)
                    if elsewhere:
                        return "keeps weights in other files"
                    sizes.append(shape)
                elif part == ATTRIBUTE_INTS:
                    sizes.append(tuple(_varints(content)) if isinstance(content, memoryview) else (content,))
    if kind in UNBOUNDED:
        return f"has a {kind}, whose time and memory nobody can know"
    if kind == "Constant" and outputs and sizes:
        shapes[outputs[0]] = sizes[0]
    if kind in SHAPED:
        for shape in [*sizes, *(shapes[name] for name in inputs[1:] if name in shapes)]:
            if math.prod(max(1, size) for size in shape) > MAX_ELEMENTS:
                return f"has a {kind} to {' x '.join(map(str, shape))}; expected at most {MAX_ELEMENTS:,} numbers"
    return ""


def _tensor(tensor: Bytes) -> tuple[bytes, tuple[int, ...], bool]:
    """Return a tensor's name, its numbers where they can be a shape, and whether they are in another file."""
    name, numbers, kind, elsewhere = b"", [], 0, False
    raw: Bytes | None = None
    for field, value in _fields(tensor):
        if field == TENSOR_NAME and isinstance(value, memoryview):
            name = bytes(value)
        elif field == TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif field == TENSOR_RAW and isinstance(value, memoryview):
            raw = value
        elif field == TENSOR_INT64:
            numbers += list(_varints(value)) if isinstance(value, memoryview) else [_signed(value)]
        elif field == TENSOR_EXTERNAL or (field == TENSOR_LOCATION and value == 1):
            elsewhere = True
    if raw is not None and kind == INT64 and len(raw) <= 8 * LARGEST_SHAPE:
        numbers = list(struct.unpack(f"<{len(raw) // 8}q", raw[: len(raw) // 8 * 8]))
    return name, tuple(numbers[:LARGEST_SHAPE]), elsewhere


def _fields(message: Bytes) -> Iterator[tuple[int, int | Bytes]]:
    """Yield the fields of a protobuf message: number and value, an integer or the bytes of what is within.

    Raises:
        ValueError: it is none.
        IndexError: it is cut off.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            size, at = _varint(message, at)
        if size is None or at + size > len(message):
            raise ValueError("no protobuf")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: Bytes, at: int) -> tuple[int, int]:
    """Return the integer at a place, and the place behind it."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("no protobuf")


def _varints(packed: Bytes) -> Iterator[int]:
    at = 0
    while at < len(packed):
        number, at = _varint(packed, at)
        yield _signed(number)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def check_ir(path: Path) -> None:
    """Refuse OpenVINO's own form of such a graph, as `check_graph` does.

    Raises:
        ModelError: the file cannot be read, or holds such a graph.
    """
    try:
        text = read_regular(path, limit=MAX_XML).decode("utf-8", "replace")
    except OSError as error:
        raise ModelError(f"cannot read {path}: {reason(error)}") from error
    wrong = next((f"has a {kind}" for kind in UNBOUNDED_IR if f'type="{kind}"' in text), "")
    for port in PORT.finditer(text):
        sizes = [int(size) for size in DIM.findall(port.group())]
        if math.prod(max(1, size) for size in sizes) > MAX_ELEMENTS:
            wrong = f"has a tensor of {' x '.join(map(str, sizes))}, more than {MAX_ELEMENTS:,} numbers"
    if wrong:
        raise ModelError(f"{path} {wrong}; expected a file that `fervit export` wrote: export the model again")
