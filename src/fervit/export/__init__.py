"""Model folders as files that run without PyTorch: ONNX, 8 bits, OpenVINO."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fervit.export.onnx import export

__all__ = ["export"]


def __getattr__(name: str) -> object:  # PEP 562: 8 bits need no PyTorch
    if name != "export":
        raise AttributeError(f"module 'fervit.export' has no attribute {name!r}")
    from fervit.export.onnx import export

    return export
