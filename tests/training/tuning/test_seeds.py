"""The same recipe over several seeds."""

import json
import statistics
from pathlib import Path

import pytest

import fervit
from fervit.errors import ConfigError
from fervit.folders import RUN_FILE
from tests.helpers import faces
from tests.helpers.training import StopAfterEpoch, quick_config


@pytest.mark.slow
def test_seeds_are_runs_of_their_own_and_their_spread_is_said(tmp_path: Path, weights: Path) -> None:
    config = quick_config(epochs=1, seed=4)
    found = fervit.train_seeds(config, faces(56), tmp_path / "s", seeds=2, init=weights, command="test")
    assert found.seeds == (4, 5)
    runs = [json.loads((tmp_path / "s" / f"seed-{seed}" / RUN_FILE).read_text()) for seed in found.seeds]
    assert [run["config"]["seed"] for run in runs] == [4, 5]
    losses = [run["public_test"]["loss"] for run in runs]
    assert losses[0] != losses[1] and list(found.nll.values) == losses
    written = json.loads((tmp_path / "s" / "seeds.json").read_text())
    assert written["nll"]["mean"] == pytest.approx(sum(losses) / 2)
    assert written["nll"]["sd"] == pytest.approx(statistics.stdev(losses))
    assert (written["nll"]["low"], written["nll"]["high"]) == (min(losses), max(losses))
    assert (written["split"], written["n"], written["command"]) == ("public_test", 14, "test")
    markdown = (tmp_path / "s" / "seeds.md").read_text()
    assert markdown == found.to_markdown() + "\n" and "s, seeds 4 to 5" in markdown and "±" in markdown


@pytest.mark.slow
def test_seeds_that_were_stopped_go_on(tmp_path: Path, weights: Path) -> None:
    config, data, out = quick_config(epochs=2), faces(56), tmp_path / "s"
    with pytest.raises(KeyboardInterrupt):
        fervit.train_seeds(config, data, out, seeds=2, init=weights, callbacks=[StopAfterEpoch(1)])
    with pytest.raises(ConfigError, match="--resume goes on with its runs"):
        fervit.train_seeds(config, data, out, seeds=2, init=weights)
    found = fervit.train_seeds(config, data, out, seeds=2, init=weights, resume=True)
    first = (out / "seed-0" / "model.safetensors").stat().st_mtime_ns
    assert fervit.train_seeds(config, data, out, seeds=2, init=weights, resume=True) == found
    assert (out / "seed-0" / "model.safetensors").stat().st_mtime_ns == first  # a finished run is not run again
    with pytest.raises(ConfigError, match="started with another lr"):
        fervit.train_seeds(quick_config(epochs=2, lr=1e-4), data, out, seeds=2, init=weights, resume=True)


@pytest.mark.slow
def test_overwriting_deletes_the_runs_of_before_and_nothing_else(tmp_path: Path, weights: Path) -> None:
    config, out = quick_config(epochs=1), tmp_path / "s"
    fervit.train_seeds(config, faces(), out, seeds=3, init=weights)
    (out / "notes.txt").touch()
    fervit.train_seeds(config, faces(), out, seeds=2, init=weights, overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "seed-0", "seed-1", "seeds.json", "seeds.md"]


def test_one_seed_and_a_folder_in_the_way_are_refused(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(ConfigError, match="expected 2 or more seeds, got 1"):
        fervit.train_seeds(quick_config(), faces(), tmp_path / "s", seeds=1, init=weights)
    (tmp_path / "notes.txt").touch()
    for flags in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(ConfigError, match="holds no runs over seeds"):
            fervit.train_seeds(quick_config(), faces(), tmp_path, init=weights, **flags)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is a file"):
        fervit.train_seeds(quick_config(), faces(), tmp_path / "notes.txt", init=weights)
