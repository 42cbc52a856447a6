"""Weights in 16 bits where that loses nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.export import quantise
from fervit.export.float16 import SUFFIX, compact, expand
from fervit.export.onnx import export
from fervit.export.quantise import Int8Report
from fervit.inference.classifier import OnnxClassifier
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.types import ModelSpec
from tests.helpers import write_mlp
from tests.helpers.weights import save_timm

onnx = pytest.importorskip("onnx")
Proto = Any
"""An `onnx.ModelProto`."""


def weights_of(proto: Proto) -> dict[str, np.ndarray]:
    return {entry.name: onnx.numpy_helper.to_array(entry) for entry in proto.graph.initializer}


@pytest.fixture
def proto(tmp_path: Path, tiny_spec: ModelSpec) -> Proto:
    """Three weights that float16 holds exactly, and one (`narrow`) that it does not."""
    write_mlp(tmp_path / "mlp.onnx", tiny_spec)
    made = onnx.load(tmp_path / "mlp.onnx")
    for entry in made.graph.initializer:
        values = onnx.numpy_helper.to_array(entry)
        if values.dtype == np.float32 and entry.name != "narrow":
            values = values.astype(np.float16).astype(np.float32)
            entry.CopyFrom(onnx.numpy_helper.from_array(values, entry.name))
    onnx.save(made, tmp_path / "mlp.onnx")
    return made


def test_only_what_float16_holds_exactly_is_stored_in_it(proto: Proto) -> None:
    before = weights_of(proto)
    assert compact(proto) == 2
    after = weights_of(proto)
    # `last` has 224 values, `axis` and `rows` are integers
    assert set(after) == {"patches" + SUFFIX, "wide" + SUFFIX, "narrow", "last", "rows", "axis"}
    assert after["wide" + SUFFIX].dtype == np.float16
    np.testing.assert_array_equal(after["wide" + SUFFIX], before["wide"])
    onnx.checker.check_model(proto, full_check=True)


def test_what_is_too_large_or_no_number_stays_as_it_is(proto: Proto) -> None:
    for entry in proto.graph.initializer:
        if entry.name in ("wide", "patches"):
            values = onnx.numpy_helper.to_array(entry).copy()
            values.flat[3] = 1e5 if entry.name == "wide" else np.nan
            entry.CopyFrom(onnx.numpy_helper.from_array(values, entry.name))
    assert compact(proto) == 0


def test_the_predictions_are_the_same_and_expanding_gives_the_weights_back(proto: Proto, tmp_path: Path) -> None:
    before = weights_of(proto)
    compact(proto)
    onnx.save(proto, tmp_path / "half.onnx")
    crops = np.random.default_rng(1).integers(0, 256, (9, 48, 48, 1), dtype=np.uint8)
    exact, half = OnnxClassifier(tmp_path / "mlp.onnx"), OnnxClassifier(tmp_path / "half.onnx")
    np.testing.assert_array_equal(half.probs(crops), exact.probs(crops))
    assert half.spec == exact.spec
    assert expand(proto) == 2
    after = weights_of(proto)
    assert after.keys() == before.keys() and not any(node.op_type == "Cast" for node in proto.graph.node)
    for name, values in before.items():
        assert after[name].dtype == values.dtype
        np.testing.assert_array_equal(after[name], values)


@pytest.mark.slow
def test_openvino_gives_the_same_predictions(proto: Proto, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    compact(proto)
    onnx.save(proto, tmp_path / "half.onnx")
    crops = np.random.default_rng(1).integers(0, 256, (9, 48, 48, 1), dtype=np.uint8)
    exact = OnnxClassifier(tmp_path / "mlp.onnx", runtime="openvino")
    half = OnnxClassifier(tmp_path / "half.onnx", runtime="openvino")
    np.testing.assert_allclose(half.probs(crops), exact.probs(crops), atol=1e-6)


@pytest.mark.slow
def test_such_a_file_is_quantised_like_another(
    model: Path,
    faces: Dataset,
    proto: Proto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Int8Report, "check", lambda self: None)
    compact(proto)
    onnx.save(proto, tmp_path / "half.onnx")
    for name in ("mlp", "half"):
        quantise.quantise(tmp_path / f"{name}.onnx", tmp_path / f"{name}-int8.onnx", faces, threads=1)
    exact, half = (weights_of(onnx.load(tmp_path / f"{name}-int8.onnx")) for name in ("mlp", "half"))
    assert exact.keys() == half.keys() and "wide_quantized" in half
    np.testing.assert_array_equal(exact["wide_quantized"], half["wide_quantized"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("half-int8.onnx", "half.onnx", "mlp-int8.onnx", "mlp.onnx")
    ]


@pytest.mark.slow
def test_a_folder_in_float16_is_exported_in_float16(tmp_path: Path) -> None:
    save_timm(tmp_path / "w.safetensors")
    vit, preprocess = build_model(tmp_path / "w.safetensors", FER7, 32)
    save_checkpoint(vit, ModelSpec("vit", preprocess, name="m"), tmp_path / "half", half=True)
    export(tmp_path / "half", tmp_path / "half.onnx")
    weights = weights_of(onnx.load(tmp_path / "half.onnx")).values()
    exact = sum(values.size * 4 for values in weights)
    assert exact > 4 * sum(p.numel() for p in vit.parameters()) * 0.9
    assert sum(values.nbytes for values in weights) < 0.55 * exact
