"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fervit.types import ModelSpec, Preprocess

DATA = Path(os.environ.get("FERVIT_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded data sets go to a folder of this run, not to the user's cache; its processes share it."""
    run = tmp_path_factory.getbasetemp()
    run = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERVIT_CACHE", str(run / "fervit-cache"))
        yield


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of test photos that lies beside the data sets."""
    folder = DATA.parent / "media"
    if not folder.is_dir():
        pytest.skip(f"no test photos at {folder}")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A `(512, 512, 3)` photo with one face near (225, 120)."""
    return pytest.importorskip("skimage.data").astronaut()


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    """The spec of `tiny_onnx`."""
    preprocess = Preprocess(
        32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic", crop_margin=0.1, crop_offset=0.05
    )
    return ModelSpec(arch="cnn", preprocess=preprocess, name="tiny", licence="CC0-1.0")


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_spec: ModelSpec) -> Path:
    """A small ONNX classifier with random weights and fervit's metadata, written without torch."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_onnx(path, {"fervit": tiny_spec.to_json()})
    return path


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
