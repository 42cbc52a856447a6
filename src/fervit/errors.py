"""The error tree: everything a user can cause derives from `FervitError`.

```
FervitError
├── ConfigError      an unknown recipe, key or value; a run folder that is in the way
├── DataError        a data set that is missing, malformed or empty
├── ImageError       one image that cannot be read
├── VideoError       one video or camera that cannot be read, or a video that cannot be written
├── ModelError       a checkpoint that is missing, unsafe, truncated or does not fit
├── DetectorError    an unknown face detector, or one whose package or file is missing
├── MissingPackage   a package that every installation needs is absent or cannot be loaded
└── MissingExtra     a feature whose optional packages are not installed
```

The command line prints the message of a `FervitError` in one line and exits with code 2.
"""

import difflib
import math
import re
from collections.abc import Iterable, Sized
from typing import SupportsFloat

MOST_QUOTED = 60  # characters of what a user gave, within a message
MOST_BITS = 1000  # of a whole number that is written out; Python refuses to from 4,300 digits on
MOST_REASON = 200  # characters of another library's message
_SCHEME = r"\b[a-z][a-z0-9+.-]+:/{1,2}"
# To the end of the line, or to the next address: a password may hold any character, blanks and quotes too.
ADDRESS = re.compile(rf"(?P<scheme>{_SCHEME})(?P<rest>(?:(?!{_SCHEME}).)+)", re.IGNORECASE)
HOST = re.compile(r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d+)?(?:[/?#\s]|:\s|$)", re.IGNORECASE)
QUERY_VALUE = re.compile(r"=[^&\s]*")


class FervitError(Exception):
    """A mistake that the user can correct; the message says how."""


class ConfigError(FervitError):
    """An unknown recipe, key or value, or a run folder that is in the way."""


class DataError(FervitError):
    """A data set that is missing, malformed or empty."""


class ImageError(FervitError):
    """One image that cannot be read."""


class VideoError(FervitError):
    """One video or camera that cannot be read, or a video that cannot be written."""


class ModelError(FervitError):
    """A checkpoint that is missing, unsafe, truncated or does not fit."""


class DetectorError(FervitError):
    """An unknown face detector, or one whose package or file is missing."""


class MissingPackage(FervitError):
    """A package that every installation needs is absent or cannot be loaded."""


class MissingExtra(FervitError):
    """A feature whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str):
        super().__init__(f"{feature} needs packages that are not installed: pip install 'fervit[{extra}]'")


def unknown(kind: str, name: object, choices: Iterable[str]) -> str:
    """Build the message for a name that is not among `choices`, with the nearest one or the whole list.

    >>> unknown("recipe", "papre", ["paper", "tiny"])
    "unknown recipe 'papre': did you mean 'paper'? (choices: paper, tiny)"
    """
    choices = sorted(choices)
    near = difflib.get_close_matches(name, choices, n=1) if isinstance(name, str) and len(name) <= MOST_QUOTED else []
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {quoted(name)}: {hint}(choices: {', '.join(choices)})"


def reason(error: BaseException) -> str:
    """Return the message of another library's exception, in one line: the system's words, its first line, or its name.

    >>> reason(FileNotFoundError(2, "No such file or directory"))
    'No such file or directory'
    """
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return shortened(redacted(lines[0]), MOST_REASON) if lines else type(error).__name__


def request_reason(error: BaseException) -> str:
    """Return why a request failed, in one line: of what urllib wraps, the cause, or the server's own words.

    >>> import urllib.error
    >>> request_reason(urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")))
    'Connection refused'
    """
    inner = getattr(error, "reason", None)
    return reason(inner if isinstance(inner, BaseException) else Exception(inner) if inner else error)


def quoted(value: object) -> str:
    """Return how a message names what came instead of what was expected: short, whatever it is, and without secrets.

    >>> quoted("data:image/png;base64," + "A" * 100_000)
    "'data:image/png;base64,AAAAAAAAAAAAAA...' (100,022 characters)"
    >>> quoted(b"GIF89a"), quoted([1, 2]), quoted(None), quoted(-1)
    ('bytes of length 6', 'list of length 2', 'None', '-1')
    """
    if isinstance(value, str):
        text = redacted(value)
        if len(text) <= MOST_QUOTED:
            return repr(text)
        return f"{text[: MOST_QUOTED - 24] + '...'!r} ({len(value):,} characters)"
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        return f"int of {value.bit_length():,} bits"
    if value is None or isinstance(value, bool | int | float):
        return shortened(repr(value))
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    kind = type(value).__name__
    if shape is not None and dtype is not None:
        return shortened(f"{kind} of shape {tuple(shape)} and type {dtype}")
    if isinstance(value, Sized):
        return shortened(f"{kind} of length {len(value)}")
    return shortened(f"the class {value.__name__}" if isinstance(value, type) else kind)


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Return whether a value is a finite number from `low` to `high`; numpy's count, True and False do not."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        return False
    try:
        return math.isfinite(float(value)) and low <= float(value) <= high
    except (TypeError, ValueError, RuntimeError, OverflowError):  # such as an array of several numbers
        return False


def is_count(value: object, least: int = 1) -> bool:
    """Return whether a value is a whole number, `least` or more; numpy's count, True and False do not."""
    return not isinstance(value, bool) and hasattr(value, "__index__") and is_number(value, least)


def check_counts(**values: object) -> None:
    """Refuse what is no whole number from 1, by the argument's name.

    Raises:
        ConfigError: one of `values` is none.
    """
    for name, value in values.items():
        if not is_count(value):
            raise ConfigError(f"expected {name} to be a whole number from 1, got {quoted(value)}")


def shortened(text: str, most: int = MOST_QUOTED) -> str:
    """Return `text` cut to `most` characters, the last of which are dots where something was cut."""
    return text if len(text) <= most else text[: most - 3] + "..."


def redacted(text: str) -> str:
    """Return `text` with what may be secret in addresses hidden: user names, passwords, and values in queries.

    >>> redacted("no frame from rtsp://admin:p@ss/word@10.0.0.2:554/live?key=1234&channel=1")
    'no frame from rtsp://***@10.0.0.2:554/live?key=***&channel=***'
    >>> redacted("http://10.0.0.2:8080/face@2x.jpg")
    'http://10.0.0.2:8080/face@2x.jpg'
    """
    return ADDRESS.sub(_without_secrets, text)


def _without_secrets(address: re.Match[str]) -> str:
    scheme, rest = address["scheme"], address["rest"]
    if not HOST.match(rest):  # what comes before the host may hold any character, even unescaped ones
        before, at, host = rest.rpartition("@")
        rest = f"***@{host}" if at else before + host
    place, mark, query = rest.partition("?")
    return scheme + place + mark + QUERY_VALUE.sub("=***", query)
