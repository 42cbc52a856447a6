"""Details of single forms: lists with faults, file names, sequences, and what is told when a name does not fit."""

from pathlib import Path

import numpy as np
import pytest

from fervit.data import form_of, load
from fervit.data.labelling.conventions import RAFDB
from fervit.data.listing import ReadOptions
from fervit.data.readers.named.forms import NAMED, read_named, recognise
from fervit.errors import DataError
from tests.helpers.public_sets import (
    affectnet_annotations,
    affectnet_folders,
    affectnet_lists,
    ckplus_classes,
    ckplus_sequences,
    expw,
    faces,
    fer2013_folders,
    ferplus,
    jaffe,
    rafdb_folders,
    rafdb_list,
    save,
    yolo,
)

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_the_form_stands_before_the_colon(tmp_path: Path) -> None:
    assert form_of(f"rafdb:{tmp_path}") == "rafdb" and form_of(f"RAFDB:{tmp_path}") == "rafdb"
    assert form_of("hub:someone/faces") == "hub"
    with pytest.raises(DataError, match=r"no data set at nothing; rafdb: expects list_patition_label\.txt and"):
        load("rafdb:nothing")
    with pytest.raises(DataError, match=r"no data set at rafbd:x: unknown form 'rafbd': did you mean 'rafdb'"):
        load("rafbd:x")
    with pytest.raises(DataError, match=r"is no folder; expected a folder of class folders"):
        load("folder:nothing")
    (tmp_path / "x.txt").touch()
    with pytest.raises(DataError, match=r"x\.txt is no file of ExpW that fervit reads; expected label\.lst"):
        load(f"expw:{tmp_path / 'x.txt'}")


def test_another_data_set_than_the_named_one_is_told(tmp_path: Path) -> None:
    folder = jaffe(tmp_path / "jaffe", faces()[:7])
    with pytest.raises(
        DataError, match=r"is no RAF-DB that fervit knows: its class folders would be jaffedbase; rafdb: e"
    ):
        load(f"rafdb:{folder}")
    with pytest.raises(DataError, match="one label cannot be learned"):
        load(f"folder:{folder}")


def test_votes_are_refused_for_folders_of_fer2013(tmp_path: Path) -> None:
    folder = fer2013_folders(tmp_path / "fer", faces()[:14])
    votes = ferplus(tmp_path / "votes", faces()[:14]) / "fer2013new.csv"
    with pytest.raises(DataError, match=r"votes are joined by fer2013\.csv's rows; .* has no such order"):
        load(f"fer2013:{folder}", votes=votes)


def test_numbers_on_the_hub_have_the_names_of_the_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(
        "fervit.data.readers.hub.read_hub", lambda repo, options: read.append((repo, options.convention))
    )
    read_named("someone/raf-db", "rafdb", ReadOptions())
    read_named("someone/faces", "hub", ReadOptions())
    assert read == [("someone/raf-db", RAFDB), ("someone/faces", None)]


def test_a_form_that_was_recognised_can_be_overruled(tmp_path: Path) -> None:
    folder = rafdb_folders(tmp_path / "raf", faces())
    assert set(load(folder).labels) == set(load(f"rafdb:{folder}").labels) and "surprise" in load(folder).labels
    plain = load(f"folder:{folder}")
    assert plain.labels == ("1", "2", "3", "4", "5", "6", "7")
    assert any("are numbers and stay as they are" in note for note in plain.notes)


def test_numbers_are_never_guessed(tmp_path: Path) -> None:
    folder = affectnet_folders(tmp_path / "numbers", faces())
    assert recognise(folder) is None
    assert load(folder).labels == ("0", "1", "2", "3", "4", "5", "6")
    assert set(load(f"affectnet:{folder}").labels) == {
        "neutral",
        "happy",
        "sad",
        "surprise",
        "fear",
        "disgust",
        "angry",
    }


def test_numbers_of_a_form_can_be_renamed_and_others_keep_its_names(tmp_path: Path) -> None:
    folder = rafdb_list(tmp_path / "raf", faces())
    dataset = load(folder, label_map="1=astonished")
    assert {"astonished", "happy"} <= set(dataset.labels)
    assert any("the other numbers are named as RAF-DB counts: 2 = fear" in note for note in dataset.notes)
    assert "surprise" not in load(folder, drop_labels="surprise").labels


@pytest.mark.parametrize("text", ["train_00001.jpg", "", "train_00001.jpg 5\ntest_0001.jpg"])
def test_a_malformed_list_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "raf").mkdir()
    (tmp_path / "raf" / "list_patition_label.txt").write_text(text)
    with pytest.raises(DataError, match=r"list_patition_label\.txt(, line [12]: expected 2 values| is empty)"):
        load(tmp_path / "raf")


def test_original_images_do_where_there_are_no_aligned_ones(tmp_path: Path) -> None:
    folder = rafdb_list(tmp_path / "raf", faces()[:14])
    for path in sorted(folder.rglob("*.jpg")):
        path.rename(path.with_name(path.name.replace("_aligned", "")))
    assert len(load(folder)) == 14


def test_one_list_of_affectnet_is_read_by_its_own_name(tmp_path: Path) -> None:
    folder = affectnet_lists(tmp_path / "set", faces())
    (folder / "training.csv").rename(folder / "faces.csv")
    (folder / "validation.csv").unlink()
    dataset = load(f"affectnet:{folder / 'faces.csv'}")
    assert len(dataset) == 56 and dataset.split_names == ("train", "public_test", "private_test")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("90,40,96", "90,forty,96", r"line 3: expected a number for face_y, got 'forty'"),
        ("subDirectory_filePath,", "path,", "no images|several data sets|is read as"),
    ],
)
def test_a_malformed_row_of_affectnet_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = affectnet_lists(tmp_path / "set", faces()[:7])
    (folder / "validation.csv").unlink()
    text = (folder / "training.csv").read_text()
    (folder / "training.csv").write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        load(folder)


