"""What several test files share: where things lie, small models and small data sets."""

import os
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.data.download import FER2013_COUNTS
from fervit.labels import FER7
from fervit.types import ModelSpec

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("FERVIT_DATA") or ROOT.parent / "shared" / "data")
"""Data sets of others; tests that read them skip, with a reason, where the folder is absent."""
WEIGHTS = DATA.parent / "weights"
SCRIPTS = ROOT / "scripts"

QUICK = {
    "image_size": 32,
    "batch_size": 8,
    "lr": 1e-3,
    "epochs": 2,
    "schedule": "constant",
    "precision": "fp32",
}


def faces(count: int = 32, seed: int = 0, votes: bool = False) -> Dataset:
    """Grey 16 px images, each class of its own brightness; half train, a quarter each other split."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 7
    images = rng.integers(0, 20, (count, 16, 16, 1), dtype=np.uint8)
    images += (33 * targets).astype(np.uint8)[:, None, None, None]
    split_ids = np.array([0, 0, 1, 2])[np.arange(count) // 7 % 4]
    return Dataset(
        name="levels",
        labels=FER7,
        images=images,
        targets=targets,
        split_ids=split_ids.astype(np.int8),
        rows=np.arange(count),
        data_hash="0" * 64,
        votes=np.eye(7, dtype=np.float32)[(targets + 1) % 7] if votes else None,
    )


def blank_fer2013() -> Dataset:
    """A data set with FER2013's counts of images per split and label, all of them of one grey."""
    targets = np.concatenate([np.repeat(np.arange(7), FER2013_COUNTS[split]) for split in FER2013_COUNTS])
    split_ids = np.repeat([0, 1, 2], [sum(FER2013_COUNTS[split]) for split in FER2013_COUNTS]).astype(np.int8)
    images = np.broadcast_to(np.uint8(9), (len(targets), 48, 48, 1))
    return Dataset("kaggle", FER7, images, targets, split_ids, np.arange(len(targets)), "abc" * 10)


def write_onnx(path: Path, metadata: dict[str, str], *, classes: int = 7, size: int = 32) -> None:
    """Write conv -> ReLU -> mean -> linear with seeded weights: `pixel_values` to `logits`."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "linear": rng.normal(size=(classes, 8)).astype(np.float32),
        "bias": np.zeros(classes, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "kernel"], ["features"]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "linear", "bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)


def write_mlp(path: Path, spec: ModelSpec) -> None:
    """Write patches -> linear -> ReLU -> linear -> mean -> head, with products as a transformer has them."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "patches": rng.normal(0, 0.1, (32, 3, 8, 8)),
        "wide": rng.normal(0, 0.2, (32, 64)),
        "narrow": rng.normal(0, 0.2, (64, 32)),
        "last": rng.normal(0, 1.0, (32, 7)),
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "patches"], ["grid"], strides=[8, 8]),
        helper.make_node("Reshape", ["grid", "rows"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["tokens", "wide"], ["hidden"], name="first"),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "narrow"], ["out"], name="second"),
        helper.make_node("ReduceMean", ["out", "axis"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "last"], ["logits"], name="head"),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants += [
        numpy_helper.from_array(np.array([0, 32, 16]), "rows"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(made, {"fervit": spec.to_json()})
    onnx.save(made, path)
