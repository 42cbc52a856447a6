"""Export of model folders to ONNX, with the `ModelSpec` in the metadata and parity checked before it counts."""

import logging
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from fervit.errors import ConfigError, ModelError
from fervit.export.float16 import compact
from fervit.files import cannot_write, check_writable
from fervit.inference.naming import name_labels
from fervit.label_rules import LabelMap
from fervit.models import load_checkpoint
from fervit.runtime.ort import open_session
from fervit.types import METADATA_KEY, OUTPUT, ModelSpec

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_DIFFERENCE = 1e-4  # of a probability, fp32 ONNX against PyTorch; float rounding stays near 1e-6


class _Logits(nn.Module):
    """A model without transformers' output object: takes the inputs in the order of `spec.inputs`, returns logits."""

    def __init__(self, model: nn.Module, spec: ModelSpec):
        super().__init__()
        self.model = model
        self.names = tuple(spec.inputs)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def export(folder: str | Path, out: str | Path, *, overwrite: bool = False, label_map: LabelMap | None = None) -> float:
    """Write `folder`'s model as ONNX: `pixel_values (batch, 3, S, S)` float32 -> `logits (batch, K)`.

    A model of grey input has one channel. An ensemble becomes one file too, with an input for each preprocessing of
    its members.

    Weights that float16 holds exactly, as those of a shipped folder, are stored in it (`fervit.export.float16`).

    The file appears under its name only after its predictions agreed with PyTorch's on random images in two
    batch sizes. Returns the largest difference in probability.

    `label_map` names outputs that have numbers for names, see `name_labels`.

    Raises:
        ModelError: the folder cannot be read, its labels have no names, or the exported file predicts differently.
        ConfigError: `out` exists and `overwrite` is not set, or cannot be written.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise ConfigError(f"the exported file must end in .onnx, got {out.name}")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it")
    check_writable(out)
    model, spec = load_checkpoint(folder)
    spec = replace(spec, labels=name_labels(str(folder), spec.labels, label_map))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as scratch:
            exported = Path(scratch) / "model.onnx"
            _to_onnx(model, spec, exported)
            difference = _parity(model, spec, exported)
            if not difference <= MAX_DIFFERENCE:
                raise ModelError(f"the exported model predicts differently: {difference:.2g} > {MAX_DIFFERENCE:.2g}")
            exported.replace(out)
    except OSError as error:
        raise cannot_write(out, error) from error
    return difference


def _to_onnx(model: nn.Module, spec: ModelSpec, path: Path) -> None:
    shapes = [(2, p.channels, p.image_size, p.image_size) for p in spec.inputs.values()]
    varying = {0: torch.export.Dim("batch")}
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Logits(model, spec).eval(),
                tuple(torch.zeros(shape) for shape in shapes),
                input_names=list(spec.inputs),
                output_names=[OUTPUT],
                dynamic_shapes={"inputs": tuple(varying for _ in shapes)},
                dynamo=True,
                verbose=False,
            )
    finally:
        noisy.setLevel(level)
    assert program is not None
    _save(program.model_proto, spec, path)


def _save(proto: "ModelProto", spec: ModelSpec, path: Path) -> None:
    """Write an ONNX model with fervit's metadata, and without what the exporter notes of this machine."""
    import onnx

    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions):
        del part.metadata_props[:]  # the exporter's stack traces, with this machine's paths
    for node in proto.graph.node:
        node.doc_string = ""
    compact(proto)
    onnx.helper.set_model_props(proto, {METADATA_KEY: spec.to_json()})
    onnx.save(proto, path)


def _parity(model: nn.Module, spec: ModelSpec, path: Path) -> float:
    """Return the largest difference in probability between PyTorch and ONNX Runtime on random images."""
    session = open_session(path, threads=None)
    rng = np.random.default_rng(0)
    largest = 0.0
    for batch in (1, 5):
        # Images of low frequencies: for white noise, a model predicts nearly always the same.
        coarse = torch.from_numpy(rng.standard_normal((batch, 3, 6, 6), dtype=np.float32))
        x = {
            name: torch.nn.functional.interpolate(
                coarse[:, : preprocess.channels], [preprocess.image_size] * 2, mode="bicubic"
            )
            for name, preprocess in spec.inputs.items()
        }
        with torch.inference_mode():
            expected = model(**x).logits.softmax(dim=1).numpy()
        logits = session.run([OUTPUT], {name: pixels.numpy() for name, pixels in x.items()})[0]
        actual = torch.from_numpy(logits).softmax(dim=1).numpy()
        largest = float(np.maximum(largest, np.abs(expected - actual).max()))  # unlike max(), it keeps a NaN
    return largest
