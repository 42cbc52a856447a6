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
from collections.abc import Iterable


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


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Build the message for a name that is not among `choices`, with the nearest one or the whole list.

    >>> unknown("recipe", "papre", ["paper", "tiny"])
    "unknown recipe 'papre': did you mean 'paper'? (choices: paper, tiny)"
    """
    choices = sorted(choices)
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {name!r}: {hint}(choices: {', '.join(choices)})"


def reason(error: BaseException) -> str:
    """Return the message of another library's exception, in one line: the system's words, its first line, or its name.

    >>> reason(FileNotFoundError(2, "No such file or directory"))
    'No such file or directory'
    """
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
