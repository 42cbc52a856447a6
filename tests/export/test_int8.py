"""8-bit graphs: what is in 8 bits, what is not, and how near the answers stay."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fervit.export import int8
from fervit.export.int8 import write_int8
from fervit.runtime.ort import onnxruntime_quietly
from fervit.types import ModelSpec

onnx = pytest.importorskip("onnx")

CHANNELS = 16
Weights = dict[str, np.ndarray]
Pictures = list[dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Four batches of smooth pictures: noise has no neighbours that go together."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(32, 3, 8, 8)).repeat(5, axis=2).repeat(5, axis=3)
    return [{"pixel_values": part.astype(np.float32)} for part in np.split(coarse[:, :, :32, :32], 4)]


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolution -> depthwise -> pointwise -> clip -> depthwise -> pointwise -> mean -> head: a small MobileNet."""
    rng = np.random.default_rng(0)
    weights = {
        "stem": rng.normal(0, 0.2, (CHANNELS, 3, 3, 3)),
        "early": rng.normal(0, 0.3, (CHANNELS, 1, 3, 3)),
        "wide": rng.normal(0, 0.3, (32, CHANNELS, 1, 1)),
        "wide_bias": rng.normal(0, 0.5, 32),
        "late": rng.normal(0, 0.3, (32, 1, 3, 3)) * np.geomspace(0.1, 10, 32)[:, None, None, None],
        "late_bias": rng.normal(0, 0.5, 32),
        "narrow": rng.normal(0, 0.3, (CHANNELS, 32, 1, 1)),
        "last": rng.normal(0, 1.0, (CHANNELS, 7)),
    }
    nodes = [
        node("Conv", ["pixel_values", "stem"], "a", strides=[2, 2]),
        node("Clip", ["a", "zero", "six"], "b"),
        node("Conv", ["b", "early"], "c", group=CHANNELS),
        node("Clip", ["c", "zero", "six"], "d"),
        node("Conv", ["d", "wide", "wide_bias"], "e"),
        node("Clip", ["e", "zero", "six"], "f"),
        node("Conv", ["f", "late", "late_bias"], "g", group=32, pads=[0, 0, 1, 1], strides=[2, 2]),
        node("Clip", ["g", "zero", "six"], "h"),
        node("Conv", ["h", "narrow"], "i"),
        node("Relu", ["i"], "j"),
        node("ReduceMean", ["j", "axes"], "pooled", keepdims=0),
        node("MatMul", ["pooled", "last"], "logits"),
    ]
    constants = {"zero": np.array(0, np.float32), "six": np.array(6, np.float32), "axes": np.array([2, 3])}
    return save(tmp_path_factory.mktemp("convolutions") / "exact.onnx", nodes, weights, constants)


def node(kind: str, inputs: Sequence[str], output: str, **options: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, [output], **options)


def save(path: Path, nodes: Sequence[Any], weights: Weights, constants: Weights) -> Path:
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("pixel_values", onnx.TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 7])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
        + [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, path)
    return path


def logits(path: Path, pictures: Pictures, *, optimised: bool = True) -> np.ndarray:
    onnxruntime = onnxruntime_quietly()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, batch)[0] for batch in pictures])


