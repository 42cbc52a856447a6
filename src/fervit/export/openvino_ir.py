"""OpenVINO's own model form, with fervit's metadata in it."""

from pathlib import Path
from typing import Any

from fervit.types import METADATA_KEY, ModelSpec


def save_ir(model: Any, spec: ModelSpec, path: Path) -> None:
    """Write an OpenVINO model with fervit's metadata as `.xml` and `.bin`."""
    import openvino

    model.set_rt_info(spec.to_json(), ["framework", METADATA_KEY])
    openvino.save_model(model, str(path), compress_to_fp16=False)
