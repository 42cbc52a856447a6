"""Parquet files: fervit's own and Hugging Face's, and malformed ones."""

from pathlib import Path

import numpy as np
import pytest

from fervit.data import load
from fervit.errors import DataError
from tests.helpers.data_files import png, write_table

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_hugging_face_parquet_takes_its_class_names_from_the_metadata(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = ["sad", "Happiness"]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    rows = {
        "image": [{"bytes": png(np.full((48, 48), k, np.uint8)), "path": None} for k in range(4)],
        "label": [0, 1, 1, 0],
    }
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    dataset = load(tmp_path / "train-00000-of-00001.parquet")
    assert dataset.labels == ("Happiness", "sad")
    assert dataset.targets.tolist() == [1, 0, 0, 1]
    assert dataset.images.shape == (4, 48, 48, 1)


def test_parquet_with_named_labels_and_a_split_column(tmp_path: Path) -> None:
    data = [png(np.full((48, 48), k, np.uint8)) for k in range(3)]
    path = write_table(
        tmp_path / "x.parquet", image=data, label=["joy", "fear", "sad"], split=["train", "validation", "test"]
    )
    dataset = load(path)
    assert dataset.labels == ("fear", "joy", "sad")
    assert dataset.targets.tolist() == [1, 0, 2]
    assert dataset.split_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0]}, "lacks the column image"),
        ({"image": [b"x"]}, "lacks the column label"),
        ({"image": [b"x"], "label": [9], "usage": ["Training"]}, "the labels (9) are numbers without names"),
        ({"image": [b"x"], "label": [None], "usage": ["Training"]}, "row 1: the label is missing"),
        ({"image": [b"x"], "label": [[1]], "usage": ["Training"]}, "row 1: the label is '[1]', expected a number or"),
        ({"image": [b"x"] * 2, "label": [3, 3], "label_name": ["sad", None]}, "row 2: the label is missing"),
        ({"image": [b"x"], "label": [1], "usage": ["here"]}, "row 1: unknown usage 'here'"),
        ({"image": [b"x"], "label": ["sad"], "usage": ["Training"]}, "1 of 1 images cannot be read, the first is row 1"),
    ],
)
def test_malformed_parquet_is_refused(tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
    path = write_table(tmp_path / "x.parquet", **columns)
    with pytest.raises(DataError) as caught:
        load(path)
    assert message in str(caught.value)


def test_a_file_that_is_no_parquet_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="not a parquet file that can be read") as caught:
        load(tmp_path / "x.parquet")
    assert "\n" not in str(caught.value)
