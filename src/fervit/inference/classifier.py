"""`OnnxClassifier`: an exported model, its `ModelSpec`, and probabilities of face crops."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fervit.errors import ModelError, check_counts
from fervit.files import as_path
from fervit.inference.model_files import check_file
from fervit.media.crops import preprocess_batch
from fervit.media.sources import check_crops
from fervit.probabilities import softmax
from fervit.runtime.devices import read_device
from fervit.runtime.sessions import AUTO, Session, choose_device, open_model
from fervit.types import OUTPUT, ModelSpec

AGAIN = "; export it again"
BATCH_SIZE = 32  # larger ones are no faster per face on a CPU and only take memory


class OnnxClassifier:
    """An exported model: an ONNX file that `fervit export` wrote, or OpenVINO's `.xml`.

    Args:
        path: the file.
        threads: CPU threads that share a batch; None takes all cores.
        runtime: a name in `RUNTIMES`, or `auto`, see `choose_runtime`.
        device: where it runs, as for `fervit.load`.

    Attributes:
        spec: the `ModelSpec` that the file holds.
        runtime: the name of the runtime that was chosen.
        device: where it runs, such as `cpu` or `cuda:0`.

    Raises:
        ConfigError: there is no such device.
        ModelError: the file is missing, a pickle, truncated, or was exported elsewhere; no such runtime; or the device
            cannot be used.
        MissingExtra: the runtime is not installed.
    """

    def __init__(
        self, path: str | Path, *, threads: int | None = None, runtime: str = "onnxruntime", device: str = AUTO
    ):
        self.path = as_path(path, "a model", ModelError)
        if threads is not None:
            check_counts(threads=threads)
        wanted = read_device(device)
        check_file(self.path)
        if self.path.suffix.lower() == ".xml" and runtime == "onnxruntime":
            runtime = AUTO
        place, self.runtime = choose_device(wanted, runtime, self.path)
        self._session, used = open_model(self.path, runtime=self.runtime, threads=threads, device=place)
        self.device = str(used)
        self.spec = _read_spec(self._session, self.path)
        _check_shapes(self._session, self.spec, self.path)

    def logits(self, *batch: np.ndarray) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each of `spec.inputs`, in its order."""
        return self._session.run(dict(zip(self.spec.inputs, batch, strict=True)))

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of N uint8 crops, grey or RGB, of any sizes.

        Raises:
            ConfigError: `batch_size` is no whole number from 1.
            ImageError: `crops` are no such arrays.
        """
        check_counts(batch_size=batch_size)
        check_crops(crops)
        parts = [np.empty((0, len(self.spec.labels)))]
        for start in range(0, len(crops), batch_size):
            part = crops[start : start + batch_size]
            batch = (preprocess_batch(part, preprocess) for preprocess in self.spec.inputs.values())
            parts.append(softmax(self.logits(*batch)))
        return np.concatenate(parts)


def _read_spec(session: Session, path: Path) -> ModelSpec:
    text = session.metadata
    if text is None:
        raise ModelError(
            f"{path} has no fervit metadata (labels, preprocessing): it was exported elsewhere; "
            "export the model folder with `fervit export FOLDER --out FILE.onnx`"
        )
    try:
        spec = ModelSpec.from_json(text)
    except ModelError as error:
        raise ModelError(f"{path}: {str(error).removesuffix(AGAIN)}{AGAIN}") from error
    if not spec.labels:
        raise ModelError(f"{path}: its metadata has no labels; export it again")
    return spec


def _check_shapes(session: Session, spec: ModelSpec, path: Path) -> None:
    inputs, outputs = session.inputs, session.outputs
    if set(inputs) != set(spec.inputs) or OUTPUT not in outputs:
        raise ModelError(
            f"{path}: expected {', '.join(spec.inputs)} -> {OUTPUT}, "
            f"got {', '.join(inputs)} -> {', '.join(outputs)}; export it again"
        )
    sizes = {name: [None, p.channels, p.image_size, p.image_size] for name, p in spec.inputs.items()}
    for name, shape, expected in (
        *((name, inputs[name], size) for name, size in sizes.items()),
        (OUTPUT, outputs[OUTPUT], [None, len(spec.labels)]),
    ):
        fits = len(shape) == len(expected) and all(
            not isinstance(size, int) or wanted is None or size == wanted
            for size, wanted in zip(shape, expected, strict=True)
        )
        if not fits:
            raise ModelError(f"{path}: {name} has shape {shape}, its metadata says {expected}; export it again")
