"""Exported models on ONNX Runtime or OpenVINO: the file, its `ModelSpec`, and probabilities of face crops."""

import json
import mmap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fervit.errors import ModelError, unknown
from fervit.images import preprocess_batch
from fervit.metrics import softmax
from fervit.ort import cores, onnxruntime_quietly
from fervit.types import METADATA_KEY, OUTPUT, ModelSpec

AUTO = "auto"
RUNTIMES = ("onnxruntime", "openvino")
ASSETS = Path(__file__).parent / "assets"
SHIPPED_MODELS = ("mobilenet", "tiny", "mobilenet_int8")  # by name, in place of a path; the first is the default
SHIPPED = "shipped"  # as starting weights: the Transformer that this installation carries
BATCH_SIZE = 32  # larger ones are no faster per face on a CPU and only take memory

PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"})
ZIP_MAGIC = b"PK\x03\x04"  # torch.save's container
PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


class Session(Protocol):
    """A runtime with one model in it: the seam between fervit and what computes.

    Attributes:
        metadata: the JSON text of the `ModelSpec`, or None when the file has none.
        inputs: shape of each input by name; an entry that is no int varies.
        outputs: the same of outputs.
    """

    metadata: str | None
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each input."""
        ...


class OnnxSession:
    """ONNX Runtime on the CPU; see `Session`.

    Every thread takes its own share of a batch through the whole network. ONNX Runtime's own threads split each
    operation instead and wait for each other after every one: 1.1 to 1.2 times the time on two cores, for batches of 32
    and 8 faces (`benchmarks/shares.py`). A single face takes 1.1 times as long.
    """

    def __init__(self, path: Path, *, threads: int | None = None):
        self._threads = threads or cores()
        self._pool: ThreadPoolExecutor | None = None  # made at the first batch: a process may fork before
        self._session = _open_session(path)
        self.metadata: str | None = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.inputs = {entry.name: entry.shape for entry in self._session.get_inputs()}
        self.outputs = {entry.name: entry.shape for entry in self._session.get_outputs()}

    def run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each input."""
        count = len(next(iter(batch.values())))
        shares = min(self._threads, count)
        if shares < 2:
            return self._run(batch)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "fervit-share")
        ends = [count * k // shares for k in range(shares + 1)]
        parts = ({name: x[start:end] for name, x in batch.items()} for start, end in pairwise(ends))
        return np.concatenate([*self._pool.map(self._run, parts)])

    def _run(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        logits: np.ndarray = self._session.run([OUTPUT], dict(batch))[0]
        return logits


def choose_runtime(name: str, path: Path) -> str:
    """Return the runtime that `name` means for a file: `auto` is OpenVINO where it is installed.

    OpenVINO is the faster one per face (docs/video.md), but takes a second longer to start. An 8-bit .onnx was made for
    ONNX Runtime and judged on it, so `auto` keeps to that.

    Raises:
        ModelError: there is no such runtime, or it cannot read such a file.
    """
    if name not in (AUTO, *RUNTIMES):
        raise ModelError(unknown("runtime", name, [AUTO, *RUNTIMES]))
    own = path.suffix.lower() == ".xml"
    if own and name == "onnxruntime":
        raise ModelError(f"{path} is OpenVINO's own form: run it with --runtime openvino")
    if name == AUTO:
        return "openvino" if own or (find_spec("openvino") and not is_8_bit(path)) else "onnxruntime"
    return name


class OnnxClassifier:
    """An exported model: an ONNX file that `fervit export` wrote, or OpenVINO's `.xml`.

    Args:
        path: the file.
        threads: CPU threads that share a batch; None takes all cores.
        runtime: a name in `RUNTIMES`, or `auto`, see `choose_runtime`.

    Attributes:
        spec: the `ModelSpec` that travels in the file.
        runtime: the name of the runtime that was chosen.

    Raises:
        ModelError: the file is missing, a pickle, truncated, or was exported elsewhere; or no such runtime.
        MissingExtra: the runtime is not installed.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None, runtime: str = "onnxruntime"):
        self.path = Path(path)
        check_file(self.path)
        if self.path.suffix.lower() == ".xml" and runtime == "onnxruntime":
            runtime = AUTO
        self.runtime = choose_runtime(runtime, self.path)
        self._session = _open(self.runtime, self.path, threads)
        self.spec = _read_spec(self._session, self.path)
        _check_shapes(self._session, self.spec, self.path)

    def logits(self, *batch: np.ndarray) -> np.ndarray:
        """Return `(B, K)` float32 logits of a `(B, 3, S, S)` float32 array for each of `spec.inputs`, in its order."""
        return self._session.run(dict(zip(self.spec.inputs, batch, strict=True)))

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Return `(N, K)` calibrated probabilities of N uint8 crops, grey or RGB, of any sizes."""
        parts = [np.empty((0, len(self.spec.labels)))]
        for start in range(0, len(crops), batch_size):
            part = crops[start : start + batch_size]
            batch = (preprocess_batch(part, preprocess) for preprocess in self.spec.inputs.values())
            parts.append(softmax(self.logits(*batch)))
        return np.concatenate(parts)


def default_model() -> Path:
    """Return the path of the shipped ONNX model.

    Raises:
        ModelError: this installation carries none.
    """
    return _shipped(SHIPPED_MODELS[0])


def find_model(model: str | Path | None) -> Path:
    """Return the file or folder of a model: the default for None, a shipped one by its name, else the path itself.

    A file or folder of that name goes before.

    Raises:
        ModelError: this installation carries none of that name, or the path cannot be looked at.
    """
    if model is None:
        return default_model()
    path = Path(model)
    try:
        there = path.exists()
    except OSError as error:  # such as a name that is too long
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    return _shipped(str(model)) if str(model) in SHIPPED_MODELS and not there else path


def find_folder(model: str | Path) -> Path:
    """Return the folder of a model: a shipped one's by its name, else the path itself.

    Raises:
        ModelError: the package carries that model as an ONNX file only.
    """
    path = Path(model)
    if str(model) not in SHIPPED_MODELS or path.exists():
        return path
    folder = ASSETS / str(model)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{model} comes with the package as an ONNX file only; a model folder is needed here: "
            f"models/{str(model).removesuffix('_int8')} of fervit's repository"
        )
    return folder


def shipped_checkpoint() -> Path:
    """Return the path of the shipped model folder, the Transformer `tiny`, to start training from.

    Raises:
        ModelError: this installation carries none.
    """
    return _asset("tiny", "start from a Hub id or a model folder instead")


def starting_weights(init: str | Path) -> str | Path:
    """Return what training starts from: the shipped Transformer's folder for `shipped` or its name, else `init` itself.

    Raises:
        ModelError: `shipped`, and this installation carries none, or a shipped model that is no folder.
    """
    if str(init) == SHIPPED:
        return shipped_checkpoint()
    return find_folder(init) if str(init) in SHIPPED_MODELS else init


def check_file(path: Path) -> None:
    """Refuse, before anything reads it, what is no ONNX file.

    Raises:
        ModelError: nothing is there, it is a folder, empty, or a pickle (which can run code when read).
    """
    if path.is_dir():
        raise ModelError(
            f"{path} is a model folder: `fervit export {path} --out model.onnx` makes the file to run, "
            "or pip install 'fervit[train]' to run the folder itself"
        )
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        named = f"; by name there are {', '.join(SHIPPED_MODELS)}" if path.name == str(path) and not path.suffix else ""
        raise ModelError(f"no model at {path}{named}") from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix.lower() in PICKLE_SUFFIXES or magic == ZIP_MAGIC or magic.startswith(PICKLE_MAGIC):
        raise ModelError(
            f"{path} is a pickle, which can run code when read; fervit takes ONNX files and safetensors folders"
        )
    if path.suffix.lower() == ".safetensors":
        raise ModelError(f"{path} holds weights only: name its folder, or export that with `fervit export`")
    if not magic:
        raise ModelError(f"{path} is empty (0 bytes)")


def _shipped(name: str) -> Path:
    return _asset(f"{name}.onnx", "name one with --model FILE.onnx (`fervit export FOLDER --out FILE.onnx` makes one)")


def _asset(name: str, remedy: str) -> Path:
    path = ASSETS / name
    if not path.exists():
        raise ModelError(f"this installation of fervit carries no model ({path} is missing): {remedy}")
    return path


def _open(runtime: str, path: Path, threads: int | None) -> Session:
    if runtime == "onnxruntime":
        return OnnxSession(path, threads=threads)
    from fervit.openvino import OpenVinoSession

    return OpenVinoSession(path, threads=threads)


def is_8_bit(path: Path) -> bool:
    """Tell whether an ONNX file has quantised products, by the name of the operation that all of them need."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"DequantizeLinear") >= 0


def _open_session(path: Path) -> Any:
    onnxruntime = onnxruntime_quietly()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they reach the user as exceptions anyway
    options.inter_op_num_threads = options.intra_op_num_threads = 1  # the caller's own thread
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{path} is not a readable ONNX model, or truncated: {reason}") from error


def _read_spec(session: Session, path: Path) -> ModelSpec:
    text = session.metadata
    if text is None:
        raise ModelError(
            f"{path} carries no fervit metadata (labels, preprocessing): it was exported elsewhere; "
            "export the model folder with `fervit export FOLDER --out FILE.onnx`"
        )
    try:
        return ModelSpec.from_json(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}: its fervit metadata is no JSON ({error}); export it again") from error


def _check_shapes(session: Session, spec: ModelSpec, path: Path) -> None:
    inputs, outputs = session.inputs, session.outputs
    if set(inputs) != set(spec.inputs) or OUTPUT not in outputs:
        raise ModelError(
            f"{path}: expected {', '.join(spec.inputs)} -> {OUTPUT}, "
            f"got {', '.join(inputs)} -> {', '.join(outputs)}; export it again"
        )
    sides = {name: preprocess.image_size for name, preprocess in spec.inputs.items()}
    for name, shape, expected in (
        *((name, inputs[name], [None, 3, side, side]) for name, side in sides.items()),
        (OUTPUT, outputs[OUTPUT], [None, len(spec.labels)]),
    ):
        fits = len(shape) == len(expected) and all(
            not isinstance(have, int) or want is None or have == want
            for have, want in zip(shape, expected, strict=True)
        )
        if not fits:
            raise ModelError(f"{path}: {name} has shape {shape}, its metadata says {expected}; export it again")
