"""YuNet on ONNX Runtime."""

import time
from pathlib import Path

import numpy as np
import pytest

from fervit.errors import DetectorError
from fervit.faces import yunet
from fervit.faces.detectors import make_detector


def test_a_crowd_is_decoded_in_little_time() -> None:
    # 200 faces, each found by a whole patch of cells, as large photos of crowds do
    side, rng = 60, np.random.default_rng(0)
    classes = np.full((side * side, 1), 0.9) - rng.random((side * side, 1)) / 100
    boxes = np.zeros((side * side, 4))
    boxes[:, 2:] = np.log(3)
    start = time.perf_counter()
    faces = yunet._yunet_faces([classes, classes, boxes, np.zeros((side * side, 10))], side, 8, 0.5)
    assert len(faces) > 200
    assert time.perf_counter() - start < 2


def write_yunet(path: Path, cell: int, *, fixed: bool = False) -> None:
    """Write a stand-in for YuNet that finds one face in the given cell of stride 8, wherever it looks."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    side = 64 if fixed else None
    nodes, outputs, weights = [], [], []
    for stride in (8, 16, 32):
        count = (64 // stride) ** 2
        for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            value = np.zeros((1, count, width), np.float32)
            if stride == 8 and part in ("cls", "obj"):
                value[0, cell] = 0.9
            if part == "bbox":
                value[0, :, :2], value[0, :, 2:] = 0.5, np.log(4)
            name = f"{part}_{stride}"
            weights.append(numpy_helper.from_array(value, f"w_{name}"))
            nodes.append(helper.make_node("Add", [f"w_{name}", "zero"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, width]))
    nodes.insert(0, helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0))
    nodes.insert(1, helper.make_node("Sub", ["mean", "mean"], ["zero"]))
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side or "h", side or "w"])
    graph = helper.make_graph(nodes, "yunet", [entry], outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.mark.parametrize("fixed", [False, True])
def test_yunet_is_decoded_as_opencv_does(tmp_path: Path, fixed: bool) -> None:
    write_yunet(tmp_path / "yunet.onnx", cell=8 * 3 + 2, fixed=fixed)
    detector = make_detector(f"yunet:{tmp_path / 'yunet.onnx'}", max_side_px=64)
    [[face]] = detector.detect([np.zeros((128, 128, 3), np.uint8)])
    # cell (2, 3) of stride 8, centre half a cell on, 32 px wide; twice that in the source
    assert face.box.to_list() == pytest.approx([8, 24, 72, 88], abs=0.2)
    assert face.score == pytest.approx(0.9, abs=1e-4)
    assert face.landmarks is not None
    np.testing.assert_allclose(face.landmarks, np.tile([32, 48], (5, 1)))


def test_a_yunet_file_that_is_missing_or_another_model_is_told(tmp_path: Path, tiny_onnx: Path) -> None:
    with pytest.raises(DetectorError, match="no YuNet file"):
        make_detector(f"yunet:{tmp_path / 'absent.onnx'}")
    with pytest.raises(DetectorError, match="not a YuNet"):
        make_detector(f"yunet:{tiny_onnx}")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(DetectorError, match="not a readable"):
        make_detector(f"yunet:{tmp_path / 'text.onnx'}")
