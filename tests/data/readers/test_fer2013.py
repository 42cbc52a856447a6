"""FER2013 as csv: what Kaggle's files hold, and what is said about malformed rows."""

import csv
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load, save
from fervit.errors import DataError
from fervit.labels import FER7, RAF7
from tests.helpers.data_files import pixels, write_rows

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_icml_csv_with_stray_spaces_and_another_column_order_is_the_same_data(faces: Dataset, tmp_path: Path) -> None:
    save(faces, tmp_path / "fer2013.csv")
    with (tmp_path / "fer2013.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    icml = [f"{emotion}, {usage}, {texts}" for emotion, texts, usage in rows]
    path = write_rows(tmp_path / "icml_face_data.csv", icml, header="emotion, Usage, pixels")
    assert load(path).data_hash == faces.data_hash


def test_csv_takes_quotes_carriage_returns_and_a_byte_order_mark(tmp_path: Path) -> None:
    rows = [f'"3","{pixels()}","Training"', f'"6","{pixels(8)}","PrivateTest"']
    path = tmp_path / "quoted.csv"
    path.write_bytes("\r\n".join(["\ufeffEMOTION,Pixels,usage", *rows, ""]).encode())
    dataset = load(path)
    assert dataset.targets.tolist() == [3, 6]
    assert dataset.split_names == ("train", "private_test")
    assert dataset.images[1].max() == dataset.images[1].min() == 8


def test_csv_pixels_with_double_spaces_are_read(tmp_path: Path) -> None:
    dataset = load(write_rows(tmp_path / "x.csv", [f"0,{pixels().replace(' ', '  ')},Training"]))
    assert (dataset.images == 7).all()


def test_all_pixel_values_survive_the_fast_csv_parser(tmp_path: Path) -> None:
    values = np.arange(2304) % 256
    dataset = load(write_rows(tmp_path / "x.csv", [f"0,{' '.join(map(str, values))},Training"] * 300))
    assert (dataset.images[299].ravel() == values).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [f"0,{pixels()},Training", f"1,{pixels(count=2303)},Training"],
            "line 3: 2303 pixels, expected 2304 (48 x 48)",
        ),
        ([f"0,{pixels(count=2303)},Training"], "line 2: 2303 pixels, expected a square number"),
        ([f"0,{pixels(count=2303)} 4x,Training"], "line 2: pixel 2304 is '4x', expected a number 0 to 255"),
        ([f"0,{pixels(count=2303)} 256,Training"], "line 2: pixel 2304 is '256', expected a number 0 to 255"),
        ([f"0,{pixels(count=2303)} -1,Training"], "line 2: pixel 2304 is '-1', expected a number 0 to 255"),
        ([f"0,{pixels(count=2303)} ٣,Training"], "line 2: pixel 2304 is '٣', expected a number 0 to 255"),
        ([f"7,{pixels()},Training"], "line 2: emotion is '7', expected 0 to 6"),
        (
            [f"0,{pixels()},Training", f"happy,{pixels()},Training"],
            "line 3: the label 'happy' is a name, but '0' in line 2 is a number",
        ),
        ([f"2.5,{pixels()},Training"], "line 2: the label is 2.5, expected a whole number or a name"),
        ([f"nan,{pixels()},Training"], "line 2: the label is missing"),
        ([f"0,{pixels()},Trainig"], "line 2: unknown usage 'Trainig': did you mean 'Training'?"),
        ([f"0,{pixels()}"], "line 2: 2 columns, expected 3"),
        ([], "has a header but no rows"),
    ],
)
def test_a_malformed_csv_row_is_named(tmp_path: Path, rows: list[str], message: str) -> None:
    path = write_rows(tmp_path / "bad data.csv", rows)
    with pytest.raises(DataError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_csv_without_a_column_names_it(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.csv", ["0,Training"], header="emotion,Usage")
    with pytest.raises(DataError, match=r"lacks the column.s. pixels; it has emotion, Usage"):
        load(path)


def test_an_empty_csv_and_a_binary_csv_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        load(tmp_path / "empty.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(DataError, match=r"not a csv file that can be read|lacks the column"):
        load(tmp_path / "binary.csv")


def test_a_csv_refuses_what_it_cannot_hold(faces: Dataset, tmp_path: Path) -> None:
    import dataclasses

    colour = dataclasses.replace(faces, images=np.zeros((30, 8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"write a .parquet file or a folder"):
        save(colour, tmp_path / "x.csv")
    assert list(tmp_path.glob("x.csv*")) == []


@pytest.mark.parametrize("sep", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_csv_of_a_spreadsheet_is_the_same_data(faces: Dataset, tmp_path: Path, sep: str, encoding: str) -> None:
    save(faces, tmp_path / "fer2013.csv")
    text = (tmp_path / "fer2013.csv").read_text().replace(",", sep)
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    assert load(tmp_path / "x.csv").data_hash == faces.data_hash


def test_csv_labels_as_floats_are_the_same_numbers(faces: Dataset, tmp_path: Path) -> None:
    save(faces, tmp_path / "fer2013.csv")
    header, *rows = (tmp_path / "fer2013.csv").read_text().splitlines()
    write_rows(tmp_path / "x.csv", [f"{row[0]}.0{row[1:]}" for row in rows], header=header)
    assert load(tmp_path / "x.csv").data_hash == faces.data_hash


def test_csv_labels_as_names_stay_the_user_s_own(tmp_path: Path) -> None:
    rows = [f"{name},{pixels(k)},Training" for k, name in enumerate(("Joy", "anger", "sad", "Joy"))]
    dataset = load(write_rows(tmp_path / "x.csv", rows))
    assert dataset.labels == ("anger", "Joy", "sad")
    assert dataset.targets.tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("header", ["emotion,pixels", "pixels, Emotion"])
def test_csv_without_usage_is_divided_by_content_and_says_so(tmp_path: Path, header: str) -> None:
    rows = [f"{k % 7},{pixels(k)}" if header.startswith("e") else f"{pixels(k)},{k % 7}" for k in range(100)]
    dataset = load(write_rows(tmp_path / "x.csv", rows, header=header))
    assert dataset.split_names == ("train", "public_test", "private_test")
    assert "no split is named, so the images are divided 80/10/10" in dataset.notes[0]
    assert dataset.labels == FER7


def test_csv_of_train_and_test_gets_a_validation_part(tmp_path: Path) -> None:
    rows = [f"{k % 7},{pixels(k)},{'Training' if k < 80 else 'PrivateTest'}" for k in range(100)]
    dataset = load(write_rows(tmp_path / "x.csv", rows))
    assert dataset.split_names == ("train", "public_test", "private_test")
    assert (dataset.split_ids == 2).sum() == 20 and "of the 80 train images" in dataset.notes[0]


def test_csv_numbers_beyond_fer2013_s_need_a_name_or_go(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "ck.csv", [f"{k % 8},{pixels(k)},Training" for k in range(40)])
    with pytest.raises(
        DataError, match=r"line 9: emotion is '7', expected 0 to 6.*--label-map 7=NAME.*--drop-labels=7"
    ):
        load(path)
    assert set(load(path, label_map="7=contempt").labels) == {*FER7, "contempt"}
    dropped = load(path, drop_labels="7")
    assert dropped.labels == FER7 and len(dropped) == 35
    assert "--drop-labels 7 leaves out 5 of 40 images" in " ".join(dropped.notes)
    with pytest.raises(DataError, match="emotion is '7'"):
        load(path)


def test_csv_in_another_order_is_read_in_the_order_that_is_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "raf.csv", [f"{k % 7 + 1},{pixels(k)},Training" for k in range(14)])
    dataset = load(path, label_map="raf7")
    assert [dataset.labels[t] for t in dataset.targets[:7]] == list(RAF7)


def test_csv_numbers_in_a_column_of_another_name_are_not_taken_for_fer2013_s(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.csv", [f"{k % 7},{pixels(k)}" for k in range(14)], header="label,pixels")
    with pytest.raises(DataError, match="are numbers without names"):
        load(path)
    assert load(path, label_map="fer7").labels == FER7
