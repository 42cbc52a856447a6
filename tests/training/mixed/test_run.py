"""Runs on several data sets: what they learn from, are chosen by, record, repeat and resume."""

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit import api
from fervit.config.training import TrainConfig
from fervit.data.dataset import Dataset
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.errors import ConfigError, DataError
from fervit.models import TorchClassifier
from fervit.training import train
from fervit.training.mixed.data import prepare
from fervit.training.mixed.validation import score_of
from fervit.training.targets import make_targets, training_rows
from tests.helpers import faces
from tests.helpers.training import StopAfterEpoch, quick_config


def colour(count: int = 32, seed: int = 7) -> Dataset:
    """Return 20 px colour images whose classes differ in brightness as those of `faces` do."""
    own = faces(count, seed=seed)
    images = own.images.repeat(3, axis=3).repeat(2, axis=1)[:, :20].repeat(2, axis=2)[:, :, :20]
    return replace(own, name="colour", images=images, data_hash="1" * 64, licence="CC-BY-4.0")


@pytest.fixture
def mixture() -> Mixture:
    return Mixture((faces(56), colour(42)), (1.0, 0.5))


@pytest.mark.slow
def test_a_mixed_run_records_its_sources_and_the_figures_of_each(
    tmp_path: Path, weights: Path, mixture: Mixture
) -> None:
    figures = train(quick_config(drop_leaks=False), mixture, tmp_path / "run", init=weights)
    assert [source["name"] for source in figures["sources"]] == ["levels", "colour"]
    assert figures["n"] == sum(source["n"] for source in figures["sources"])
    mean = np.mean([source["accuracy"] for source in figures["sources"]])
    assert figures["mean_accuracy"] == pytest.approx(mean)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    first, second = record["data"]["sources"]
    assert (second["name"], second["weight"], second["licence"]) == ("colour", 0.5, "CC-BY-4.0")
    assert second["n_train"] == sum(second["classes"].values()) == int((mixture.parts[1].split_ids == 0).sum())
    assert second["hash"] != first["hash"]
    assert record["data"]["hash"] == mixture.data_hash
    assert record["public_test"]["sources"] == figures["sources"]
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    for row in rows:
        each = [float(row[f"eval_accuracy:{name}"]) for name in ("levels", "colour")]
        assert float(row["eval_mean_accuracy"]) == pytest.approx(np.mean(each), abs=1e-4)
    assert figures["epoch"] == float(max(rows, key=lambda row: float(row["eval_mean_accuracy"]))["epoch"])
    steps = int(rows[-1]["step"]) / len(rows)
    assert steps == -(-round(first["n_train"] + second["n_train"] / 2) // 8)  # an epoch is the weighted images


def test_the_mean_over_data_sets_decides_where_there_are_several() -> None:
    assert score_of({"accuracy": 0.9, "mean_accuracy": 0.4}) == 0.4
    assert score_of({"eval_accuracy": "0.9"}, "eval_") == 0.9


@pytest.mark.slow
def test_class_sampling_and_weights_repeat_and_resume(tmp_path: Path, weights: Path, mixture: Mixture) -> None:
    config = quick_config(epochs=2, class_sampling="balanced", augment={"flip_prob": 0.5, "shift": 0.1})
    train(config, mixture, tmp_path / "whole", init=weights)
    with pytest.raises(KeyboardInterrupt):
        train(config, mixture, tmp_path / "cut", init=weights, callbacks=[StopAfterEpoch()])
    train(config, mixture, tmp_path / "cut", init=weights, resume=True)
    whole, cut = (TorchClassifier(tmp_path / name).logits(faces(7).images) for name in ("whole", "cut"))
    np.testing.assert_allclose(cut, whole, atol=1e-5)


def test_leaks_leave_training_where_sources_are_mixed(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    one = replace(faces(28), images=rng.integers(0, 256, (28, 16, 16, 1), np.uint8))
    two = replace(one, name="two", images=rng.integers(0, 256, (28, 16, 16, 1), np.uint8), data_hash="2" * 64)
    images = two.images.copy()
    images[0] = one.images[np.flatnonzero(one.split_ids == 2)[0]]
    mixed = Mixture((one, replace(two, images=images)), (1.0, 1.0))
    count = len(mixed.split("train"))
    with caplog.at_level(logging.WARNING):
        data, record = prepare(mixed, quick_config(), None)
    assert len(data.train) == count - 1
    assert [source["leaks"] for source in record["sources"]] == [0, 1]
    assert "two: drop_leaks leaves out 1 of" in caplog.text
    data, record = prepare(mixed, quick_config(drop_leaks=False), None)
    assert len(data.train) == count
    assert "leaks" not in record["sources"][0]
    alone = as_mixture(replace(two, images=np.repeat(images[:1], 28, axis=0)))
    assert len(prepare(alone, quick_config(), None)[0].train) == int((two.split_ids == 0).sum())
    with pytest.raises(DataError, match=r"no training image is left after .*drop_leaks"):
        prepare(alone, quick_config(drop_leaks=True), None)
    with pytest.raises(ConfigError, match="drop_leaks"):
        TrainConfig(drop_leaks="perhaps")


def test_votes_count_where_a_part_has_them() -> None:
    both = Mixture((faces(28, votes=True), colour(14)), (1.0, 1.0))
    voted, plain = both.parts
    config = TrainConfig(votes_weight=0.5)
    targets = make_targets(both, config)
    np.testing.assert_array_equal(targets[:28], make_targets(voted, config))
    np.testing.assert_array_equal(targets[28:], np.eye(7, dtype=np.float32)[plain.targets])
    none = replace(voted, votes=np.zeros_like(voted.votes))
    rows = training_rows(Mixture((none, plain), (1.0, 1.0)), TrainConfig(drop_not_a_face=True))
    assert rows.tolist() == list(range(28, 42))
    with pytest.raises(DataError, match="votes_weight needs FER"):
        make_targets(Mixture((faces(28), plain), (1.0, 1.0)), config)


@pytest.mark.slow
def test_a_teacher_predicts_every_data_set(tmp_path: Path, weights: Path, mixture: Mixture) -> None:
    train(quick_config(epochs=1), faces(28), tmp_path / "teacher", init=weights)
    done: list[tuple[int, int]] = []
    config = quick_config(epochs=1, teacher_weight=0.5, teacher_views=2)
    api.distill(
        tmp_path / "teacher",
        mixture,
        tmp_path / "student",
        recipe=config,
        init=weights,
        progress=lambda k, total: done.append((k, total)),
    )
    total = 2 * len(mixture.split("train"))
    assert done[-1] == (total, total)
    assert json.loads((tmp_path / "student" / "run.json").read_text())["teacher"]["name"] == "teacher"
