import sys
import tomllib
from pathlib import Path

import pytest

from fervit.config import load_config

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.parametrize("path", sorted((SCRIPTS / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_every_row_of_every_study_is_a_valid_recipe_and_differs_from_the_others(path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    from study import KEYS, settings_of

    study = tomllib.loads(path.read_text())
    rows = {row["name"]: row for row in study["row"]}
    assert len(rows) == len(study["row"])
    assert study["reference"] in rows
    seen = []
    for row in rows.values():
        assert row.keys() <= KEYS
        config = load_config(row["recipe"], settings_of(study, row))
        seen.append((config, row.get("pretrain"), row.get("init")))
    assert all(seen.count(one) == 1 for one in seen)
