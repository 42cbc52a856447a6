"""Settings from outside: TOML tables and `key=value` overrides, checked against a dataclass's fields."""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from fervit.errors import ConfigError, unknown

Table = dict[str, Any]
"""Settings by key, as TOML gives them; a value may be a table itself."""
TABLES = ("model", "augment")  # of a recipe, beside its plain keys


def apply_overrides(values: Table, overrides: Iterable[str]) -> None:
    """Set what `key=value` texts say in nested tables; a key has a dot for each table, as in `augment.flip_prob=0.5`.

    Raises:
        ConfigError: a text has no `=`, or a key goes below a plain value.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got {override!r}")
        put_value(values, key.strip(), parse_value(text.strip()))


def pop_table(values: Table, name: str) -> Table:
    """Take the table `name` out of `values`; an empty one where there is none.

    Raises:
        ConfigError: it is a plain value.
    """
    table = values.pop(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{name} must be a table of settings, got {table!r}")
    return dict(table)


def checked_fields(settings: type[object], values: Mapping[str, object], prefix: str = "") -> Table:
    """Return the values for a dataclass's fields, refusing unknown keys (with the nearest) and other types."""
    assert dataclasses.is_dataclass(settings)
    kinds = {field.name: field.type for field in dataclasses.fields(settings) if field.name not in TABLES}
    checked: Table = {}
    for key, value in values.items():
        kind = kinds.get(key)
        if kind is None:
            raise ConfigError(unknown("key", prefix + key, [prefix + name for name in kinds]))
        assert isinstance(kind, type), f"{key} is annotated with a text"
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"{prefix}{key} must be {kind.__name__}, got {value!r}")
        checked[key] = value
    return checked


def parse_value(text: str) -> object:
    """Read the value of a `key=value` override as TOML; a bare word is a string."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def put_value(values: Table, key: str, value: object) -> None:
    """Set a (dotted) key in nested tables."""
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{key}: {table} is a plain value, which has nothing below it")
    values[last] = value
