"""Loading and saving: every form of the same data agrees, and each source has one reader."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, form_of, load, save
from fervit.data.cache import content_hash
from fervit.errors import ConfigError, DataError
from fervit.labels import FER7
from fervit.licences import KNOWN, Licence

pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.mark.parametrize("name", ["faces.csv", "faces.parquet", "a folder ünïcode"])
def test_every_form_of_the_same_data_has_the_same_hash(faces: Dataset, tmp_path: Path, name: str) -> None:
    save(faces, tmp_path / name)
    dataset = load(tmp_path / name)
    assert dataset.data_hash == faces.data_hash
    assert (dataset.images == faces.images).all()
    assert dataset.targets.dtype == np.int64
    assert dataset.split_ids.dtype == np.int8
    assert dataset.labels == FER7
    assert dataset.name == name
    assert isinstance(dataset.images, np.memmap)


def test_rows_that_are_not_ordered_by_split_keep_their_order_in_every_form(faces: Dataset, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(30)
    for name in ("a.csv", "a.parquet", "a"):
        save(faces.take(order), tmp_path / name)
        assert load(tmp_path / name).split_ids.tolist() == faces.split_ids[order].tolist()
        assert (load(tmp_path / name).images == faces.images[order]).all()


def test_synthetic_faces_come_out_of_every_form_as_they_went_in(tmp_path: Path) -> None:
    drawn = load("synthetic:42:5")
    for name in ("s.csv", "s.parquet", "s"):
        save(drawn, tmp_path / name)
        assert load(tmp_path / name).data_hash == drawn.data_hash


def test_a_saved_data_set_keeps_its_labels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    targets, split_ids = np.array([0, 1, 1]), np.zeros(3, np.int8)
    dataset = Dataset("x", ("angry", "contempt"), images, targets, split_ids, np.arange(3),
                      content_hash(images, targets, split_ids))  # fmt: skip
    for name in ("x.parquet", "x"):
        save(dataset, tmp_path / name)
        assert load(tmp_path / name).labels == ("angry", "contempt")
    assert load(tmp_path / "x.parquet").data_hash == dataset.data_hash


def test_each_source_has_one_reader(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    assert form_of(tmp_path / "x.csv") == "csv"
    assert form_of(str(tmp_path)) == "folder"
    assert form_of("synthetic:10:3") == "synthetic"
    assert form_of("someone/faces") == "hub"


@pytest.mark.parametrize("source", ["nothing", "/nowhere/at/all", "missing/fer2013.csv", "./a/b", "x.zip"])
def test_what_is_no_data_set_gets_the_list_of_accepted_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.zip").touch()
    with pytest.raises(DataError) as caught:
        load(source)
    for form in ("csv", "parquet", "train/angry/x.jpg", "synthetic[:N[:seed]]", "owner/name"):
        assert form in str(caught.value)


def test_a_missing_path_below_an_existing_folder_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="no data set at data/fer2013"):
        load("data/fer2013")


def test_save_refuses_to_overwrite_and_deletes_only_what_it_wrote(faces: Dataset, tmp_path: Path) -> None:
    for name in ("x.csv", "x"):
        save(faces, tmp_path / name)
        with pytest.raises(DataError, match="exists; pass --overwrite"):
            save(faces, tmp_path / name)
    mine = tmp_path / "x" / "train" / "angry" / "mine.txt"
    mine.parent.mkdir(exist_ok=True)
    mine.touch()
    save(faces.take([0, 1]), tmp_path / "x", overwrite=True)
    assert len(load(tmp_path / "x")) == 2
    assert mine.exists()
    with pytest.raises(DataError, match="is a folder; names that end in"):
        (tmp_path / "y.csv").mkdir()
        save(faces, tmp_path / "y.csv", overwrite=True)


def test_a_parquet_file_keeps_the_licence_and_another_form_says_that_it_does_not(
    faces: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = replace(faces, licence="RAF-DB")
    with caplog.at_level(logging.WARNING):
        save(data, tmp_path / "f.parquet")
        assert not caplog.messages
        save(data, tmp_path / "f")
        save(replace(data, licence="MIT"), tmp_path / "g")
    assert load(tmp_path / "f.parquet").licences == (KNOWN["rafdb"],)
    said = "does not say that its images are RAF-DB: non-commercial research only; a .parquet file does"
    assert [message for message in caplog.messages if "does not say" in message] == [f"{tmp_path / 'f'} {said}"]


def test_terms_that_the_user_names_belong_to_the_data_set(faces: Dataset, tmp_path: Path) -> None:
    save(faces, tmp_path / "f")
    assert load(tmp_path / "f").licences == (Licence("f"),)
    assert load(tmp_path / "f", licence="CC-BY-4.0").licence == "f: CC-BY-4.0"
    assert load("synthetic:14").licences == (KNOWN["synthetic"],)
    with pytest.raises(ConfigError, match="expected a licence"):
        load(tmp_path / "f", licence=" ")
