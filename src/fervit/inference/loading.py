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
from fervit.types import Classifier


def load(
    model: str | Path | None = None,
    *,
    detector: str | FaceDetector = AUTO,
    threads: int | None = None,
    runtime: str = "onnxruntime",
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
        min_confidence: probability below which the label is `uncertain`, 0..1.

    Raises:
        ModelError: the model is missing or cannot be read, or there is no such runtime.
        MissingExtra: the runtime is not installed.
        DetectorError: the detector is unknown or not installed.
    """
    if threads is not None:
        check_counts(threads=threads)
    return Recognizer(
        open_classifier(model, threads=threads, runtime=runtime),
        make_detector(detector) if isinstance(detector, str) else detector,
        workers=None if threads is None else min(MAX_WORKERS, threads),
        min_confidence=min_confidence,
    )


def open_classifier(
    model: str | Path | None = None, *, threads: int | None = None, runtime: str = "onnxruntime"
) -> Classifier:
    """Open an ONNX file, a model folder (by PyTorch, where it is installed), or a shipped model: see `load`.

    That a model was trained on data for non-commercial use is logged as a warning, once in a process.

    Raises:
        ModelError: it is missing, cannot be read, or is a folder and PyTorch is not installed.
    """
    path = find_model(None if model is None else as_path(model, "a model", ModelError))
    classifier = _open(path, threads=threads, runtime=runtime)
    say_non_commercial(path.name, classifier.spec.trained_on)
    return classifier


def _open(path: Path, *, threads: int | None, runtime: str) -> Classifier:
    if not path.is_dir():
        return OnnxClassifier(path, threads=threads, runtime=runtime)
    if runtime == "openvino":
        raise ModelError(f"{path} is a model folder, which PyTorch runs; `fervit export {path} --out FILE.onnx` first")
    try:
        # The only import of the train half by the run half, by name so that nothing here needs torch.
        models = importlib.import_module("fervit.models")
    except ImportError:
        return OnnxClassifier(path, threads=threads)  # raises the error that names both remedies
    classifier: Classifier = models.TorchClassifier(path)
    return classifier
