"""Weights of an ONNX file in 16 bits where that loses nothing: half the file, the same predictions.

A model that was shipped in float16 has weights which float16 holds exactly. They are stored so, each with a cast to
float32 behind it, which ONNX Runtime and OpenVINO compute once, when they load the file.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

SMALLEST = 256  # values; below, the cast takes as much room as it saves
SUFFIX = "_float16"


def compact(proto: "onnx.ModelProto") -> int:
    """Store in float16, in place, the weights that it holds exactly; returns their number."""
    import onnx

    casts = []
    for entry in proto.graph.initializer:
        if entry.data_type != onnx.TensorProto.FLOAT or np.prod(entry.dims, dtype=int) < SMALLEST:
            continue
        values = onnx.numpy_helper.to_array(entry)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = entry.name
        entry.CopyFrom(onnx.numpy_helper.from_array(half, name + SUFFIX))
        casts.append(onnx.helper.make_node("Cast", [name + SUFFIX], [name], name + "_cast", to=onnx.TensorProto.FLOAT))
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*casts, *nodes])  # in the order of their use, as ONNX wants it
    return len(casts)


def expand(proto: "onnx.ModelProto") -> int:
    """Undo `compact` in place, for tools that look for the weights themselves; returns the number of weights."""
    import onnx

    entries = {entry.name: entry for entry in proto.graph.initializer if entry.name.endswith(SUFFIX)}
    casts = [node for node in proto.graph.node if node.op_type == "Cast" and node.input[0] in entries]
    for node in casts:
        entry = entries[node.input[0]]
        values = onnx.numpy_helper.to_array(entry).astype(np.float32)
        entry.CopyFrom(onnx.numpy_helper.from_array(values, node.output[0]))
        proto.graph.node.remove(node)
    return len(casts)
