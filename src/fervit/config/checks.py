"""Checks of settings: each names the setting, what is allowed and what came. `prefix` is the setting's table."""

import math
from collections.abc import Iterable, Mapping, Sequence

from fervit.errors import ConfigError, quoted, unknown


def check_choices(settings: object, choices: Mapping[str, Sequence[str]], prefix: str = "") -> None:
    """Raise `ConfigError` for a setting that is none of its choices, naming the nearest."""
    for name, allowed in choices.items():
        value = getattr(settings, name)
        if not isinstance(value, str) or value not in allowed:
            raise ConfigError(unknown(prefix + name, value, allowed))


def check_positive(settings: object, names: Iterable[str], prefix: str = "") -> None:
    """Raise `ConfigError` for a setting that is 0, negative or NaN."""
    for name in names:
        if not _number(settings, name, prefix) > 0:
            raise ConfigError(f"{prefix}{name} must be above 0, got {quoted(getattr(settings, name))}")


def check_not_negative(settings: object, names: Iterable[str], prefix: str = "") -> None:
    """Raise `ConfigError` for a setting that is negative, infinite or NaN."""
    for name in names:
        if not 0 <= _number(settings, name, prefix) < math.inf:
            raise ConfigError(f"{prefix}{name} must be 0 or more, got {quoted(getattr(settings, name))}")


def check_fractions(settings: object, names: Iterable[str], prefix: str = "") -> None:
    """Raise `ConfigError` for a setting outside of 0 to 1, both included."""
    for name in names:
        if not 0 <= _number(settings, name, prefix) <= 1:
            raise ConfigError(f"{prefix}{name} must lie between 0 and 1, got {quoted(getattr(settings, name))}")


def check_below_one(settings: object, names: Iterable[str], prefix: str = "") -> None:
    """Raise `ConfigError` for a setting outside of 0 to 1, of which 1 is excluded."""
    for name in names:
        if not 0 <= _number(settings, name, prefix) < 1:
            raise ConfigError(f"{prefix}{name} must lie in [0, 1), got {quoted(getattr(settings, name))}")


def check_ranges(settings: object, ranges: Mapping[str, tuple[float, float]], prefix: str = "") -> None:
    """Raise `ConfigError` for a setting outside of its range, whose two ends are included."""
    for name, (low, high) in ranges.items():
        if not low <= _number(settings, name, prefix) <= high:
            raise ConfigError(f"{prefix}{name} must lie between {low} and {high}, got {getattr(settings, name)}")


def check_multiple(settings: object, name: str, factor: int, prefix: str = "") -> None:
    """Raise `ConfigError` for a setting that `factor` does not divide."""
    if _number(settings, name, prefix) % factor:
        raise ConfigError(f"{prefix}{name} must be a multiple of {factor}, got {quoted(getattr(settings, name))}")


def _number(settings: object, name: str, prefix: str) -> float:
    """Return a setting that must be a number.

    Raises:
        ConfigError: it is of another type.
    """
    value = getattr(settings, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{prefix}{name} must be a number, got {quoted(value)}")
    return value
