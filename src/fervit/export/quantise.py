"""8-bit models: calibrated on training faces, refused when they lose accuracy or gain no speed."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fervit.data import PUBLIC_TEST, TRAIN, Dataset
from fervit.errors import ConfigError, MissingExtra, ModelError
from fervit.evaluation.prediction import predict_dataset
from fervit.export.int8 import Batch, write_int8
from fervit.export.openvino_ir import save_ir
from fervit.inference.classifier import OnnxClassifier
from fervit.licences import union
from fervit.media.crops import preprocess_batch
from fervit.runtime.devices import CPU
from fervit.runtime.sessions import is_8_bit
from fervit.types import ModelSpec

CALIBRATION = 304  # faces
CALIBRATION_BATCH = 16
MAX_LOSS = 0.003  # of validation accuracy
MIN_SPEEDUP = 1.2
TIMED_BATCH, ROUNDS = 32, 7
RUNTIME_OF = {".onnx": "onnxruntime", ".xml": "openvino"}  # what each kind of file is measured on


@dataclass(frozen=True)
class Int8Report:
    """What quantisation cost and brought.

    Attributes:
        accuracy: of the 32-bit model on the validation faces, 0..1.
        accuracy_int8: the same of the 8-bit model.
        speedup: faces/s of the 8-bit model over those of the 32-bit one on the same runtime and threads, batch 32.
        runtime: what both were measured on.
        n: validation faces.
    """

    accuracy: float
    accuracy_int8: float
    speedup: float
    runtime: str = "openvino"
    n: int = 0

    def __str__(self) -> str:
        change = 100 * (self.accuracy_int8 - self.accuracy)
        return (
            f"{PUBLIC_TEST} accuracy {100 * self.accuracy:.2f} -> {100 * self.accuracy_int8:.2f} % ({change:+.2f} "
            f"points, n = {self.n}), {self.speedup:.2f}x as fast on {self.runtime}, batch {TIMED_BATCH}"
        )

    def check(self) -> None:
        """Raise `ModelError` when the loss is above `MAX_LOSS` or the speed-up below `MIN_SPEEDUP`."""
        wrong = []
        if self.accuracy - self.accuracy_int8 > MAX_LOSS:
            wrong.append(f"it loses more than {100 * MAX_LOSS:.1f} points")
        if self.speedup < MIN_SPEEDUP:
            wrong.append(f"it is less than {MIN_SPEEDUP}x as fast here")
        if wrong:
            raise ModelError(f"int8 refused, {' and '.join(wrong)}: {self}; nothing was written, export without --int8")


def check_int8(out: Path) -> str:
    """Return the runtime that an 8-bit file of this name is for, before minutes of work begin.

    Raises:
        ConfigError: it ends neither in .onnx nor in .xml.
        MissingExtra: what makes it is not installed.
    """
    runtime = RUNTIME_OF.get(out.suffix.lower())
    if runtime is None:
        raise ConfigError(f"an int8 file ends in .onnx (ONNX Runtime) or .xml (OpenVINO), got {out.name}")
    if find_spec("onnx") is None:
        raise MissingExtra("int8 export", "train")
    if runtime == "openvino" and find_spec("openvino") is None:
        raise MissingExtra("int8 export to OpenVINO's .xml", "openvino")
    return runtime


def quantise(model: Path, out: Path, data: Dataset, *, threads: int | None = None) -> Int8Report:
    """Write an 8-bit model with fervit's metadata, if it passes the gate.

    Static quantisation (`fervit.export.int8`), its ranges and rounding taken from `CALIBRATION` faces of the training
    part. An `.onnx` file runs on ONNX Runtime and OpenVINO; `.xml` (and `.bin`) is the same graph in
    OpenVINO's own format. The gate reads `public_test`, all of it.

    Args:
        model: an ONNX file that `fervit export` wrote.
        out: the file to write; one that exists is replaced.
        data: faces with the splits train and public_test.
        threads: CPU threads while measuring.

    Raises:
        MissingExtra: what makes such a file is not installed.
        ConfigError: `out` has another ending.
        DataError: the data lack one of the splits.
        ModelError: it is in 8 bits already, accuracy falls too far, or it is not faster; nothing is left behind.
    """
    runtime = check_int8(out)
    training, validation = data.split(TRAIN), data.split(PUBLIC_TEST)
    exact = OnnxClassifier(model, threads=threads, runtime=runtime, device=CPU)
    if is_8_bit(model):
        raise ModelError("int8 refused: the model is in 8 bits already; export the 32-bit one")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".int8-") as scratch:
        written = Path(scratch) / out.name
        licences = union(exact.spec.trained_on, data.licences)  # the weights are rounded for these faces
        spec = dataclasses.replace(exact.spec, metrics={}, trained_on=licences)  # the metrics are those in 32 bits
        write = write_int8 if runtime == "onnxruntime" else _write_ir
        write(model, written, spec, calibration_batches(spec, training))
        small = OnnxClassifier(written, threads=threads, runtime=runtime, device=CPU)
        report = Int8Report(
            _accuracy(exact, validation), _accuracy(small, validation), _speedup(exact, small), runtime, len(validation)
        )
        report.check()
        del small  # Windows moves no file that is open
        for file in sorted(Path(scratch).iterdir()):
            file.replace(out.parent / file.name)
    return report


def calibration_batches(spec: ModelSpec, training: Dataset) -> list[Batch]:
    """Return a model's inputs for `CALIBRATION` training faces, drawn at random, in batches of one size."""
    chosen = np.random.default_rng(0).permutation(len(training))[:CALIBRATION]  # folders come class by class
    faces = list(training.images[np.sort(chosen)])
    size = min(CALIBRATION_BATCH, len(faces))
    return [
        {name: preprocess_batch(faces[start : start + size], preprocess) for name, preprocess in spec.inputs.items()}
        for start in range(0, len(faces) - size + 1, size)
    ]


def _write_ir(model: Path, out: Path, spec: ModelSpec, batches: Sequence[Batch]) -> None:
    import openvino

    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        graph = Path(scratch) / "int8.onnx"
        write_int8(model, graph, spec, batches)
        save_ir(openvino.Core().read_model(str(graph)), spec, out)


def _accuracy(classifier: OnnxClassifier, data: Dataset) -> float:
    return float((predict_dataset(classifier, data).argmax(axis=1) == data.targets).mean())


def _speedup(exact: OnnxClassifier, small: OnnxClassifier) -> float:
    """Return the median of ratios of runs that take turns, so that other load hits both."""
    rng = np.random.default_rng(0)
    batch = [
        rng.normal(size=(TIMED_BATCH, 3, preprocess.image_size, preprocess.image_size)).astype(np.float32)
        for preprocess in exact.spec.inputs.values()
    ]
    ratios = []
    for k in range(ROUNDS + 1):
        slow, fast = (_seconds(lambda c=c: c.logits(*batch)) for c in (exact, small))  # type: ignore[misc]
        if k:
            ratios.append(slow / fast)
    return statistics.median(ratios)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
