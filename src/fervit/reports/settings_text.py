"""Settings and front matter as text: block YAML for the Hub, TOML for recipes. Python's library writes neither."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

Yaml = str | int | float | Sequence["Yaml"] | Mapping[str, "Yaml"]
"""What front matter is made of."""


def to_yaml(value: Mapping[str, Yaml] | Sequence[Yaml], indent: str = "") -> Iterator[str]:
    """Yield lines of block YAML; strings are written as JSON, which YAML reads alike."""
    entries: Iterable[tuple[str | None, Yaml]]
    entries = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    for key, item in entries:
        head = "-" if key is None else f"{key}:"
        if isinstance(item, str | int | float):
            yield f"{indent}{head} {json.dumps(item, ensure_ascii=False)}"
        elif key is None:  # the first line of the nested block follows its dash
            nested = list(to_yaml(item, indent + "  "))
            yield f"{indent}- {nested[0].lstrip()}"
            yield from nested[1:]
        else:
            yield f"{indent}{head}"
            yield from to_yaml(item, indent + "  ")


def to_toml(config: Mapping[str, object], *, leave_out: Sequence[str] = ()) -> str:
    """Return settings as TOML: plain keys, then a table for each key that holds some; empty tables are left out."""
    settings = {key: value for key, value in config.items() if key not in leave_out}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, Mapping)]
    for table, values in settings.items():
        if isinstance(values, Mapping) and values:
            lines += ["", f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines)
