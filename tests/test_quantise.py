"""8-bit models pass a gate, or are not written."""

from pathlib import Path

import numpy as np
import pytest

from fervit import quantise
from fervit.errors import ConfigError, MissingExtra, ModelError
from fervit.quantise import Int8Report
from fervit.runtime import OnnxClassifier

FACES = np.random.default_rng(0).integers(0, 256, (40, 48, 48, 1), dtype=np.uint8)
TARGETS = np.zeros(40, np.int64)


def test_the_gate_names_what_is_wrong() -> None:
    Int8Report(0.700, 0.698, 1.3).check()
    with pytest.raises(ModelError, match=r"accuracy falls from 70\.00 to 69\.60 %"):
        Int8Report(0.700, 0.696, 2.0).check()
    with pytest.raises(ModelError, match=r"1\.10x as fast"):
        Int8Report(0.700, 0.701, 1.1).check()


def test_the_8_bit_model_is_close_and_carries_the_spec(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setattr(quantise, "_speedup", lambda exact, small: 2.0)
    monkeypatch.setattr(quantise, "MAX_LOSS", 0.2)
    out = tmp_path / "int8.xml"
    exact = OnnxClassifier(tiny_onnx, threads=1)
    report = quantise.quantise(tiny_onnx, out, FACES[:20], FACES, exact.probs(FACES).argmax(1), threads=1)
    assert report.accuracy == 1
    small = OnnxClassifier(out, threads=1)
    assert small.spec == exact.spec
    assert np.abs(small.probs(FACES) - exact.probs(FACES)).mean() < 0.03


def test_a_refused_model_leaves_nothing_behind(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setattr(quantise, "_speedup", lambda exact, small: 1.0)
    with pytest.raises(ModelError, match="int8 refused"):
        quantise.quantise(tiny_onnx, tmp_path / "int8.xml", FACES[:5], FACES, TARGETS, threads=1)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_told(tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(ConfigError, match=r"\.xml"):
        quantise.quantise(tiny_onnx, tmp_path / "int8.onnx", FACES, FACES, TARGETS)
    monkeypatch.setattr(quantise, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"fervit\[openvino\]"):
        quantise.quantise(tiny_onnx, tmp_path / "int8.xml", FACES, FACES, TARGETS)
