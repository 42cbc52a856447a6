"""OpenVINO's own file format, with fervit's metadata in it."""

from pathlib import Path
from typing import TYPE_CHECKING

from fervit.types import METADATA_KEY, ModelSpec

if TYPE_CHECKING:
    import openvino


def save_ir(model: "openvino.Model", spec: ModelSpec, path: Path) -> None:
    """Write an OpenVINO model with fervit's metadata as `.xml` and `.bin`."""
    import openvino

    model.set_rt_info(spec.to_json(), ["framework", METADATA_KEY])
    openvino.save_model(model, str(path), compress_to_fp16=False)
