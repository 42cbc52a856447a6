"""OpenVINO predicts as ONNX Runtime does."""

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.errors import MissingExtra, ModelError
from fervit.inference.classifier import OnnxClassifier
from fervit.runtime import sessions
from fervit.types import ModelSpec
from tests.helpers import write_onnx
from tests.helpers.limits import run_forked

CROPS = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)


@pytest.fixture
def openvino() -> None:
    pytest.importorskip("openvino")


@pytest.mark.usefixtures("openvino")
def test_both_runtimes_give_the_same_probabilities(tiny_onnx: Path) -> None:
    one = OnnxClassifier(tiny_onnx, threads=1)
    other = OnnxClassifier(tiny_onnx, threads=1, runtime="openvino")
    assert one.spec == other.spec
    assert (one.runtime, other.runtime) == ("onnxruntime", "openvino")
    np.testing.assert_allclose(one.probs(CROPS), other.probs(CROPS), atol=1e-5)
    np.testing.assert_allclose(other.probs(CROPS, batch_size=2), other.probs(CROPS), atol=1e-6)


@pytest.mark.usefixtures("openvino")
def test_openvinos_own_files_carry_the_spec_too(tiny_onnx: Path, tmp_path: Path, tiny_spec: ModelSpec) -> None:
    import openvino

    from fervit.export.openvino_ir import save_ir

    path = tmp_path / "model.xml"
    save_ir(openvino.Core().read_model(str(tiny_onnx)), tiny_spec, path)
    own = OnnxClassifier(path, threads=1)
    assert own.runtime == "openvino"
    assert own.spec == tiny_spec
    np.testing.assert_allclose(own.probs(CROPS), OnnxClassifier(tiny_onnx, threads=1).probs(CROPS), atol=1e-5)


@pytest.mark.usefixtures("openvino")
def test_what_it_cannot_read_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello, this is no model")
    with pytest.raises(ModelError, match="not readable by OpenVINO"):
        OnnxClassifier(tmp_path / "text.onnx", runtime="openvino")
    write_onnx(tmp_path / "bare.onnx", {})
    with pytest.raises(ModelError, match="exported elsewhere"):
        OnnxClassifier(tmp_path / "bare.onnx", runtime="openvino")


def test_auto_takes_openvino_where_it_is_installed(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "find_spec", lambda name: None)
    assert OnnxClassifier(tiny_onnx, runtime="auto").runtime == "onnxruntime"
    monkeypatch.setattr(sessions, "find_spec", lambda name: name)
    assert sessions.choose_runtime("auto", tiny_onnx) == "openvino"


def test_an_unknown_or_missing_runtime_is_told(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="did you mean 'openvino'"):
        OnnxClassifier(tiny_onnx, runtime="openvno")
    with pytest.raises(ModelError, match="OpenVINO's own form"):
        sessions.choose_runtime("onnxruntime", Path("model.xml"))
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"fervit\[openvino\]"):
        OnnxClassifier(tiny_onnx, runtime="openvino")


@pytest.mark.usefixtures("openvino")
def test_predict_takes_a_runtime(tiny_onnx: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(CROPS[0]).save(tmp_path / "a.png")
    arguments = ["predict", str(tmp_path / "a.png"), "--crop", "--model", str(tiny_onnx), "--json", "-"]
    outputs = [CliRunner().invoke(app, [*arguments, "--runtime", name]).stdout for name in ("auto", "openvino")]
    assert '"label"' in outputs[0]
    assert outputs[0][:60] == outputs[1][:60]


SIGNAL = """
import os, signal, threading
from pathlib import Path
from fervit.runtime.openvino import OpenVinoSession

held = [OpenVinoSession(Path({path!r}), threads=1)]
dropping = threading.Thread(target=held.clear)
dropping.start()
dropping.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
def test_a_signal_after_a_thread_has_dropped_the_last_model_is_handled(tiny_onnx: Path) -> None:
    done = run_forked(SIGNAL.format(path=str(tiny_onnx)))
    assert (done.status, done.stdout) == (0, "handled\n")
