"""`--group-by`: a column, a folder or a pattern of names; and what makes no groups."""

import re
from pathlib import Path

import numpy as np
import pytest

from fervit.data import load
from fervit.data.splitting.groups import group_names, read_grouping
from fervit.errors import ConfigError, DataError
from tests.helpers.data_files import pixels, write_image, write_rows

SOURCES = ["sad/a1/x.png", "sad/a2/x.png", "joy/b1/x.png", "joy/a1/y.png"]
TARGETS = [0, 0, 1, 1]


def names(text: str, sources: list[str] = SOURCES) -> list[str]:
    grouping = read_grouping(text)
    assert grouping is not None
    return group_names(grouping, sources, TARGETS, "here")


def test_groups_are_folders_or_what_a_pattern_finds() -> None:
    assert names("folder") == ["sad/a1", "sad/a2", "joy/b1", "joy/a1"]
    assert names("FOLDER ") == names("folder")
    assert names(r"/([ab]\d)/") == ["a1", "a2", "b1", "a1"]
    assert names(r"/(a\d)/") == ["a1", "a2", "", "a1"], "what a pattern does not find stands alone"
    assert read_grouping(None) is None


@pytest.mark.parametrize("text", ["", " ", 3, "(a)(b)", "(?:a)()b)", "(", "([a)"])
def test_what_is_no_grouping_is_refused(text: object) -> None:
    with pytest.raises(ConfigError, match="--group-by"):
        read_grouping(text)


def test_what_fits_nothing_is_refused_with_an_example() -> None:
    with pytest.raises(
        DataError, match=re.escape("here: --group-by '(z+)' fits no image's name; the first is sad/a1/x")
    ):
        names("(z+)")
    with pytest.raises(DataError, match="here has no column 'person'; --group-by takes a column of the csv or parquet"):
        names("person")
    with pytest.raises(DataError, match="makes one group of each label"):
        names("folder", ["sad/1.png", "sad/2.png", "joy/3.png", "joy/4.png"])


def test_class_folders_are_divided_by_folder_or_name(tmp_path: Path, cache_folder: Path) -> None:
    for k in range(60):
        clip = f"clip{k % 12}"
        write_image(tmp_path / "d" / ("sad", "joy")[k % 2] / clip / f"{clip}_{k}.png", size=(16, 16), seed=k)
    for group_by in ("folder", r"(clip\d+)_"):
        dataset = load(tmp_path / "d", group_by=group_by)
        clips = np.array([source.split("/")[1] for source in dataset.sources or ()])
        assert all(len(set(dataset.split_ids[clips == clip].tolist())) == 1 for clip in clips)
        assert dataset.split_names == ("train", "public_test", "private_test")
        assert any("12 groups by" in note for note in dataset.notes)


def test_groups_that_change_nothing_are_told(tmp_path: Path, cache_folder: Path) -> None:
    for k in range(24):
        folder = tmp_path / "d" / ("train", "val")[k // 12] / ("sad", "joy")[k % 2]
        write_image(folder / f"a{k % 6}_{k}.png", size=(16, 16), seed=k)
    said = "--group-by (a[0-9])_ changes nothing, since the source has splits of its own; --fractions 80/10/10 divides"
    dataset = load(tmp_path / "d", group_by="(a[0-9])_")
    assert any(note.startswith(said) for note in dataset.notes) and dataset.split_names == ("train", "public_test")
    assert not any(
        "changes nothing" in note for note in load(tmp_path / "d", group_by="(a[0-9])_", fractions="6/1/93").notes
    )


def test_a_csv_has_columns_of_people_and_others(tmp_path: Path, cache_folder: Path) -> None:
    rows = [f"{k % 7},{pixels(3 * k)},p{k % 6},s{k % 10}" for k in range(70)]
    path = write_rows(tmp_path / "x.csv", rows, "emotion,pixels,Subject,session")
    people = load(path)
    assert people.subjects == [f"p{k % 6}" for k in range(70)]
    assert all(len(set(people.split_ids[np.arange(70) % 6 == person].tolist())) == 1 for person in range(6))
    sessions = load(path, group_by="session")
    assert all(len(set(sessions.split_ids[np.arange(70) % 10 == session].tolist())) == 1 for session in range(10))
    with pytest.raises(DataError, match="has no column 'room'"):
        load(path, group_by="room")
