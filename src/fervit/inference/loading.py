"""Open a model by name, file or folder: `load`, `open_classifier`."""

import importlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from fervit.errors import ModelError, check_counts
from fervit.faces.base import FaceDetector
from fervit.faces.detectors import AUTO, make_detector
from fervit.files import as_path
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import find_model
from fervit.inference.naming import SHOWN, knows_no_expression, name_labels
from fervit.inference.recognizer import MAX_WORKERS, Recognizer
from fervit.label_rules import LabelMap
from fervit.licences import say_non_commercial
from fervit.runtime.devices import AUTO as AUTO_DEVICE
from fervit.runtime.devices import MODEL_FOLDERS, read_device
from fervit.types import Classifier
from fervit.weights.layout import ONNX, folder_name

log = logging.getLogger(__name__)


class SourceKeywords(TypedDict, total=False):
    """Which model is meant and what its outputs are called, as keywords of functions that pass them on.

    Attributes:
        revision: branch, tag or commit of a model of the Hub; None takes its main branch.
        label_map: names of the model's outputs, where its own are numbers or other words: `LABEL_0=angry,...`, a
            mapping, a TOML file, or the label set in whose order they are, such as `fer7`.
    """

    revision: str | None
    label_map: LabelMap | None


def load(
    model: str | Path | None = None,
    *,
    detector: str | FaceDetector = AUTO,
    threads: int | None = None,
    runtime: str = "onnxruntime",
    device: str = AUTO_DEVICE,
    min_confidence: float = 0.0,
    **source: Unpack[SourceKeywords],
) -> Recognizer:
    """Return a recognizer: `fervit.load()("photo.jpg")` gives one `Prediction` for each face.

    Args:
        model: an ONNX file, a model folder, a model of the Hugging Face Hub as `owner/name` or `owner/name@revision`
            (both need `fervit[train]`), or a name: `mobilenet` and `tiny` come with fervit, the others of
            `fervit.released_models()` are fetched once. None takes `mobilenet`.
        detector: `auto`, a key of `fervit.faces.detectors.DETECTORS`, or a detector of your own.
        threads: CPU threads; None takes all cores.
        runtime: `onnxruntime`, which starts at once, `openvino` (needs `fervit[openvino]`), or `auto`: OpenVINO
            where it is installed.
        device: where the model runs: `cpu`; `cuda` or `cuda:1` (needs `onnxruntime-gpu`, for a model folder PyTorch
            with CUDA, which then computes in bfloat16); `tensorrt`; `mps` (a Mac's GPU); `openvino:GPU` or
            `openvino:NPU` (Intel's). `auto`: the first NVIDIA GPU that can be used, else the CPU.
        min_confidence: probability below which the label is `uncertain`, 0..1.
        **source: `revision` (branch, tag or commit of a model of the Hub) and `label_map` (names of outputs that the
            model numbers: `LABEL_0=angry,...`, a mapping, or a label set such as `fer7`).

    Raises:
        ConfigError: there is no such device.
        ModelError: the model is missing, cannot be fetched or read, has numbers for labels, there is no such runtime,
            or the device cannot be used; the message names the package that is missing.
        MissingExtra: the runtime, or what the model needs, is not installed.
        DetectorError: the detector is unknown or not installed.
    """
    if threads is not None:
        check_counts(threads=threads)
    return Recognizer(
        open_classifier(model, threads=threads, runtime=runtime, device=device, **source),
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
    **source: Unpack[SourceKeywords],
) -> Classifier:
    """Open an ONNX file, a model folder (by PyTorch, where it is installed), or one by name or Hub id: see `load`.

    That a model was trained on data for non-commercial use is logged as a warning, once in a process.

    Raises:
        ConfigError: there is no such device.
        ModelError: it is missing, cannot be fetched or read, has numbers for labels, or is a folder and PyTorch is not
            installed; or the device cannot be used.
    """
    read_device(device)  # a misspelt one is named first
    path = find_model(None if model is None else as_path(model, "a model", ModelError), revision=source.get("revision"))
    name = folder_name(path) if model is None or Path(model).exists() else Path(model).as_posix()
    classifier = _open(path, threads=threads, runtime=runtime, device=device)
    spec = classifier.spec
    labels = name_labels(name, spec.labels, source.get("label_map"))
    if labels != spec.labels:
        classifier.spec = replace(spec, labels=labels)
    if not spec.data_hash and knows_no_expression(labels):  # of models that fervit trained, the user knows the labels
        log.warning("%s predicts %s, none of which is an expression known to fervit", name, ", ".join(labels[:SHOWN]))
    say_non_commercial(name, spec.trained_on)
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
        exported = path / ONNX  # as `fervit push` puts it beside the weights
        # Of a folder without one, the error names both remedies.
        return OnnxClassifier(exported if exported.is_file() else path, threads=threads)
    classifier: Classifier = models.TorchClassifier(path, device=device, precision="auto")
    return classifier
