import argparse
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fervit.config.training import config_from_dict, load_config
from fervit.data import PUBLIC_TEST
from fervit.training.finetune import train
from scripts import study as script
from tests.helpers import QUICK, SCRIPTS, faces
from tests.helpers.weights import save_timm


@pytest.mark.parametrize("path", sorted((SCRIPTS / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_every_row_of_every_study_is_a_valid_recipe_and_differs_from_the_others(path: Path) -> None:
    study = tomllib.loads(path.read_text())
    rows = {row["name"]: row for row in study["row"]}
    assert len(rows) == len(study["row"])
    assert study["reference"] in rows
    seen = []
    for row in rows.values():
        assert row.keys() <= script.KEYS
        config = load_config(row["recipe"], script.settings_of(study, row))
        seen.append((config, row.get("pretrain"), row.get("init")))
    assert all(seen.count(one) == 1 for one in seen)


@pytest.mark.slow
def test_the_table_of_finished_runs_has_their_figures_and_leaves_out_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = faces(112)
    monkeypatch.setattr(script, "load", lambda _: dataset)
    save_timm(tmp_path / "w.safetensors")
    rows = [{"name": name} for name in ("ViT", "ViT, other", "not run")]
    train(config_from_dict(QUICK | {"epochs": 1}), dataset, tmp_path / "ViT-0", init=tmp_path / "w.safetensors")
    shutil.copytree(tmp_path / "ViT-0", tmp_path / "ViT-other-0")
    args = argparse.Namespace(data="made", out=tmp_path, private=True, study="s.toml")
    table = script._table(args, {"title": "T", "reference": "ViT"}, rows)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert [cells[0] for cells in lines] == ["row", "---", "ViT", "ViT, other"]
    assert all(len(cells) == len(lines[0]) for cells in lines)
    assert lines[3][-2:] == ["+0.00 points, p = 1", "+0.000 (+0.000 to +0.000)"]  # the same run under another name


def test_a_row_is_set_against_the_reference_image_by_image() -> None:
    targets = np.array([0, 0, 1, 1])
    reference, better = np.array([0.4, 0.4, 0.6, 0.6]), np.array([0.8, 0.4, 0.2, 0.2])  # of label 0
    probs = {(name, PUBLIC_TEST, 0): np.stack([p, 1 - p], axis=1) for name, p in (("a", reference), ("b", better))}
    accuracy, loss = script._against("b", "a", [0], probs, targets)
    assert accuracy == "+75.00 points, p = 0.25"  # three that only b predicts correctly
    gaps = -np.log([2, 1, 2, 2])
    half = 1.96 * gaps.std(ddof=1) / 2
    assert loss == f"{gaps.mean():+.3f} ({gaps.mean() - half:+.3f} to {gaps.mean() + half:+.3f})"
    assert gaps.mean() < 0  # less is better
    assert script._against("a", "a", [0], probs, targets) == ["", ""]
