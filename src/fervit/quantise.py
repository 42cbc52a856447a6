"""8-bit models: calibrated on training faces, refused when they lose accuracy or gain no speed."""

import contextlib
import io
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fervit.data import PUBLIC_TEST, TRAIN, Dataset
from fervit.errors import ConfigError, MissingExtra, ModelError
from fervit.evaluation import predict_dataset
from fervit.images import preprocess_batch
from fervit.onnx_weights import expand
from fervit.openvino import save_ir
from fervit.ort import onnxruntime_quietly
from fervit.runtime import OnnxClassifier
from fervit.types import METADATA_KEY, ModelSpec

CALIBRATION = 304  # faces: nncf's default of 300, in whole batches
CALIBRATION_BATCH = 16
# Of ONNX Runtime's ranges: few values far out would cost all others their precision. The divergence from the 32-bit
# answers on 600 training faces was 0.0107 with the whole range, 0.0027 with this share of it, 0.0037 with 99.99 %.
PERCENTILE = 99.998
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
    """Return the runtime that an 8-bit file of this name is for, before minutes of work.

    Raises:
        ConfigError: it ends neither in .onnx nor in .xml.
        MissingExtra: what makes it is not installed.
    """
    runtime = RUNTIME_OF.get(out.suffix.lower())
    if runtime is None:
        raise ConfigError(f"an int8 file ends in .onnx (ONNX Runtime) or .xml (OpenVINO), got {out.name}")
    if runtime == "openvino" and (find_spec("openvino") is None or find_spec("nncf") is None):
        raise MissingExtra("int8 export to OpenVINO's .xml", "openvino")
    if runtime == "onnxruntime" and find_spec("onnx") is None:
        raise MissingExtra("int8 export", "train")
    return runtime


def quantise(model: Path, out: Path, data: Dataset, *, threads: int | None = None) -> Int8Report:
    """Write an 8-bit model with fervit's metadata, if it passes the gate.

    Static quantisation, its ranges taken from `CALIBRATION` faces of the training part. `.onnx`: the matrix products
    and dense convolutions with weights, by ONNX Runtime; attention's own products, what reads the pixels, the head,
    softmax, layer norm and GELU stay 32 bit. `.xml` (and `.bin`): by nncf's transformer preset for OpenVINO; softmax,
    layer norm and the like stay 32 bit. The gate reads `public_test`, all of it.

    Args:
        model: an ONNX file that `fervit export` wrote.
        out: the file to write; one that exists is replaced.
        data: faces with the splits train and public_test.
        threads: CPU threads while measuring.

    Raises:
        MissingExtra: what makes such a file is not installed.
        ConfigError: `out` has another ending.
        DataError: the data lack one of the splits.
        ModelError: accuracy falls too far, or it is not faster; nothing is left behind.
    """
    runtime = check_int8(out)
    training, validation = data.split(TRAIN), data.split(PUBLIC_TEST)
    rows = np.random.default_rng(0).permutation(len(training))[:CALIBRATION]  # folders come class by class
    exact = OnnxClassifier(model, threads=threads, runtime=runtime)
    faces = training.images[np.sort(rows)]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".int8-") as scratch:
        written = Path(scratch) / out.name
        write = _write_onnx if runtime == "onnxruntime" else _write_ir
        write(model, written, exact.spec, faces)
        small = OnnxClassifier(written, threads=threads, runtime=runtime)
        report = Int8Report(
            _accuracy(exact, validation), _accuracy(small, validation), _speedup(exact, small), runtime, len(validation)
        )
        report.check()
        del small  # Windows moves no file that is open
        for part in sorted(Path(scratch).iterdir()):
            part.replace(out.parent / part.name)
    return report


def _batches(spec: ModelSpec, faces: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield the model's inputs for `faces`, in batches of one size, as ONNX Runtime's histograms need them."""
    size = min(CALIBRATION_BATCH, len(faces))
    for start in range(0, len(faces) - size + 1, size):
        part = list(faces[start : start + size])
        yield {name: preprocess_batch(part, preprocess) for name, preprocess in spec.inputs.items()}


def _write_ir(model: Path, out: Path, spec: ModelSpec, faces: np.ndarray) -> None:
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    batches = list(_batches(spec, faces))
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        quantised = nncf.quantize(
            openvino.Core().read_model(str(model)),
            nncf.Dataset(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
        )
    save_ir(quantised, spec, out)


def _write_onnx(model: Path, out: Path, spec: ModelSpec, faces: np.ndarray) -> None:
    import onnx

    onnxruntime_quietly()
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Faces(CalibrationDataReader):  # type: ignore[misc]
        """Batches of calibration faces, one after another."""

        def __init__(self) -> None:
            self.batches = _batches(spec, faces)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    # it warns on the root logger that the model was not pre-processed, and prints how its histograms come on
    with (
        _quiet_root(),
        contextlib.redirect_stdout(io.StringIO()),
        tempfile.TemporaryDirectory(dir=out.parent) as scratch,
    ):
        proto = onnx.load(model)
        expand(proto)
        exact = Path(scratch) / "exact.onnx"
        onnx.save(proto, exact)
        quantize_static(
            str(exact),
            str(out),
            Faces(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 7-bit weights: without VNNI, AVX2 adds pairs of products in 16 bits, which overflow
            nodes_to_quantize=_products(proto),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": PERCENTILE},
        )
    proto = onnx.load(out)
    onnx.helper.set_model_props(proto, {METADATA_KEY: spec.to_json()})
    onnx.save(proto, out)


def _products(proto: Any) -> list[str]:
    """Return the names of the nodes that multiply by weights, without what reads the pixels and the last, the head.

    Nor depthwise convolutions: their channels differ so much in range that a MobileNet lost 2.6 points of accuracy by
    them, and without them 0.3, at nearly the same speed.

    Raises:
        ModelError: there is none.
    """
    weights = {entry.name for entry in proto.graph.initializer}
    pixels = {entry.name for entry in proto.graph.input}
    names = [
        node.name
        for node in proto.graph.node
        if node.op_type in ("MatMul", "Gemm", "Conv")
        and not pixels.intersection(node.input)
        and all(attribute.i == 1 for attribute in node.attribute if attribute.name == "group")
        and any(name in weights for name in node.input)
    ]
    if len(names) < 2:
        raise ModelError(
            "int8 refused: the model has no products with weights but its first and its head; export without"
        )
    return names[:-1]


@contextlib.contextmanager
def _quiet_root() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


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
