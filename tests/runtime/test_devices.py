"""What `--device` may name, and where an ONNX file then runs: no GPU is needed, execution providers are injected."""

import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fervit.runtime.providers
import fervit.runtime.sessions
from fervit.errors import ConfigError, ModelError
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.loading import load, open_classifier
from fervit.runtime.devices import Device, has_nvidia_gpu, read_device, say_once
from fervit.runtime.ort import OrtSession, open_session
from fervit.runtime.providers import AcceleratedSession, Placement

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
Providers = Sequence[tuple[str, Mapping[str, str]]]


class Recorded:
    """Opens every session on the CPU, notes what was asked for, and says that the providers `started`."""

    def __init__(self, started: Sequence[str]):
        self.started = list(started)
        self.asked: list[Providers] = []

    def __call__(self, path: Path, *, threads: int | None = 1, providers: Providers) -> "OrtSession":
        self.asked.append(providers)
        session: Any = open_session(path, threads=threads)
        return Pretending(session, self.started)


class Pretending:
    """An ONNX Runtime session of the CPU that says it runs on others, with the GPU's memory in the CPU's."""

    def __init__(self, session: Any, started: list[str]):
        self._session, self._started = session, started

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return self._started


@pytest.fixture(autouse=True)
def new_process() -> None:
    say_once.cache_clear()


def machine(
    monkeypatch: pytest.MonkeyPatch, *, gpu: bool = True, built: Sequence[str] = (CPU,), started: Sequence[str] = (CPU,)
) -> Recorded:
    """Pretend that there is a GPU, which providers ONNX Runtime was built with, and which of them start."""
    recorded = Recorded(started)
    providers = fervit.runtime.providers
    for module in (providers, fervit.runtime.sessions):
        monkeypatch.setattr(module, "available_providers", lambda: list(built))
    monkeypatch.setattr(fervit.runtime.sessions, "has_nvidia_gpu", lambda: gpu)
    monkeypatch.setattr(providers, "open_session", recorded)
    placement_on = providers.placement_on
    monkeypatch.setattr(
        fervit.runtime.sessions, "placement_on", lambda device: Placement(placement_on(device).providers, "cpu", 0)
    )
    return recorded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", Device("auto")),
        ("cpu", Device("cpu")),
        ("cuda", Device("cuda", 0)),
        (" cuda:3", Device("cuda", 3)),
        ("tensorrt:1", Device("tensorrt", 1)),
        ("mps", Device("mps")),
        ("openvino:gpu.1", Device("openvino", target="GPU.1")),
    ],
)
def test_a_device_is_read(text: str, expected: Device) -> None:
    assert read_device(text) == expected
    assert read_device(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["gpu", "cuda:", "cuda:x", "cpu:1", "mps:0", "openvino", "openvino:", "", None, 0, ["cpu"]]
)
def test_what_is_no_device_is_refused_with_the_list(text: object) -> None:
    with pytest.raises(ConfigError, match=r"expected a device such as auto, cpu, cuda, .*, got "):
        read_device(text)


@pytest.mark.parametrize(("shown", "found"), [(None, True), ("0,1", True), ("", False), ("-1", False)])
def test_gpus_that_are_hidden_from_the_process_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str | None, found: bool
) -> None:
    driver = tmp_path / "version"
    driver.touch()
    monkeypatch.setattr(fervit.runtime.devices, "DRIVER_FILES", (str(driver),))
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert has_nvidia_gpu() is found


