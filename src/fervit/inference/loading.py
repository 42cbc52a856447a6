"""Open a model by name, file or folder: `load`, `open_classifier`."""

import importlib
from pathlib import Path

from fervit.errors import ModelError, check_counts
from fervit.faces.base import FaceDetector
from fervit.faces.detectors import AUTO, make_detector
from fervit.files import as_path
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import find_model
from fervit.inference.recognizer import MAX_WORKERS, Recognizer
from fervit.licences import say_non_commercial
from fervit.runtime.devices import AUTO as AUTO_DEVICE
from fervit.runtime.devices import MODEL_FOLDERS, read_device
from fervit.types import Classifier


def load(
    model: str | Path | None = None,
    *,
    detector: str | FaceDetector = AUTO,
    threads: int | None = None,
    runtime: str = "onnxruntime",
    device: str = AUTO_DEVICE,
    min_confidence: float = 0.0,
) -> Recognizer:
    """Return a recognizer: `fervit.load()("photo.jpg")` gives one `Prediction` for each face.

    Args:
        model: an ONNX file, a model folder (needs `fervit[train]`), or a shipped model's name (`mobilenet`, `tiny`);
            None takes `mobilenet`.
        detector: `auto`, a key of `fervit.faces.detectors.DETECTORS`, or a detector of your own.
        threads: CPU threads; None takes all cores.
        runtime: `onnxruntime`, which starts at once, `openvino` (needs `fervit[openvino]`), or `auto`: OpenVINO
            where it is installed.
        device: where the model runs: `cpu`; `cuda` or `cuda:1` (needs `onnxruntime-gpu`, for a model folder PyTorch
            with CUDA, which then computes in bfloat16); `tensorrt`; `mps` (a Mac's GPU); `openvino:GPU` or
            `openvino:NPU` (Intel's). `auto`: the first NVIDIA GPU that can be used, else the CPU.
        min_confidence: probability below which the label is `uncertain`, 0..1.

    Raises:
        ConfigError: there is no such device.
        ModelError: the model is missing or cannot be read, there is no such runtime, or the device cannot be used; the
            message names the package that is missing.
        MissingExtra: the runtime is not installed.
        DetectorError: the detector is unknown or not installed.
    """
    if threads is not None:
        check_counts(threads=threads)
    return Recognizer(
        open_classifier(model, threads=threads, runtime=runtime, device=device),
        make_detector(detector) if isinstance(detector, str) else detector,
        workers=None if threads is None else min(MAX_WORKERS, threads),
        min_confidence=min_confidence,
    )


def open_classifier(
    model: str | Path | None = None,
    *,
    threads: int | None = None,
    runtime: str = "onnxruntime",
    device: str = AUTO_DEVICE,
) -> Classifier:
    """Open an ONNX file, a model folder (by PyTorch, where it is installed), or a shipped model: see `load`.

    That a model was trained on data for non-commercial use is logged as a warning, once in a process.

    Raises:
        ConfigError: there is no such device.
        ModelError: it is missing, cannot be read, or is a folder and PyTorch is not installed; or the device cannot be
            used.
    """
    read_device(device)  # a misspelt one is named first
    path = find_model(None if model is None else as_path(model, "a model", ModelError))
    classifier = _open(path, threads=threads, runtime=runtime, device=device)
    say_non_commercial(path.name, classifier.spec.trained_on)
    return classifier


def _open(path: Path, *, threads: int | None, runtime: str, device: str) -> Classifier:
    if not path.is_dir():
        return OnnxClassifier(path, threads=threads, runtime=runtime, device=device)
    if (wanted := read_device(device)).kind not in MODEL_FOLDERS:
        raise ModelError(
            f"{path} is a model folder, which PyTorch runs on {', '.join(MODEL_FOLDERS[1:])}, not on {wanted}; "
            f"`fervit export {path} --out FILE.onnx` first"
        )
    if runtime == "openvino":
        raise ModelError(f"{path} is a model folder, which PyTorch runs; `fervit export {path} --out FILE.onnx` first")
    try:
        # The only import of the train half by the run half, by name so that nothing here needs torch.
        models = importlib.import_module("fervit.models")
    except ImportError:
        return OnnxClassifier(path, threads=threads)  # raises the error that names both remedies
    classifier: Classifier = models.TorchClassifier(path, device=device, precision="auto")
    return classifier
