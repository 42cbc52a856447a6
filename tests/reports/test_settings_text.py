"""Settings and front matter as text."""

import tomllib

import yaml

from fervit.reports.settings_text import Yaml, to_toml, to_yaml


def test_yaml_of_nested_values_reads_back() -> None:
    front: dict[str, Yaml] = {
        "a": 'b: "c" #d',
        "list": ["x", 1.5],
        "rows": [{"name": "n", "more": [{"k": 2}]}, {"o": "p"}],
    }
    assert yaml.safe_load("\n".join(to_yaml(front))) == front


def test_settings_read_back_as_toml_with_tables_last() -> None:
    settings = {"lr": 2e-5, "model": {"width": 8, "names": ["a", "b"]}, "init": "shipped", "empty": {}, "grey": True}
    text = to_toml(settings, leave_out=("init",))
    assert tomllib.loads(text) == {"lr": 2e-5, "grey": True, "model": {"width": 8, "names": ["a", "b"]}}
