"""The settings of augmentation, and the recipe in the documentation."""

import re
import tomllib
from dataclasses import fields

import pytest

from fervit.config.augmentation import DEGRADATIONS, AugmentConfig
from fervit.config.training import config_from_dict
from tests.helpers import ROOT


def test_every_setting_is_described_where_it_is_defined() -> None:
    described = set(re.findall(r"^ {8}(\w+):", AugmentConfig.__doc__ or "", re.MULTILINE))
    assert described == {field.name for field in fields(AugmentConfig)}


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the pages are in the repository only")
def test_the_recipe_in_the_documentation_loads_and_switches_every_degradation_on() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(\[augment\].*?)```", page, re.DOTALL)
    assert len(blocks) == 1
    config = config_from_dict(tomllib.loads(blocks[0])).augment
    assert [name for name in DEGRADATIONS if not 0.1 <= getattr(config, name) <= 0.3] == []
    table = page.split("measured by `fervit robustness` as", 1)[1].split("\n\n", 1)[0]
    assert [name for name in DEGRADATIONS if f"| `{name}`" not in table] == []
