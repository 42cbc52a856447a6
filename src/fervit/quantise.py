"""8-bit models: calibrated on training faces, refused when they lose accuracy or gain no speed."""

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fervit.errors import ConfigError, MissingExtra, ModelError
from fervit.images import preprocess_batch
from fervit.openvino import save_ir
from fervit.runtime import OnnxClassifier

CALIBRATION = 300  # faces; nncf's default
MAX_LOSS = 0.003  # of validation accuracy
MIN_SPEEDUP = 1.2
TIMED_BATCH, ROUNDS = 32, 7


@dataclass(frozen=True)
class Int8Report:
    """What quantisation cost and brought.

    Attributes:
        accuracy: of the 32-bit model on the validation faces, 0..1.
        accuracy_int8: the same of the 8-bit model.
        speedup: faces/s of the 8-bit model over those of the 32-bit one, both by OpenVINO, batch 32.
    """

    accuracy: float
    accuracy_int8: float
    speedup: float

    def check(self) -> None:
        """Raise `ModelError` when the loss is above `MAX_LOSS` or the speed-up below `MIN_SPEEDUP`."""
        loss = self.accuracy - self.accuracy_int8
        if loss > MAX_LOSS:
            raise ModelError(
                f"int8 refused: accuracy falls from {100 * self.accuracy:.2f} to {100 * self.accuracy_int8:.2f} % on "
                f"validation faces, more than {100 * MAX_LOSS:.1f} points; export without --int8"
            )
        if self.speedup < MIN_SPEEDUP:
            raise ModelError(
                f"int8 refused: {self.speedup:.2f}x as fast here, less than {MIN_SPEEDUP}x; export without --int8"
            )


def quantise(
    model: Path,
    out: Path,
    calibration: Sequence[np.ndarray] | np.ndarray,
    validation: Sequence[np.ndarray] | np.ndarray,
    targets: np.ndarray,
    *,
    threads: int | None = None,
) -> Int8Report:
    """Write an 8-bit OpenVINO model, `.xml` and `.bin`, with fervit's metadata, if it passes the gate.

    Static quantisation by nncf's transformer preset; softmax, layer norm and the like stay 32 bit.

    Args:
        model: an ONNX file that `fervit export` wrote.
        out: the `.xml` to write.
        calibration: uint8 training faces; the first `CALIBRATION` are taken.
        validation: uint8 faces that decide.
        targets: `(N,)` their classes.
        threads: CPU threads while measuring.

    Raises:
        MissingExtra: OpenVINO or nncf is not installed.
        ConfigError: `out` has another ending.
        ModelError: accuracy falls too far, or it is not faster; nothing is left behind.
    """
    if find_spec("openvino") is None or find_spec("nncf") is None:
        raise MissingExtra("int8 export", "openvino")
    if out.suffix.lower() != ".xml":
        raise ConfigError(f"expected a name that ends in .xml for an int8 model, got {out}")
    exact = OnnxClassifier(model, threads=threads, runtime="openvino")
    weights = out.with_suffix(".bin")
    try:
        save_ir(_quantised(model, exact, calibration), exact.spec, out)
        small = OnnxClassifier(out, threads=threads)
        report = Int8Report(
            _accuracy(exact, validation, targets), _accuracy(small, validation, targets), _speedup(exact, small)
        )
        report.check()
    except BaseException:
        out.unlink(missing_ok=True)
        weights.unlink(missing_ok=True)
        raise
    return report


def _quantised(model: Path, exact: OnnxClassifier, faces: Sequence[np.ndarray] | np.ndarray) -> object:
    import nncf
    import openvino

    nncf.set_log_level(40)  # errors
    batches = [preprocess_batch([face], exact.spec.preprocess) for face in faces[:CALIBRATION]]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            openvino.Core().read_model(str(model)),
            nncf.Dataset(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
        )


def _accuracy(classifier: OnnxClassifier, faces: Sequence[np.ndarray] | np.ndarray, targets: np.ndarray) -> float:
    return float((classifier.probs(faces).argmax(axis=1) == targets).mean())


def _speedup(exact: OnnxClassifier, small: OnnxClassifier) -> float:
    """Return the median of ratios of runs that take turns, so that other load hits both."""
    size = exact.spec.preprocess.image_size
    batch = np.random.default_rng(0).normal(size=(TIMED_BATCH, 3, size, size)).astype(np.float32)
    ratios = []
    for k in range(ROUNDS + 1):
        slow, fast = (_seconds(lambda c=c: c.logits(batch)) for c in (exact, small))  # type: ignore[misc]
        if k:
            ratios.append(slow / fast)
    return statistics.median(ratios)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