def test_cuda_opens_its_provider_on_that_gpu_with_the_cpu_behind_and_predicts_the_same(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = machine(monkeypatch, built=(TENSORRT, CUDA, CPU), started=(CUDA, CPU))
    classifier = OnnxClassifier(tiny_onnx, device="cuda:1")
    assert classifier.device == "cuda:1" and classifier.runtime == "onnxruntime"
    ((cuda, cpu),) = recorded.asked
    assert cuda == (CUDA, {"device_id": "1", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
    assert cpu == (CPU, {})
    crops = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    expected = OnnxClassifier(tiny_onnx, device="cpu").probs(crops)
    np.testing.assert_allclose(classifier.probs(crops, batch_size=3), expected, atol=1e-6)
    assert classifier.probs(crops[:0]).shape == (0, 7)


def test_tensorrt_goes_before_cuda_and_computes_in_32_bits(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = machine(monkeypatch, built=(TENSORRT, CUDA, CPU), started=(TENSORRT, CUDA, CPU))
    assert OnnxClassifier(tiny_onnx, device="tensorrt").device == "tensorrt:0"
    assert [name for name, _ in recorded.asked[0]] == [TENSORRT, CUDA, CPU]
    assert recorded.asked[0][0][1] == {"device_id": "0", "trt_fp16_enable": "False"}


@pytest.mark.parametrize(
    ("device", "package"),
    [
        ("cuda", r"cuda:0 needs CUDAExecutionProvider, .*pip install 'onnxruntime-gpu\[cuda,cudnn\]'$"),
        ("tensorrt", r"needs TensorrtExecutionProvider.* tensorrt$"),
        ("mps", "needs CoreMLExecutionProvider.*onnxruntime for macOS"),
    ],
)
def test_a_missing_provider_is_named_with_the_package_that_brings_it(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, device: str, package: str
) -> None:
    machine(monkeypatch)
    with pytest.raises(ModelError, match=package):
        open_classifier(tiny_onnx, device=device)


def test_a_provider_that_does_not_start_is_an_error_and_no_silent_run_on_the_cpu(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, built=(CUDA, CPU), started=(CPU,))
    with pytest.raises(ModelError, match=r"cuda:0 cannot be used: CUDAEx.*did not start.*onnxruntime-gpu"):
        open_classifier(tiny_onnx, device="cuda")


def test_auto_takes_the_gpu_where_there_is_one(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch, built=(CUDA, CPU), started=(CUDA, CPU))
    assert OnnxClassifier(tiny_onnx, runtime="auto").device == "cuda:0"
    assert OnnxClassifier(tiny_onnx, device="cpu").device == "cpu"
    assert caplog.messages == []


def test_auto_falls_back_aloud_and_once_where_the_gpu_does_not_start(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch, built=(CUDA, CPU), started=(CPU,))
    with caplog.at_level(logging.WARNING):
        assert [OnnxClassifier(tiny_onnx).device for _ in range(2)] == ["cpu", "cpu"]
    (message,) = caplog.messages
    assert "did not start" in message and "runs on the CPU; --device cpu: no warning" in message


def test_auto_says_once_which_package_would_use_the_gpu(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine(monkeypatch)
    with caplog.at_level(logging.WARNING):
        for device in ("auto", "auto", "cpu"):
            assert OnnxClassifier(tiny_onnx, device=device).device == "cpu"
    (message,) = caplog.messages
    assert "has an NVIDIA GPU" in message and "onnxruntime-gpu" in message


def test_auto_is_silent_without_a_gpu_and_asks_nothing_of_onnx_runtime(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = machine(monkeypatch, gpu=False, built=(CUDA, CPU), started=(CUDA, CPU))
    assert OnnxClassifier(tiny_onnx).device == "cpu"
    assert recorded.asked == [] and caplog.messages == []


def test_openvino_and_8_bits_stay_on_the_cpu_of_a_machine_with_a_gpu(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = machine(monkeypatch, built=(CUDA, CPU), started=(CUDA, CPU))
    monkeypatch.setattr(fervit.runtime.sessions, "is_8_bit", lambda path: True)
    assert OnnxClassifier(tiny_onnx).device == "cpu"
    pytest.importorskip("openvino")
    classifier = OnnxClassifier(tiny_onnx, runtime="openvino")
    assert (classifier.runtime, classifier.device) == ("openvino", "cpu") and recorded.asked == []


def test_openvino_runs_on_its_own_devices_alone_and_names_those_that_it_sees(tiny_onnx: Path) -> None:
    with pytest.raises(ModelError, match=r"OpenVINO runs tiny.onnx on cpu, openvino:GPU or .*NPU, not on cuda:0"):
        OnnxClassifier(tiny_onnx, runtime="openvino", device="cuda")
    pytest.importorskip("openvino")
    with pytest.raises(ModelError, match=r"OpenVINO sees no HPU here, only .*CPU.*driver"):
        OnnxClassifier(tiny_onnx, device="openvino:HPU")
    classifier = OnnxClassifier(tiny_onnx, device="openvino:CPU")
    assert (classifier.runtime, classifier.device) == ("openvino", "openvino:CPU")


def test_an_accelerated_session_pickles_as_its_file_and_place(tiny_onnx: Path) -> None:
    session = AcceleratedSession(tiny_onnx, Device("cpu"), Placement(((CPU, {}),)), threads=1)
    batch = {"pixel_values": np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)}
    again = pickle.loads(pickle.dumps(session))
    np.testing.assert_array_equal(again.run(batch), session.run(batch))


def test_load_passes_the_device_on(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        load(tiny_onnx, device="cuda")
    with pytest.raises(ConfigError, match="got 'gpu'"):
        load("no such model", device="gpu")
