"""Nothing is lost: training that is killed at any file operation ends at the weights of a run that never was."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from fervit.errors import ConfigError
from fervit.files import sync_folder
from fervit.training import train
from fervit.training.run_folder import CHECKPOINTS, last_checkpoint
from tests.helpers import faces
from tests.helpers.processes import run_program
from tests.helpers.training import quick_config
from tests.helpers.weights import save_timm

KILLS, SEED = 20, 7
PROGRAM = "from tests.helpers.kills import main; main()"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_timm(tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.mark.slow
def test_training_killed_at_twenty_moments_ends_at_the_same_bytes(tmp_path: Path, weights: Path) -> None:
    said = run_program(PROGRAM, weights, tmp_path, KILLS, SEED, limit_s=90)
    found = json.loads(said.splitlines()[-1])
    assert len(found["kills"]) == KILLS and found["runs"] >= 3, said
    expected = (tmp_path / "whole" / "model.safetensors").read_bytes()
    rows = _columns(tmp_path / "whole")
    for number in range(found["runs"]):
        out = tmp_path / f"run{number}"
        assert (out / "model.safetensors").read_bytes() == expected, found
        assert _columns(out) == rows
        left = [path.name for path in out.rglob("*") if path.name.startswith((".saving-", ".best-", ".lock"))]
        assert left == []
        assert len(list((out / CHECKPOINTS).iterdir())) == 2


def _columns(out: Path) -> list[list[str]]:
    """Return the rows of a run's figures without the last column, which is time."""
    return [line.split(",")[:-1] for line in (out / "metrics.csv").read_text().splitlines()]


@pytest.mark.slow
def test_a_disk_that_fills_while_a_checkpoint_is_synced_leaves_the_one_before(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def full(folder: Path) -> None:
        calls.append(folder.name)
        if len([name for name in calls if name.startswith("checkpoint-")]) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync_folder(folder)

    out, options = tmp_path / "run", quick_config(epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr("fervit.training.resident.sync_folder", full)
        with pytest.raises(ConfigError, match=r"disk is full.*--resume"):
            train(options, faces(), out, init=weights, threads=1)
    kept = last_checkpoint(out)
    assert kept is not None and [path.name for path in (out / CHECKPOINTS).iterdir()] == [Path(kept).name]
    train(options, faces(), out, init=weights, resume=True, threads=1)
    train(options, faces(), tmp_path / "whole", init=weights, threads=1)
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_kill_between_the_two_renames_of_the_best_weights_loses_neither(tmp_path: Path, weights: Path) -> None:
    out, options = tmp_path / "run", quick_config(epochs=2)
    train(options, faces(), out, init=weights)
    best: dict[str, Any] = {path.name: path.read_bytes() for path in (out / "best").iterdir()}
    (out / ".best-k3v9" / "new").mkdir(parents=True)
    (out / "best").rename(out / ".best-k3v9" / "old")
    train(options, faces(), out, init=weights, resume=True)
    assert {path.name: path.read_bytes() for path in (out / "best").iterdir()} == best
    assert not list(out.glob(".best-*"))