def test_an_annotation_that_is_no_number_is_named(tmp_path: Path) -> None:
    folder = affectnet_annotations(tmp_path / "set", faces()[:7])
    path = folder / "train_set" / "annotations" / "0_exp.npy"
    for content in (b"", b"junk", b"\x93NUMPY" + b"0" * 3000):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"0_exp\.npy is no annotation of an expression, one number"):
            load(folder)
    np.save(path, np.array([{"pickled": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is no annotation"):
        load(folder)


def test_an_annotated_image_that_is_not_there_is_counted(tmp_path: Path) -> None:
    folder = affectnet_annotations(tmp_path / "set", faces()[:14])
    (folder / "train_set" / "images" / "1.jpg").unlink()
    assert load(folder).skipped == ("train_set/images/1.jpg",)


def test_frames_of_ckplus_are_the_last_three_and_the_first(tmp_path: Path) -> None:
    dataset = load(ckplus_sequences(tmp_path / "ck", faces(2)))
    own = [source for source in dataset.sources or () if "S001/003/" in source]
    assert [name.rpartition("_")[2] for name in own] == ["00000001.png", "00000003.png", "00000004.png", "00000005.png"]
    assert any(
        note.startswith("of each of the 11 labelled sequences, the last 3 frames have its label, and the first one")
        for note in dataset.notes
    )
    assert set(dataset.subjects or ()) == {"S000", "S001"}


def test_a_label_without_its_sequence_is_counted_and_a_malformed_one_refused(tmp_path: Path) -> None:
    folder = ckplus_sequences(tmp_path / "ck", faces(2))
    (folder / "cohn-kanade-images" / "S001" / "003").rename(folder / "elsewhere")
    notes = load(folder).notes
    assert any("1 labelled sequences have no frames here, the first is Emotion/S001/003/" in note for note in notes)
    (folder / "Emotion" / "S001" / "004" / "S001_004_00000005_emotion.txt").write_text("happy")
    with pytest.raises(DataError, match="expected a number for the expression, got 'happy'"):
        load(folder)
    (folder / "cohn-kanade-images").rename(folder / "images")
    for each in (folder / "images").glob("S*"):
        each.rename(each.with_name(f"person {each.name}"))
    with pytest.raises(DataError, match="but no folder S005/001 with the frames"):
        load(f"ckplus:{folder}")


def test_people_are_told_by_names_in_class_folders_of_ckplus(tmp_path: Path) -> None:
    dataset = load(ckplus_classes(tmp_path / "ck", faces()))
    assert sorted(set(dataset.subjects or ())) == [f"S{k:03d}" for k in range(10)]


def test_other_files_beside_jaffe_s_are_counted(tmp_path: Path) -> None:
    folder = jaffe(tmp_path / "jaffe", faces()[:14])
    save(folder / "jaffedbase" / "portrait.png", faces()[0].image)
    (folder / "jaffedbase" / "~hidden.txt").touch()
    dataset = load(f"jaffe:{folder}")
    assert len(dataset) == 14
    assert any("1 files are named otherwise than KA.AN1.39.tiff and are left out" in note for note in dataset.notes)
    assert recognise(folder) == ("jaffe", "files such as KA.AN1.5.tiff")
    with pytest.raises(DataError, match="is no copy of JAFFE: expected files such as"):
        load(f"jaffe:{expw(tmp_path / 'expw', faces()[:7])}")


@pytest.mark.parametrize("numbers", ["x.jpg 0 1 2 3 4 5", "x.jpg 0 one 2 3 4 5 6"])
def test_a_malformed_line_of_expw_is_named(tmp_path: Path, numbers: str) -> None:
    folder = expw(tmp_path / "expw", faces()[:7])
    (folder / "label" / "label.lst").write_text(numbers)
    save(folder / "x.jpg", faces()[0].image)
    with pytest.raises(DataError, match=r"label\.lst, line 1( of label\.lst)?: expected (8 values|a number for top)"):
        load(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("nc: 7\n", "has no names of classes; expected a line such as names:"),
        ("names: [a", "is no YAML file that can be read"),
        ("names: {1: sad, 3: joy}\n", "has no names of classes"),
        (None, "but no data.yaml with the names of classes"),
    ],
)
def test_yolo_needs_names_of_classes(tmp_path: Path, config: str | None, message: str) -> None:
    folder = yolo(tmp_path / "yolo", faces()[:7])
    if config is None:
        (folder / "data.yaml").unlink()
    else:
        (folder / "data.yaml").write_text(config)
    with pytest.raises(DataError, match=message):
        load(f"yolo:{folder}")


def test_yolo_counts_images_without_a_face_and_names_malformed_lines(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo", faces()[:14])
    dataset = load(folder)
    assert any(
        "1 images have no labelled face and are left out, the first is train/images/wi" in n for n in dataset.notes
    )
    (folder / "train" / "labels" / "x0.txt").write_text("1 0.5 0.5\n")
    with pytest.raises(DataError, match=r"line 1 of train/labels/x0\.txt has 3 numbers, expected 5"):
        load(folder)


def test_class_folders_of_anything_else_are_not_recognised(tmp_path: Path) -> None:
    for k, face in enumerate(faces()[:14]):
        save(tmp_path / "plain" / "train" / face.label / f"image_{k}.jpg", face.image)
    assert recognise(tmp_path / "plain") is None
    assert all(form.layout for form in NAMED.values())
