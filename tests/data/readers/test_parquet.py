"""Parquet files: fervit's own and Hugging Face's, and malformed ones."""

from pathlib import Path

import numpy as np
import pytest

from fervit.data import decode, load
from fervit.errors import DataError
from fervit.labels import AFFECTNET8, FER7
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
        (
            {"image": [b"x"], "label": ["sad"], "usage": ["Training"]},
            "1 of 1 images cannot be read, the first is row 1",
        ),
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


def faces(count: int) -> list[bytes]:
    return [png(np.full((48, 48), k, np.uint8)) for k in range(count)]


def test_numbers_without_names_are_asked_for_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [k % 8 for k in range(16)]
    path = write_table(tmp_path / "affectnet.parquet", image=faces(16), label=numbers)
    with monkeypatch.context() as patch:
        patch.setattr(decode, "decode", None)
        with pytest.raises(DataError, match=r"numbers without names.*--label-map fer7.*column label_name"):
            load(path)
    dataset = load(path, label_map="affectnet8")
    assert [dataset.labels[target] for target in dataset.targets[:8]] == list(AFFECTNET8)
    with pytest.raises(DataError, match="numbers without names"):
        load(path)


@pytest.mark.parametrize("names", ["label_name", "Class_Name", "expression"])
def test_where_names_exist_they_rule(tmp_path: Path, names: str) -> None:
    own = [AFFECTNET8[k % 8] for k in range(16)]
    path = write_table(tmp_path / "x.parquet", image=faces(16), label=[k % 8 for k in range(16)], **{names: own})
    dataset = load(path)
    assert [dataset.labels[target] for target in dataset.targets] == own


def test_labels_as_floats_and_as_digits_are_numbers(tmp_path: Path) -> None:
    for name, label in (("float", [float(k % 7) for k in range(14)]), ("text", [str(k % 7) for k in range(14)])):
        dataset = load(write_table(tmp_path / f"{name}.parquet", image=faces(14), label=label), label_map="fer7")
        assert dataset.labels == FER7 and dataset.targets.tolist() == [k % 7 for k in range(14)]


def test_a_column_of_truth_values_is_not_read_as_0_and_1(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", image=faces(4), label=[True, False, True, False])
    with pytest.raises(DataError, match="row 1: label is true: a truth value names no expression"):
        load(path)
    dataset = load(path, label_map={"true": "happy", "false": "neutral"})
    assert [dataset.labels[target] for target in dataset.targets] == ["happy", "neutral"] * 2


def test_class_names_with_line_breaks_or_twice_the_same_become_labels_that_differ(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["sad\n", "hap\npy"])})
    rows = {"image": [{"bytes": data, "path": None} for data in faces(4)], "label": [0, 1, 1, 0]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "x.parquet"))
    dataset = load(tmp_path / "x.parquet")
    assert set(dataset.labels) == {"sad", "hap py"}
    assert any("is read as 'hap py'" in note for note in dataset.notes)
    twice = [["sad", "sad\n", "joy\tful"][k % 3] for k in range(6)]
    dataset = load(write_table(tmp_path / "y.parquet", image=faces(6), label=twice))
    assert set(dataset.labels) == {"sad", "joy ful"}


def test_a_parquet_of_train_and_test_gets_a_validation_part(tmp_path: Path) -> None:
    usage = ["train"] * 60 + ["test"] * 20
    path = write_table(tmp_path / "x.parquet", image=faces(80), label=["sad", "joy"] * 40, split=usage)
    dataset = load(path)
    assert dataset.split_names == ("train", "public_test", "private_test")
    assert any("of the 60 train images" in note for note in dataset.notes)
