"""Inspection: exact and near duplicates, leaks, conflicts, blank images; known faults of FER2013."""

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from fervit.data import Dataset, load
from fervit.data.audit import Inspection, exact_leaks, inspect, near_duplicates
from fervit.labels import FER7
from tests.helpers import DATA

real = pytest.mark.skipif(not (DATA / "fer2013.parquet").exists(), reason="FER2013 is not on this machine")


def make(images: ArrayLike, targets: ArrayLike, split_ids: ArrayLike) -> Dataset:
    return Dataset(
        name="made",
        labels=FER7,
        images=np.asarray(images, np.uint8),
        targets=np.asarray(targets),
        split_ids=np.asarray(split_ids, np.int8),
        rows=np.arange(np.size(targets)),
        data_hash="0",
        skipped=("train/sad/broken.jpg",),
    )


@pytest.fixture
def planted() -> Dataset:
    """Ten noise images; rows 6 to 9 are copies, one of them with noise, one shared by public and private."""
    images = np.random.default_rng(0).integers(0, 256, (11, 48, 48, 1), dtype=np.uint8)
    images[6] = images[0]  # public_test in train
    images[7] = images[0]  # private_test in train (and public_test)
    images[8] = images[5]  # private_test in public_test only
    images[9] = np.clip(images[1].astype(int) + np.random.default_rng(1).integers(-9, 10, (48, 48, 1)), 0, 255)
    images[3] = images[2]  # within train, another label
    images[10] = 128
    return make(images, [0, 1, 2, 3, 4, 5, 0, 0, 5, 1, 6], [0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 0])


def test_leaks_are_what_stands_in_the_splits_that_count_as_seen(planted: Dataset) -> None:
    assert np.flatnonzero(exact_leaks(planted)).tolist() == [6, 7]
    assert np.flatnonzero(exact_leaks(planted, seen=("train", "public_test"))).tolist() == [6, 7, 8]
    assert not exact_leaks(planted, seen=()).any()


def test_inspection_finds_every_planted_fault(planted: Dataset) -> None:
    report = inspect(planted)
    assert report.unique == 7
    assert report.blank.tolist() == [10]
    assert report.duplicates_within == {"train": 1, "public_test": 0, "private_test": 0}
    assert report.leaks == {
        ("public_test", "train"): 1, ("private_test", "train"): 1, ("private_test", "public_test"): 2
    }  # fmt: skip
    assert [rows.tolist() for rows in report.conflicts] == [[2, 3]]
    assert report.near_pairs is not None and report.near_pairs.tolist() == [[1, 9]]
    assert report.near_leaks["private_test", "train"] == 1
    assert report.counts.sum() == 11


def test_the_report_is_json_and_names_unreadable_pictures(planted: Dataset) -> None:
    report = json.loads(json.dumps(inspect(planted).to_dict()))
    assert report["unreadable"] == {"count": 1, "sources": ["train/sad/broken.jpg"]}
    assert report["exact_leaks"]["private_test in train"] == 1
    assert report["near"]["rows"][0]["rows"][1]["split"] == "private_test"
    assert "near" not in inspect(planted, near=False).to_dict()


def test_the_earlier_split_stands_first_in_a_near_pair_whatever_the_row_order(planted: Dataset) -> None:
    pairs, correlations = near_duplicates(planted.take(np.arange(11)[::-1]))
    assert pairs.tolist() == [[9, 1]]
    assert 0.98 <= correlations[0] < 1


def test_colour_images_of_any_size_can_be_inspected() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 70, 50, 3), dtype=np.uint8)
    images[3] = images[0]
    report = inspect(make(images, [0, 1, 2, 3], [0, 0, 1, 2]))
    assert report.leaks["private_test", "train"] == 1


def test_an_empty_data_set_can_be_inspected() -> None:
    report = inspect(make(np.zeros((0, 48, 48, 1)), np.zeros(0, np.int64), []))
    assert report.unique == 0
    assert report.to_dict()["images"] == 0


@pytest.fixture(scope="module")
def fer2013() -> Dataset:
    return load(DATA / "fer2013.parquet")


@pytest.fixture(scope="module")
def fer2013_report(fer2013: Dataset) -> Inspection:
    return inspect(fer2013)


@pytest.mark.slow
@real
def test_fer2013_has_the_known_faults(fer2013: Dataset, fer2013_report: Inspection) -> None:
    started = time.perf_counter()
    leaks = exact_leaks(fer2013)
    assert time.perf_counter() - started < 2
    assert int(leaks[fer2013.split_ids == 1].sum()) == 280
    assert int(leaks[fer2013.split_ids == 2].sum()) == 288
    report = fer2013_report
    assert report.unique == 34_034
    assert report.leaks["private_test", "public_test"] == 44
    assert len(report.conflicts) == 57
    assert sum(len(rows) for rows in report.conflicts) == 160
    assert len(report.blank) == 13


@real
@pytest.mark.slow
def test_every_known_near_leak_of_fer2013_is_found(fer2013: Dataset, fer2013_report: Inspection) -> None:
    report = fer2013_report
    assert report.near_leaks["public_test", "train"] + report.near_leaks["private_test", "train"] == 61
    assert fer2013.sources is not None and report.near_pairs is not None
    names = [Path(source).name for source in fer2013.sources]
    found = {(names[a], names[b]) for a, b in report.near_pairs}
    with (DATA / "test_leaks.csv").open(encoding="utf-8") as file:
        known = [row for row in csv.DictReader(file) if row["kind"] == "near"]
    assert len(known) == 61
    assert all((row["train_filename"], row["filename"]) in found for row in known)