def test_the_first_layer_and_the_head_stay_exact_and_the_rest_gets_8_bits(
    convolutions: Path, pictures: Pictures, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    write_int8(convolutions, tmp_path / "int8.onnx", tiny_spec, pictures)
    made = onnx.load(tmp_path / "int8.onnx")
    kept = {entry.name: onnx.numpy_helper.to_array(entry) for entry in made.graph.initializer}
    for name in ("stem", "early", "last"):  # `early`: the depthwise one right behind the stem
        assert kept[name].dtype == np.float32
    for name in ("wide", "late", "narrow"):
        assert kept[name + "_quantized"].dtype == np.int8 and name not in kept
        assert 32 < np.abs(kept[name + "_quantized"]).max() <= 64  # 7 of 8 bits: AVX2 overflows with more
    assert [node.op_type for node in made.graph.node].count("Clip") == 2  # those of 8-bit layers saturate
    assert "Relu" not in [node.op_type for node in made.graph.node]
    assert {entry.key: entry.value for entry in made.metadata_props} == {"fervit": tiny_spec.to_json()}


def test_rounding_for_the_outputs_keeps_the_answers_nearer(
    convolutions: Path,
    pictures: Pictures,
    tiny_spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = logits(convolutions, pictures)
    write_int8(convolutions, tmp_path / "int8.onnx", tiny_spec, pictures)
    monkeypatch.setattr(int8, "_round", lambda *arguments: None)
    write_int8(convolutions, tmp_path / "nearest.onnx", tiny_spec, pictures)
    lost, before = (((logits(tmp_path / name, pictures) - exact) ** 2).mean() for name in ("int8.onnx", "nearest.onnx"))
    assert 0 < lost < 0.3 * before and lost < 0.001 * exact.var()


def test_the_runtimes_make_of_it_what_it_says(
    convolutions: Path, pictures: Pictures, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    """ONNX Runtime quantises a 32-bit depthwise convolution between 8-bit activations by itself: there is none."""
    out = tmp_path / "int8.onnx"
    write_int8(convolutions, out, tiny_spec, pictures)
    plain = logits(out, pictures, optimised=False)
    assert np.abs(logits(out, pictures) - plain).mean() < 0.002 * plain.std()  # 0.011 where it does
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(out), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = np.concatenate([compiled(batch)[0] for batch in pictures])
    assert np.abs(answers - plain).mean() < 0.002 * plain.std()


def test_every_head_of_an_ensemble_stays_exact_and_products_of_activations_too(
    pictures: Pictures, tiny_spec: ModelSpec, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    weights = {"patches": rng.normal(0, 0.1, (32, 3, 8, 8))}
    nodes = [
        node("Conv", ["pixel_values", "patches"], "grid", strides=[8, 8]),
        node("Reshape", ["grid", "rows"], "flat"),
        node("Transpose", ["flat"], "tokens", perm=[0, 2, 1]),
    ]
    for k in "ab":
        weights |= {f"mix_{k}": rng.normal(0, 0.2, (32, 32)), f"head_{k}": rng.normal(0, 1, (32, 7))}
        nodes += [
            node("MatMul", ["tokens", f"mix_{k}"], f"mixed_{k}"),
            node("MatMul", [f"mixed_{k}", "flat"], f"alike_{k}"),
            node("MatMul", [f"alike_{k}", "tokens"], f"back_{k}"),
            node("ReduceMean", [f"back_{k}", "axis"], f"pooled_{k}", keepdims=0),
            node("MatMul", [f"pooled_{k}", f"head_{k}"], f"logits_{k}"),
        ]
    nodes.append(node("Add", ["logits_a", "logits_b"], "logits"))
    exact = save(tmp_path / "exact.onnx", nodes, weights, {"rows": np.array([0, 32, 16]), "axis": np.array([1])})
    write_int8(exact, tmp_path / "int8.onnx", tiny_spec, pictures)
    kinds = {i.name: i.data_type for i in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert {kinds["head_a"], kinds["head_b"], kinds["patches"]} == {onnx.TensorProto.FLOAT}
    assert {kinds["mix_a_quantized"], kinds["mix_b_quantized"]} == {onnx.TensorProto.INT8}
    made = onnx.load(tmp_path / "int8.onnx").graph.node
    assert [inner.op_type for inner in made].count("DequantizeLinear") == 3  # the tokens, and the two weights
    expected = logits(exact, pictures)
    assert np.abs(logits(tmp_path / "int8.onnx", pictures) - expected).mean() < 0.05 * expected.std()


@pytest.mark.parametrize(
    "options",
    [
        {"group": 1},
        {"group": 6, "pads": [0, 1, 2, 0]},
        {"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 1, 1]},
    ],
)
def test_what_a_convolution_multiplies_its_weights_with(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "POSITIONS", 1000)  # all of them
    rng = np.random.default_rng(0)
    groups = options["group"]
    x = rng.normal(size=(2, 6, 9, 8)).astype(np.float32)
    weights = rng.normal(size=(12, 6 // groups, 3, 2)).astype(np.float32)
    made = node("Conv", ["x", "w"], "y", **options)
    graph = onnx.helper.make_graph(
        [made],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime_quietly().InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": x})[0]
    rows = int8._rows(made, x, weights.shape, rng)
    products = rows @ weights.reshape(groups, 12 // groups, -1).swapaxes(1, 2)  # (G, N, O)
    expected = y.reshape(2, groups, 12 // groups, -1).transpose(1, 0, 3, 2).reshape(products.shape)
    np.testing.assert_allclose(products, expected, rtol=1e-4, atol=1e-5)
