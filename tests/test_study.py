import argparse
import sys
import tomllib
from pathlib import Path

import pytest

from fervit.config import config_from_dict, load_config
from fervit.training import train
from test_models import save_timm
from test_training import QUICK, faces

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


def test_the_table_of_finished_runs_has_their_figures_and_leaves_out_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    import study as script

    dataset = faces(112)
    monkeypatch.setattr(script, "load", lambda _: dataset)
    save_timm(tmp_path / "w.safetensors")
    rows = [{"name": name} for name in ("ViT", "ViT, other", "not run")]
    for row in rows[:2]:
        folder = tmp_path / (row["name"].replace(" ", "-").replace(",", "") + "-0")
        train(config_from_dict(QUICK | {"epochs": 1}), dataset, folder, init=tmp_path / "w.safetensors")
    args = argparse.Namespace(data="made", out=tmp_path, private=True, study="s.toml")
    table = script._table(args, {"title": "T", "reference": "ViT"}, rows)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert [cells[0] for cells in lines] == ["row", "---", "ViT", "ViT, other"]
    assert all(len(cells) == len(lines[0]) for cells in lines)
    assert lines[3][-1] == "+0.00 points, p = 1"  # the same run under another name
