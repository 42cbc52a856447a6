"""Search spaces of `fervit tune`: which settings vary and between which values, from TOML or `key=value,value` texts.

A space stands beside its recipe as `RECIPE.space.toml`. Each line names a setting as `--set` does:

```toml
lr = { low = 1e-5, high = 1e-3, log = true }
epochs = { low = 2, high = 8, step = 2 }
weight_decay = { times = [0.2, 5.0], log = true }  # relative to the recipe's value
schedule = ["cosine", "linear"]
augment.mix_prob = { low = 0.0, high = 0.6 }
```
"""

import dataclasses
import itertools
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fervit.config.architectures import CONVOLUTIONAL
from fervit.config.overrides import Table, parse_value, put_value
from fervit.config.training import RECIPES, SPACE_SUFFIX, TrainConfig, config_from_dict
from fervit.errors import ConfigError, is_number, quoted, unknown

Value = bool | int | float | str
"""What a setting may be."""

ENDS = ("low", "high", "times", "log", "step", "values")  # what describes a setting, in a table
FIXED = {
    "seed": "the best of several seeds is chance: `fervit train --seeds N` measures how far they differ",
    "arch": "architectures have settings of their own: tune a recipe of each",
}
EXAMPLE = "lr = { low = 1e-5, high = 1e-3, log = true }"
MOST_COMBINATIONS = 1000  # of a grid: more is a mistake in a step


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; whole where the setting is.

    Attributes:
        low: smallest value.
        high: largest value.
        log: drawn evenly on a logarithmic scale.
        step: distance of the values; None for any value (any whole number).
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Value, ...]


Space = Mapping[str, Range | Choices]
"""What varies, by the (dotted) name of the setting."""


def find_space(recipe: str | Path, config: TrainConfig) -> Path:
    """Return the space beside a recipe, or the one that fervit has for its kind of architecture."""
    name = str(recipe)
    path = Path(name).with_suffix(SPACE_SUFFIX) if name.endswith(".toml") else RECIPES / f"{name}{SPACE_SUFFIX}"
    if path.is_file():
        return path
    kind = "convolutional" if config.arch in CONVOLUTIONAL else "transformer"
    return RECIPES / f"{kind}{SPACE_SUFFIX}"


def read_space(source: str | Path | Mapping[str, object], config: TrainConfig) -> Space:
    """Read a search space and check every end of it against the settings it will be used with.

    Args:
        source: a TOML file, or what such a file holds; everything may also stand in a table `[space]`.
        config: the settings that do not vary.

    Raises:
        ConfigError: it is no TOML, empty, or names an unknown setting (with the nearest) or a value that the setting
            cannot have.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        where, values = path.name, _read_toml(path)
    else:
        where, values = "the search space", dict(source)
    if set(values) == {"space"}:
        values = values["space"]
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(f"{where} is empty: expected settings to vary, such as {EXAMPLE}")
    space = {}
    for key, entry in _entries(values):
        try:
            space[key] = _checked(key, _parsed(key, entry, config), config)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    return space


def read_grid(grid: Iterable[str] | Mapping[str, Sequence[Value]], config: TrainConfig) -> Space:
    """Read the values of a sweep from texts such as `lr=2e-5,5e-5`, or by name.

    Raises:
        ConfigError: a text has no `=`, names a setting twice, an unknown one (with the nearest) or a value that the
            setting cannot have.
    """
    pairs: list[tuple[str, Sequence[Value]]] = []
    if isinstance(grid, Mapping):
        pairs = [(str(key), values) for key, values in grid.items()]
    else:
        for text in grid:
            key, equals, values = str(text).partition("=")
            if not equals or not values.strip():
                raise ConfigError(f"--grid takes key=value,value, got {quoted(str(text))}")
            pairs.append((key.strip(), [_plain(key, parse_value(part.strip())) for part in values.split(",")]))
    space: dict[str, Range | Choices] = {}
    for key, found in pairs:
        if key in space:
            raise ConfigError(f"--grid names {key} twice: give all of its values in one")
        space[key] = _checked(key, _choices(key, found), config)
    return space


def combinations(space: Space) -> list[dict[str, Value]]:
    """Return every combination of a space's values, in order; the last setting varies fastest.

    Raises:
        ConfigError: a setting may have any value of a range, or there are too many combinations.
    """
    axes: list[list[Value]] = []
    for key, one in space.items():
        if isinstance(one, Choices):
            axes.append(list(one.values))
            continue
        step = one.step or (1 if isinstance(one.low, int) else None)
        if step is None or one.log:
            raise ConfigError(f"a grid needs the values of {key}: give it a `step` without `log`, or a list of values")
        axes.append([one.low + k * step for k in range(math.floor((one.high - one.low) / step + 1e-9) + 1)])
    if (count := math.prod(map(len, axes))) > MOST_COMBINATIONS:
        raise ConfigError(f"the grid has {count:,} combinations; expected {MOST_COMBINATIONS:,} at most")
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*axes)]


def with_values(config: TrainConfig, values: Mapping[str, object]) -> TrainConfig:
    """Return settings with some of them replaced, by their (dotted) names.

    Raises:
        ConfigError: an unknown setting, or a value that it cannot have beside the others.
    """
    table: Table = dataclasses.asdict(config)
    for key, value in values.items():
        put_value(table, key, value)
    return config_from_dict(table)


def value_of(config: TrainConfig, key: str) -> Value:
    """Return a setting by its (dotted) name."""
    found: object = config
    for part in key.split("."):
        found = getattr(found, part)
    assert isinstance(found, Value), key
    return found


def contains(space: Space, config: TrainConfig) -> bool:
    """Return whether settings lie within a space."""
    return all(_holds(one, value_of(config, key)) for key, one in space.items())


def to_json(space: Space) -> dict[str, object]:
    """Return a space as JSON, to compare it with another."""
    return {key: dataclasses.asdict(one) for key, one in space.items()}


def _holds(one: Range | Choices, value: Value) -> bool:
    if isinstance(one, Choices):
        return value in one.values
    if isinstance(value, str) or not one.low <= value <= one.high:
        return False
    steps = 0.0 if one.step is None else (value - one.low) / one.step
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def _read_toml(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no search space at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error


def _entries(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the settings of nested tables with their dotted names."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value and not set(ENDS) & set(value):
            yield from _entries(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _parsed(key: str, entry: object, config: TrainConfig) -> Range | Choices:
    """Read one setting's entry; its ends are not checked yet."""
    if isinstance(entry, Range | Choices):
        return entry
    if isinstance(entry, list | tuple):
        return _choices(key, entry)
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{key} must be a list of values, or a range such as {EXAMPLE}; got {quoted(entry)}")
    if odd := [name for name in entry if name not in ENDS]:
        raise ConfigError(f"{key}: {unknown('word', odd[0], ENDS)}")
    if "values" in entry:
        found = entry["values"]
        if len(entry) > 1 or not isinstance(found, list | tuple):
            raise ConfigError(f"{key}: `values` is a list and stands alone")
        return _choices(key, found)
    low, high = _ends(key, entry, config)
    log, step = entry.get("log", False), entry.get("step")
    if not isinstance(log, bool):
        raise ConfigError(f"{key}: log must be true or false, got {quoted(log)}")
    if step is not None and (log or not is_number(step) or not step > 0):
        raise ConfigError(f"{key}: step must be a number above 0, without log; got {quoted(step)}")
    return Range(low, high, log, step)


