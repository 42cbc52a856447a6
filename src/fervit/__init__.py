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
    from fervit.data import Dataset
    from fervit.data import load as load_dataset
    from fervit.detect import make_detector
    from fervit.draw import annotate
    from fervit.errors import FervitError
    from fervit.images import read_image
    from fervit.recognizer import ImageResult, Recognizer, load
    from fervit.runtime import OnnxClassifier
    from fervit.types import Box, Face, ModelSpec, Prediction, Preprocess

__all__ = [
    "Box",
    "Dataset",
    "Face",
    "FervitError",
    "ImageResult",
    "ModelSpec",
    "OnnxClassifier",
    "Prediction",
    "Preprocess",
    "Recognizer",
    "annotate",
    "load",
    "load_dataset",
    "make_detector",
    "read_image",
]

_HOMES = {
    "Box": "fervit.types",
    "Dataset": "fervit.data",
    "Face": "fervit.types",
    "FervitError": "fervit.errors",
    "ImageResult": "fervit.recognizer",
    "ModelSpec": "fervit.types",
    "OnnxClassifier": "fervit.runtime",
    "Prediction": "fervit.types",
    "Preprocess": "fervit.types",
    "Recognizer": "fervit.recognizer",
    "annotate": "fervit.draw",
    "load": "fervit.recognizer",
    "load_dataset": "fervit.data:load",
    "make_detector": "fervit.detect",
    "read_image": "fervit.images",
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
