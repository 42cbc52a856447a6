"""Depth: which of an image's values are black and white, where its mode does not say."""

import logging
from collections.abc import Iterable, Iterator

import numpy as np

BAND = 2_000_000  # pixels converted at once: no large image is copied whole
DEPTHS = (1, 8, 10, 12, 14, 16)  # bits that sensors and file formats have
DIM = 16  # no image of 8 bits or more is as dark as this throughout: floats below have another scale
WHITE = 255
log = logging.getLogger(__name__)
_told: set[str] = set()


def white_of(kind: str, low: float, high: float) -> tuple[float, float, str]:
    """Return which of an image's values is black, which is white, and what is assumed so; "" where it is usual.

    Integers and floats are taken for values of the least depth in `DEPTHS` that holds them, so that 0..255 and 10 bits
    in a 16-bit file are not black; floats up to 1 for fractions of white. What fits neither goes from black for its
    lowest value to white for its highest.

    Args:
        kind: the kind of a numpy type: `b`, `u`, `i` or `f`.
        low: the least of the values that are finite.
        high: the greatest of them.

    >>> white_of("u", 0, 1000)
    (0.0, 1023.0, 'are taken for 10-bit ones')
    >>> white_of("f", 0, 0.9)
    (0.0, 1.0, '')
    >>> white_of("f", -1, 1)
    (-1, 1, 'have no known scale')
    """
    is_float = kind == "f"
    if low >= 0 and high <= 1:
        return 0.0, 1.0, "" if is_float or kind == "b" or high == 0 else "are taken for 1-bit ones"
    top = 2.0 ** DEPTHS[-1] - 1
    if low < 0 or high > top or (is_float and high < DIM):
        return low, high, "have no known scale"
    bits = next(bits for bits in DEPTHS if high <= 2**bits - 1)
    white = 2.0**bits - 1
    return 0.0, white, "" if white == top and not is_float else f"are taken for {bits}-bit ones"


def to_8_bits(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Scale values to uint8, so that `black` becomes 0 and `white` 255; what is no number becomes 0."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # a table is four times as fast
        scaled: np.ndarray = to_8_bits(np.arange(1 << 16, dtype=np.float64), black, white)[values]
        return scaled
    x: np.ndarray = values.astype(np.float32 if values.dtype.itemsize <= 4 and white - black < 1e6 else np.float64)
    np.nan_to_num(x, copy=False, nan=black, posinf=white, neginf=black)
    np.subtract(x, black, out=x)
    np.multiply(x, WHITE / max(white - black, 1e-30), out=x)
    whole: np.ndarray = np.rint(x, out=x).clip(0, WHITE, out=x).astype(np.uint8)
    return whole


def array_to_8_bits(values: np.ndarray, name: str) -> np.ndarray:
    """Scale an `(H, W, C)` array of any numbers to uint8; of more than 3 channels, the first 3 say what is white."""
    bands = list(rows_of(values.shape[1], len(values)))
    black, white = told_white(name, (values[rows, :, :3] for rows in bands))
    return np.concatenate([to_8_bits(values[rows], black, white) for rows in bands])


def told_white(name: str, parts: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return which values are black and white in an image given in parts, and log what is assumed.

    It is logged once in this process for each assumption: a folder may hold thousands of such images.
    """
    kind, low, high = "f", np.inf, -np.inf
    for part in parts:
        kind = part.dtype.kind
        finite = part[np.isfinite(part)] if kind == "f" else part
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:  # no finite value
        low = high = 0.0
    black, white, assumed = white_of(kind, low, high)
    if assumed and assumed not in _told:
        _told.add(assumed)
        scale = f"{black:g} is shown black and {white:g} white (said once for all such images)"
        log.warning("%s: its values from %g to %g %s: %s", name, low, high, assumed, scale)
    return black, white


def rows_of(width: int, height: int) -> Iterator[slice]:
    """Yield the rows of an image, some at a time, from top to bottom."""
    step = max(1, BAND // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))
