"""The terms of data sets: what is recognised, read and written, and what follows for commercial use."""

import logging

import numpy as np
import pytest

from fervit.data.dataset import Dataset
from fervit.errors import ConfigError, ModelError
from fervit.licences import (
    BY_HASH,
    KNOWN,
    Licence,
    as_text,
    check_commercial,
    licences_of,
    read_licences,
    recognised,
    say_non_commercial,
    union,
)
from tests.helpers import DATA

RAF, FER, MINE = KNOWN["rafdb"], KNOWN["fer2013"], Licence("faces", "CC-BY-4.0")
RAF_HASH = next(digest for digest, licence in BY_HASH.items() if licence is RAF)


def data(files: list[str] | None = None, licence: str = "", name: str = "faces", data_hash: str = "0") -> Dataset:
    """Return blank images of these files."""
    count = len(files or [1])
    zeros = np.zeros(count, np.int64)
    return Dataset(
        name,
        ("happy", "sad"),
        np.zeros((count, 2, 2, 1), np.uint8),
        zeros,
        zeros.astype(np.int8),
        zeros,
        data_hash,
        sources=files,
        licence=licence,
    )


@pytest.mark.parametrize("key", KNOWN)
def test_a_known_data_set_names_its_terms_and_where_they_are_stated(key: str) -> None:
    licence = KNOWN[key]
    assert licence.known and licence.statement
    assert read_licences(str(licence), "x") == read_licences(licence.name, "x") == (licence,)
    assert licence.non_commercial == (key in ("rafdb", "affectnet", "expw", "ckplus", "jaffe"))


@pytest.mark.parametrize(
    ("terms", "excluded"),
    [
        ("CC-BY-NC-4.0", True),
        ("cc by-nc-sa 3.0", True),
        ("non-commercial research purposes", True),
        ("for noncommercial use", True),
        ("for research purposes only", True),
        ("academic use only", True),
        ("MIT", False),
        ("CC-BY-4.0", False),
        ("my own photos, with consent for research", False),
        ("NCSA", False),  # the University of Illinois' licence
    ],
)
def test_terms_that_exclude_commercial_use_are_told_by_their_words(terms: str, excluded: bool) -> None:
    (licence,) = read_licences(terms, "faces")
    assert (licence.name, licence.terms, licence.non_commercial) == ("faces", terms, excluded)


def test_several_licences_are_written_and_read_as_one_text() -> None:
    every = (RAF, MINE, Licence("photos"))
    assert as_text(every) == "RAF-DB: non-commercial research only AND faces: CC-BY-4.0 AND photos: terms unknown"
    assert read_licences(as_text(every), "other") == every
    assert read_licences("", "faces") == read_licences("unknown", "faces") == (Licence("faces"),)


def test_a_union_has_each_licence_once_and_prefers_terms_to_none() -> None:
    assert union([RAF, Licence("faces")], [MINE, RAF]) == (RAF, MINE)
    assert union() == ()


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("basic/Image/aligned/train_00001_aligned.jpg", RAF),
        ("3\\test_0001_aligned.jpg", RAF),
        ("KA.AN1.39.tiff", KNOWN["jaffe"]),
        ("anger/S005_001_00000011.png", KNOWN["ckplus"]),
        ("train/angry/Training_3908.jpg", FER),
    ],
)
def test_a_data_set_is_recognised_by_how_its_files_alone_are_called(file: str, found: Licence) -> None:
    assert recognised("folder", "", ["mine.jpg", file]) == (found,)


@pytest.mark.parametrize("file", ["train_00001.jpg", "Training_0000001.png", "S005.png", "photo.jpg", ""])
def test_a_name_that_anybody_may_give_recognises_nothing(file: str) -> None:
    assert recognised("folder", "", [file]) == ()


@pytest.mark.parametrize("data_hash", [digest for digest, licence in BY_HASH.items() if licence is RAF])
def test_raf_db_is_recognised_by_its_content(data_hash: str) -> None:
    assert recognised("parquet", data_hash, ["1.jpg"]) == (RAF,)


@pytest.mark.skipif(not (DATA / "rafdb_train.parquet").is_file(), reason=f"no rafdb_train.parquet in {DATA}")
@pytest.mark.slow
@pytest.mark.parametrize("size_px", [None, 100])
def test_the_real_raf_db_has_such_a_content(size_px: int | None) -> None:
    from fervit.data import load

    dataset = load(DATA / "rafdb_train.parquet", size_px=size_px)
    assert BY_HASH[dataset.data_hash] is RAF and dataset.licences == (RAF,)


def test_what_a_data_set_is_recognised_as_counts_more_than_its_readers_words() -> None:
    assert data(["1.jpg"], "non-commercial").licensed("rafdb").licences == (RAF,)
    mixed = data(["train_00001_aligned.jpg"], "MIT").licensed("folder")
    assert mixed.licences == (RAF,)
    other = data(["train_00001_aligned.jpg"], "photos: MIT").licensed("folder")
    assert other.licences == (RAF, Licence("photos", "MIT"))


def test_terms_that_a_user_names_are_for_what_has_none() -> None:
    assert data().licensed("folder").licence == ""
    assert data().licensed("folder", "my own").licences == (Licence("faces", "my own"),)
    mixed = data(licence="photos: terms unknown AND RAF-DB").licensed("parquet", "CC-BY-4.0")
    assert set(mixed.licences) == {RAF, Licence("photos", "CC-BY-4.0")}


def test_terms_that_a_user_names_do_not_replace_known_ones_and_that_is_said() -> None:
    raf = data(data_hash=RAF_HASH).licensed("parquet", "MIT")
    assert raf.licences == (RAF,)
    assert raf.notes == ("the licence 'MIT' is not taken: its terms are known, RAF-DB: non-commercial research only",)


@pytest.mark.parametrize("terms", ["", "  ", "a\nb", "x" * 300])
def test_terms_that_are_none_are_refused(terms: str) -> None:
    with pytest.raises(ConfigError, match="expected a licence of 1 to 200 characters in one line"):
        data().licensed("folder", terms)


def test_a_model_from_before_licences_is_known_by_the_hash_of_its_data() -> None:
    assert licences_of({"data_hash": RAF_HASH}) == (RAF,)
    assert licences_of({"data_hash": "0"}) == licences_of({}) == ()


def test_commercial_use_is_refused_by_the_name_of_the_data() -> None:
    check_commercial("mine", [FER, MINE, Licence("photos")])
    with pytest.raises(ModelError, match=r"mine was trained on RAF-DB: non-commercial research only \(http.*without"):
        check_commercial("mine", [FER, RAF])


def test_a_model_for_non_commercial_use_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            say_non_commercial("a-model-of-this-test", [FER, RAF])
        say_non_commercial("another", [FER, MINE])
    assert caplog.messages == ["a-model-of-this-test: trained on RAF-DB: non-commercial research only"]
