"""Graphs whose time or memory nobody can know are refused before a runtime opens them."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fervit.errors import ModelError
from fervit.files import ASSETS
from fervit.runtime.graph_checks import check_graph, check_ir
from tests.helpers import write_onnx
from tests.helpers.limits import refusal

onnx = pytest.importorskip("onnx")
helper, numpy_helper, FLOAT, INT64 = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
HUGE = np.array([100_000, 100_000], np.int64)
SPEC = {"arch": "x", "preprocess": {"image_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}, "labels": list("abcdefg")}


def write_bomb(path: Path, nodes: Sequence[Any], constants: dict[str, np.ndarray]) -> Path:
    """Write a classifier whose logits also depend on the number `bomb`, which `nodes` compute."""
    write_onnx(path, {"fervit": json.dumps(SPEC)})
    model = onnx.load(path)
    last = model.graph.node[-1]
    last.output[0] = "clean"
    model.graph.node.extend([*nodes, helper.make_node("Add", ["clean", "bomb"], ["logits"])])
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.save(model, path)
    return path


def constant_of_shape() -> tuple[list[Any], dict[str, np.ndarray]]:
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["bomb"], keepdims=0),
    ]
    return nodes, {"shape": HUGE}


def expand() -> tuple[list[Any], dict[str, np.ndarray]]:
    nodes = [
        helper.make_node("Expand", ["one", "shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["bomb"], keepdims=0),
    ]
    return nodes, {"shape": HUGE, "one": np.ones(1, np.float32)}


def expand_by_a_constant_node() -> tuple[list[Any], dict[str, np.ndarray]]:
    nodes, constants = expand()
    shape = numpy_helper.from_array(constants.pop("shape"))
    return [helper.make_node("Constant", [], ["shape"], value=shape), *nodes], constants


def tile() -> tuple[list[Any], dict[str, np.ndarray]]:
    nodes = [
        helper.make_node("Tile", ["one", "shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["bomb"], keepdims=0),
    ]
    return nodes, {"shape": HUGE, "one": np.ones((1, 1), np.float32)}


def loop() -> tuple[list[Any], dict[str, np.ndarray]]:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still"]),
            helper.make_node("Add", ["sum", "sum"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("k", INT64, []),
            helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("still", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", FLOAT, []),
        ],
    )
    nodes = [helper.make_node("Loop", ["times", "yes", "zero"], ["bomb"], body=body)]
    zeros = {"yes": np.array(True), "zero": np.array(0, np.float32)}
    return nodes, {"times": np.array(2**62, np.int64), **zeros}


BOMBS: dict[str, Callable[[], tuple[list[Any], dict[str, np.ndarray]]]] = {
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "Expand, ": expand_by_a_constant_node,
    "Tile": tile,
    "Loop": loop,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_neither_time_nor_memory(tmp_path: Path, name: str) -> None:
    path = write_bomb(tmp_path / "m.onnx", *BOMBS[name]())
    code = f"import fervit, numpy\nfervit.load({str(path)!r}, detector='haar')(numpy.zeros((64, 64, 3), 'uint8'))"
    said = refusal(code, seconds=30)
    assert f"m.onnx has a {name.strip(', ')}" in said


def test_functions_and_weights_elsewhere_are_refused(tmp_path: Path) -> None:
    write_onnx(tmp_path / "m.onnx", {})
    model = onnx.load(tmp_path / "m.onnx")
    twice = helper.make_node("Add", ["x", "x"], ["y"])
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], [twice], opsets))
    onnx.save(model, tmp_path / "functions.onnx")
    with pytest.raises(ModelError, match="has functions of its own"):
        check_graph(tmp_path / "functions.onnx")
    onnx.save(onnx.load(tmp_path / "m.onnx"), tmp_path / "e.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match="keeps weights in other files"):
        check_graph(tmp_path / "e.onnx")


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_int8", "tiny"])
def test_the_shipped_models_pass_and_what_is_damaged_is_left_to_the_runtime(tmp_path: Path, name: str) -> None:
    content = (ASSETS / f"{name}.onnx").read_bytes()
    check_graph(ASSETS / f"{name}.onnx")
    for end in (1, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.onnx").write_bytes(content[:end])
        check_graph(tmp_path / "cut.onnx")
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(content[:200_000])
        for at in rng.integers(0, 2000, 20):
            damaged[at] = rng.integers(256)
        (tmp_path / "damaged.onnx").write_bytes(damaged)
        try:
            check_graph(tmp_path / "damaged.onnx")
        except ModelError as error:
            assert len(str(error).splitlines()) == 1


def test_openvinos_form_of_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    layer = (
        '<layer id="1" name="x" type="{}"><output><port id="0">\n<dim>{}</dim>\n<dim>{}</dim></port></output></layer>'
    )
    for kind, side, message in (("Loop", 1, "has a Loop"), ("Broadcast", 100_000, "has a tensor of 100000 x 100000")):
        path.write_text(layer.format(kind, side, side))
        with pytest.raises(ModelError, match=message):
            check_ir(path)
    path.write_text(layer.format("Broadcast", 10, 10))
    check_ir(path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["m.onnx", "m.xml", "m.safetensors"])
def test_a_named_pipe_as_a_model_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    said = refusal(f"import fervit; fervit.load({str(tmp_path / name)!r})", seconds=20)
    assert "it is a named pipe" in said
    said = refusal(
        f"from fervit.models import build_model; build_model({str(tmp_path / 'm.safetensors')!r}, ('a', 'b'), 32)"
        if name == "m.safetensors"
        else f"from fervit.inference.loading import open_classifier; open_classifier({str(tmp_path / name)!r})"
    )
    assert "named pipe" in said or "no weights" in said
