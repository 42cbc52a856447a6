"""How a data set is named: `[FORM:]SOURCE[@WEIGHT]`, as `--data` and `fervit.load_dataset` take it."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fervit.errors import ConfigError, quoted

FORM = re.compile(r"([A-Za-z][A-Za-z0-9_+-]+):(?=.)")  # two letters or more: `C:` is a drive
WEIGHT = re.compile(r"@([^@/\\]*)$")


@dataclass(frozen=True)
class SourceSpec:
    """A data set as it was named.

    Attributes:
        source: a path, a Hub id or `synthetic[:N[:seed]]`.
        form: the reader that is to take it, such as `rafdb`; None where fervit finds out.
        weight: how often its images are drawn in a mixture, relative to their number; 1 is as they come.
    """

    source: str
    form: str | None = None
    weight: float = 1.0

    def __str__(self) -> str:
        prefix = "" if self.form is None else f"{self.form}:"
        return f"{prefix}{self.source}" + ("" if self.weight == 1 else f"@{self.weight:g}")


def parse_source(text: str | Path, forms: Collection[str]) -> SourceSpec:
    """Return what `[FORM:]SOURCE[@WEIGHT]` names; a path that exists is taken as it is, also after a form.

    >>> parse_source("rafdb:faces/RAF@0.5", ["rafdb"])
    SourceSpec(source='faces/RAF', form='rafdb', weight=0.5)
    >>> parse_source("synthetic:70", ["rafdb"])
    SourceSpec(source='synthetic:70', form=None, weight=1.0)

    Args:
        text: the data set's name.
        forms: the names of forms; what stands before another colon belongs to the source.

    Raises:
        ConfigError: the weight is no number above 0, or nothing is left beside it.
    """
    if isinstance(text, Path) or _exists(text):
        return SourceSpec(str(text))
    if (match := FORM.match(text)) and match[1].lower() in forms and _exists(text[match.end() :]):
        return SourceSpec(text[match.end() :], match[1].lower())
    source, weight = text, 1.0
    if match := WEIGHT.search(text):
        source, weight = text[: match.start()], _weight(match[1], text)
        if not source:
            raise ConfigError(f"expected a data set before the weight, as in faces@0.5; got {quoted(text)}")
    form = None
    if not _exists(source) and (match := FORM.match(source)) and match[1].lower() in forms:
        form, source = match[1].lower(), source[match.end() :]
    return SourceSpec(source, form, weight)


def _weight(text: str, whole: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (weight > 0 and math.isfinite(weight)):
        raise ConfigError(f"expected a weight above 0 after @, as in faces@0.5; got {quoted(whole)}")
    return weight


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a null character, or an unknown user's home
        return False
