"""fervit: facial expression recognition with Vision Transformers.

>>> import fervit
>>> recognizer = fervit.load()  # doctest: +SKIP
>>> recognizer("photo.jpg")[0].label  # doctest: +SKIP
'happy'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fervit.analysis.outputs import write_study
    from fervit.analysis.study import study
    from fervit.api import compare, distill, evaluate, export_onnx, train
    from fervit.api.diagnosis import doctor
    from fervit.api.publishing import push
    from fervit.api.studies import train_seeds, tune
    from fervit.api.tables import compare_models, evaluate_table
    from fervit.config import TrainConfig
    from fervit.data import Dataset
    from fervit.data import load as load_dataset
    from fervit.data.conversion.convert import convert as convert_dataset
    from fervit.data.photos.crop_folder import crop_photos
    from fervit.errors import FervitError
    from fervit.evaluation.selective import threshold_for
    from fervit.faces.detectors import make_detector
    from fervit.inference.classifier import OnnxClassifier
    from fervit.inference.loading import load
    from fervit.inference.people import one_face, read_people
    from fervit.inference.recognizer import Recognizer
    from fervit.inference.results import FrameResult, ImageResult
    from fervit.inference.rows import table_rows
    from fervit.inference.runs.live import watch
    from fervit.inference.runs.run import RunSummary, predict
    from fervit.inference.runs.sidecar import read_sidecar
    from fervit.media.draw import annotate
    from fervit.media.images import read_image
    from fervit.media.video import probe, read_frames
    from fervit.media.video_writer import VideoWriter
    from fervit.pseudolabels import pseudolabel
    from fervit.types import Box, Face, ModelSpec, Prediction, Preprocess
    from fervit.weights.named import released_models

__all__ = [
    "Box",
    "Dataset",
    "Face",
    "FervitError",
    "FrameResult",
    "ImageResult",
    "ModelSpec",
    "OnnxClassifier",
    "Prediction",
    "Preprocess",
    "Recognizer",
    "RunSummary",
    "TrainConfig",
    "VideoWriter",
    "annotate",
    "compare",
    "compare_models",
    "convert_dataset",
    "crop_photos",
    "distill",
    "doctor",
    "evaluate",
    "evaluate_table",
    "export_onnx",
    "load",
    "load_dataset",
    "make_detector",
    "one_face",
    "predict",
    "probe",
    "pseudolabel",
    "push",
    "read_frames",
    "read_image",
    "read_people",
    "read_sidecar",
    "released_models",
    "study",
    "table_rows",
    "threshold_for",
    "train",
    "train_seeds",
    "tune",
    "watch",
    "write_study",
]

_HOMES = {
    "Box": "fervit.types",
    "Dataset": "fervit.data",
    "Face": "fervit.types",
    "FervitError": "fervit.errors",
    "FrameResult": "fervit.inference.results",
    "ImageResult": "fervit.inference.results",
    "ModelSpec": "fervit.types",
    "OnnxClassifier": "fervit.inference.classifier",
    "Prediction": "fervit.types",
    "Preprocess": "fervit.types",
    "Recognizer": "fervit.inference.recognizer",
    "RunSummary": "fervit.inference.runs.run",
    "TrainConfig": "fervit.config",
    "VideoWriter": "fervit.media.video_writer",
    "annotate": "fervit.media.draw",
    "compare": "fervit.api",
    "compare_models": "fervit.api.tables",
    "convert_dataset": "fervit.data.conversion.convert:convert",
    "crop_photos": "fervit.data.photos.crop_folder",
    "distill": "fervit.api",
    "doctor": "fervit.api.diagnosis",
    "evaluate": "fervit.api",
    "evaluate_table": "fervit.api.tables",
    "export_onnx": "fervit.api",
    "load": "fervit.inference.loading",
    "load_dataset": "fervit.data:load",
    "make_detector": "fervit.faces.detectors",
    "one_face": "fervit.inference.people",
    "predict": "fervit.inference.runs.run",
    "probe": "fervit.media.video",
    "pseudolabel": "fervit.pseudolabels",
    "push": "fervit.api.publishing",
    "read_frames": "fervit.media.video",
    "read_image": "fervit.media.images",
    "read_people": "fervit.inference.people",
    "read_sidecar": "fervit.inference.runs.sidecar",
    "released_models": "fervit.weights.named",
    "study": "fervit.analysis.study",
    "table_rows": "fervit.inference.rows",
    "threshold_for": "fervit.evaluation.selective",
    "train": "fervit.api",
    "train_seeds": "fervit.api.studies",
    "tune": "fervit.api.studies",
    "watch": "fervit.inference.runs.live",
    "write_study": "fervit.analysis.outputs",
}


def __getattr__(name: str) -> Any:  # PEP 562: `import fervit` stays fast
    if name not in _HOMES:
        raise AttributeError(f"module 'fervit' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