def _ends(key: str, entry: Mapping[str, object], config: TrainConfig) -> tuple[int | float, int | float]:
    """Return the smallest and the largest value of a range."""
    if "times" in entry:
        times = entry["times"]
        if {"low", "high"} & set(entry) or not isinstance(times, list | tuple) or len(times) != 2:
            raise ConfigError(
                f"{key}: `times` is a list of two factors of the recipe's value, in place of low and high"
            )
        base = value_of(with_values(config, {}), key) if _exists(config, key) else None
        if base is None:
            with_values(config, {key: 0})  # raises, naming the nearest setting
        if isinstance(base, bool) or not isinstance(base, int | float) or not base:
            raise ConfigError(f"{key}: `times` needs a number other than 0 in the recipe, which has {quoted(base)}")
        low, high = (factor * base if is_number(factor) else factor for factor in times)
        if isinstance(base, int) and is_number(low) and is_number(high):
            low, high = round(low), round(high)
    else:
        low, high = entry.get("low"), entry.get("high")
    if not (is_number(low) and is_number(high)):
        raise ConfigError(f"{key} needs numbers for low and high, got {quoted(low)} and {quoted(high)}")
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if not low < high:
        raise ConfigError(f"{key}: low must be below high, got {low} and {high}")
    if entry.get("log") is True and not low > 0:
        raise ConfigError(f"{key}: with log, low must be above 0, got {low}")
    return low, high


def _exists(config: TrainConfig, key: str) -> bool:
    found: object = config
    for part in key.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return not dataclasses.is_dataclass(found)


def _choices(key: str, values: Sequence[object]) -> Choices:
    if isinstance(values, str) or not values:
        raise ConfigError(f"{key} has no values to choose from")
    return Choices(tuple(_plain(key, value) for value in values))


def _plain(key: str, value: object) -> Value:
    if not isinstance(value, Value):
        raise ConfigError(f"{key} takes plain values, got {quoted(value)}")
    return value


def _checked(key: str, one: Range | Choices, config: TrainConfig) -> Range | Choices:
    """Return a setting's values as the setting has them (2 becomes 2.0), each of which it can have."""
    if key in FIXED:
        raise ConfigError(f"{key} cannot be tuned: {FIXED[key]}")

    def as_set(value: Value) -> Value:
        return value_of(with_values(config, {key: value}), key)

    if isinstance(one, Choices):
        return Choices(tuple(dict.fromkeys(map(as_set, one.values))))
    low, high = as_set(one.low), as_set(one.high)
    assert isinstance(low, int | float) and isinstance(high, int | float)
    step = one.step
    if step is not None and isinstance(low, int) and not float(step).is_integer():
        raise ConfigError(f"{key}: step must be a whole number, as {key} is one; got {step}")
    if step is not None:
        step = int(step) if isinstance(low, int) else float(step)
    return Range(low, high, one.log, step)
