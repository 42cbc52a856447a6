"""Splits that are written down: read again by name or row, and refused where they say too little."""

from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load, save
from fervit.data.splitting.table import apply_splits, write_splits
from fervit.errors import DataError
from tests.helpers.data_files import write_image, write_rows
from tests.helpers.public_sets import faces, jaffe

pytestmark = pytest.mark.usefixtures("cache_folder")


def class_folders(root: Path, count: int = 40) -> Path:
    for k in range(count):
        write_image(root / ("sad", "joy")[k % 2] / f"{k}.png", size=(16, 16), seed=k)
    return root


def test_splits_that_are_written_down_stay_when_images_come_and_go(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "d")
    first = load(folder)
    write_splits(first, tmp_path / "splits.csv")
    (folder / "sad" / "0.png").unlink()
    (folder / "joy" / "1.png").unlink()
    again = load(folder, splits=tmp_path / "splits.csv")
    known = dict(zip(first.sources or (), first.split_ids.tolist(), strict=True))
    assert [known[source] for source in again.sources or ()] == again.split_ids.tolist()
    assert first.drawn_splits and not again.drawn_splits, "so that a test part is not measured whole"
    assert not load(folder, fractions="60/20/20").drawn_splits
    assert again.notes == (
        f"the splits are those of splits.csv: train {(again.split_ids == 0).sum()}, public_test "
        f"{(again.split_ids == 1).sum()}, private_test {(again.split_ids == 2).sum()}",
        "2 images of splits.csv are not here, or cannot be read",
    )
    write_image(folder / "sad" / "new.png", size=(16, 16), seed=99)
    with pytest.raises(DataError, match=r"splits.csv says nothing about 1 of the 39 images of d, the first is sad/new"):
        load(folder, splits=tmp_path / "splits.csv")


def test_the_same_splits_give_the_same_hash_and_others_another(tmp_path: Path) -> None:
    first = load(class_folders(tmp_path / "d"))
    write_splits(first, tmp_path / "splits.csv")
    assert apply_splits(first, tmp_path / "splits.csv").data_hash == first.data_hash
    text = (tmp_path / "splits.csv").read_text()
    (tmp_path / "splits.csv").write_text(text.replace(",public_test", ",train"))
    changed = apply_splits(first, tmp_path / "splits.csv")
    assert changed.data_hash != first.data_hash and changed.split_names == ("train", "private_test")


def test_a_table_names_people_where_they_are_known(tmp_path: Path) -> None:
    dataset = load(jaffe(tmp_path / "jaffe", faces()[:21]))
    write_splits(dataset, tmp_path / "splits.csv")
    lines = (tmp_path / "splits.csv").read_text().splitlines()
    assert lines[0] == "row,filename,label,split,subject" and len(lines) == 22
    assert lines[1].startswith("0,jaffedbase/K") and lines[1].split(",")[4] in {"KA", "KB", "KC"}


def test_images_without_names_are_found_by_their_rows(faces: Dataset, tmp_path: Path) -> None:
    save(faces, tmp_path / "x.csv")
    moved = np.roll(faces.split_ids, 7)
    rows = [f"{k},{name}" for k, name in enumerate(np.array(["train", "val", "test"])[moved])]
    splits = write_rows(tmp_path / "splits.csv", rows, "row,split")
    assert load(tmp_path / "x.csv", splits=splits).split_ids.tolist() == moved.tolist()
    named = write_rows(tmp_path / "named.csv", ["a.png,train", "b.png,test"], "filename,split")
    with pytest.raises(DataError, match=r"names images that x\.csv does not tell apart; expected a column row"):
        load(tmp_path / "x.csv", splits=named)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("filename,label", "a,sad", r"lacks the column\(s\) split"),
        ("split,label", "train,sad", "neither a column filename nor row"),
        ("row,split", "0,angry", "line 2: unknown usage"),
        ("row,split", "x,train", "line 2: expected a row, a number from 0, got 'x'"),
        ("row,split", "0", "line 2: 1 columns, expected 2"),
    ],
)
def test_a_malformed_table_is_named_with_its_line(
    faces: Dataset, tmp_path: Path, header: str, row: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        apply_splits(faces, write_rows(tmp_path / "splits.csv", [row], header))
    with pytest.raises(DataError, match="cannot be read"):
        apply_splits(faces, tmp_path / "nothing.csv")


def test_a_table_that_cannot_be_written_is_an_error_of_ours(faces: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot write"):
        write_splits(faces, tmp_path / "no" / "folder" / "splits.csv")
