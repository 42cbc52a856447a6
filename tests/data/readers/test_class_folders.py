"""Layouts of folders: wrapped, nested, class first, several data sets in one; and files that are no images."""

import os
import threading
import zlib
from pathlib import Path

import pytest

from fervit.data import Dataset, load
from fervit.data.readers import class_folders
from fervit.errors import DataError
from tests.helpers.data_files import write_image

pytestmark = pytest.mark.usefixtures("cache_folder")

LABELS = ("angry", "happy", "sad")


def write(folder: Path, *relatives: str) -> Path:
    """Write an image of its own into each of these folders."""
    for relative in relatives:
        write_image(folder / relative / "x.png", size=(8, 8), seed=zlib.crc32(relative.encode()))
    return folder


def write_set(folder: Path, pattern: str, *, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """Write an image for every split and label, where the pattern says, such as `{split}/{label}`."""
    return write(folder, *dict.fromkeys(pattern.format(split=s, label=x) for s in splits for x in LABELS))


def splits_of(dataset: Dataset) -> list[int]:
    return [int((dataset.split_ids == k).sum()) for k in range(3)]


@pytest.mark.parametrize(
    ("pattern", "inside"),
    [
        ("{split}/{label}", ""),
        ("archive/DATASET/{split}/{label}", "looked for in archive/DATASET"),
        ("images/{split}/{label}", "looked for in images"),
        ("{split}/images/{label}", "of train are looked for in train/images"),
        ("{split}/{split}/{label}", "of train are looked for in train/train"),
        ("{label}/{split}", ""),
        ("data/{label}/{split}", "looked for in data"),
        ("{split}/{label}/subject 1/session 2", ""),
        ("FER/{split}_set/{label}", "looked for in FER"),
    ],
)
def test_wrappers_are_looked_through_and_splits_found(tmp_path: Path, pattern: str, inside: str) -> None:
    dataset = load(write_set(tmp_path / "d", pattern))
    assert dataset.labels == LABELS
    assert splits_of(dataset) == [3, 3, 3]
    said = " ".join(dataset.notes)
    assert inside in said and bool(inside) == ("looked for" in said)


def test_wrapped_class_folders_without_splits_are_found(tmp_path: Path) -> None:
    dataset = load(write_set(tmp_path / "d", "archive/DATASET/{label}"))
    assert dataset.labels == LABELS
    assert dataset.notes[0] == "the class folders are looked for in archive/DATASET"


def test_what_lies_beside_is_left_out_and_said(tmp_path: Path) -> None:
    write_set(tmp_path / "d", "images/{split}/{label}")
    write_set(tmp_path / "d", "images/images/{split}/{label}")
    write(tmp_path / "d", "masks", "images/train", "__MACOSX/images/train/angry", ".hidden/angry")
    (tmp_path / "d" / "labels").mkdir()
    (tmp_path / "d" / "labels" / "x.txt").write_text("0 0.5 0.5 1 1")
    dataset = load(tmp_path / "d")
    assert dataset.labels == LABELS and splits_of(dataset) == [3, 3, 3]
    said = " ".join(dataset.notes)
    for words in (
        "masks beside images left out",
        "images/images beside images/test",
        "11 images lie in no class folder",
    ):
        assert words in said, said


@pytest.mark.parametrize(
    "patterns",
    [
        ("FER/{split}/{label}", "RAF/{split}/{label}"),
        ("aligned/{label}", "original/{label}"),
        ("wrap/FER/{split}/{label}", "wrap/RAF/{split}/{label}"),
    ],
)
def test_several_data_sets_in_a_folder_are_not_mixed(tmp_path: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        write_set(tmp_path / "d", pattern)
    with pytest.raises(DataError, match=r"holds several data sets \(\w+, \w+\): pass one of these folders"):
        load(tmp_path / "d")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{split}", "test (1 images), train (1 images), val (1 images), but"),
        ("images/{split}", "images (3 images), but images would be no expression"),
        ("{split}/images", "images (3 images)"),
        ("DATASET", "DATASET (1 images), but DATASET would be no expression"),
        ("RAF", "RAF (1 images), but one label cannot be learned"),
        ("RAF/{split}", "RAF (3 images), but one label cannot be learned"),
    ],
)
def test_a_layout_without_class_folders_is_refused_with_what_was_understood(
    tmp_path: Path, pattern: str, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(write_set(tmp_path / "d", pattern))
    assert words in str(caught.value)
    assert "expected a label for each expression: in folders train/angry/x.jpg" in str(caught.value)


def test_a_split_of_one_class_is_not_looked_through(tmp_path: Path) -> None:
    write(tmp_path / "d", "train/p/1", "train/p/2", "train/q/1", "test/p/1", "test/p/2")
    dataset = load(tmp_path / "d")
    assert dataset.labels == ("p", "q")


def test_an_empty_folder_of_an_expression_is_a_label_and_other_empty_ones_are_none(tmp_path: Path) -> None:
    write_set(tmp_path / "d", "{label}")
    (tmp_path / "d" / "Contempt").mkdir()
    (tmp_path / "d" / "output").mkdir()
    dataset = load(tmp_path / "d")
    assert dataset.labels == ("angry", "Contempt", "happy", "sad")
    assert any(note.startswith("no train image has the label") and "Contempt" in note for note in dataset.notes)


def test_unlabelled_faces_of_several_people_are_one_set(tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "d", "train/unlabelled/anna", "train/unlabelled/ben"))
    assert dataset.labels == ("unlabelled",) and len(dataset) == 2 and dataset.split_names == ("train",)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "socket", "link to a pipe"])
def test_special_files_are_counted_and_never_opened(tmp_path: Path, kind: str) -> None:
    odd = write_set(tmp_path / "d", "{split}/{label}") / "train" / "angry" / "odd.jpg"
    if kind == "link to a device":
        odd.symlink_to("/dev/zero")
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(odd))
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        os.mkfifo(tmp_path / "pipe")
        odd.symlink_to(tmp_path / "pipe")
    found: list[Dataset] = []
    reader = threading.Thread(target=lambda: found.append(load(tmp_path / "d")), daemon=True)
    reader.start()
    reader.join(timeout=60)
    assert found, "the reader waits for a special file"
    assert len(found[0]) == 9 and found[0].skipped == ()
    assert any("1 files are no images to read and are left out: train/angry/odd.jpg is a" in n for n in found[0].notes)


def test_a_huge_file_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "d", "{split}/{label}")
    with (tmp_path / "d" / "train" / "angry" / "huge.jpg").open("wb") as file:
        file.truncate(10**12)  # sparse: takes no space
    assert any("train/angry/huge.jpg has 1000.0 GB, more than" in note for note in load(tmp_path / "d").notes)
    monkeypatch.setattr(class_folders, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="holds no images"):
        load(tmp_path / "d")


def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    write_set(tmp_path / "d", "{split}/{label}")
    write(tmp_path / "elsewhere", "x")
    try:
        (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "d", target_is_directory=True)
        (tmp_path / "elsewhere" / "self").symlink_to("self", target_is_directory=True)
        (tmp_path / "d" / "train" / "fear").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (tmp_path / "d" / "train" / "root").symlink_to("/", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    dataset = load(tmp_path / "d")
    assert len(dataset) == 10
    assert dataset.labels == ("angry", "fear", "happy", "sad")


def test_people_above_expressions_are_no_labels(tmp_path: Path) -> None:
    for person in range(8):
        write(tmp_path / "d", f"S{person:03}/angry", f"S{person:03}/{LABELS[person % 3]}")
    with pytest.raises(DataError, match=r"several data sets \(S000, S001, S002, S003, S004, S005 and 2 more\)"):
        load(tmp_path / "d")


def test_files_without_an_image_s_ending_are_counted_at_every_loading(tmp_path: Path) -> None:
    write_set(tmp_path / "d", "{split}/{label}")
    assert load(tmp_path / "d").notes == ()
    for name in ("a.dng", "b.DNG", "c.txt", "README", "Thumbs.db", ".hidden"):
        (tmp_path / "d" / "train" / "angry" / name).write_bytes(b"x")
    for _ in range(2):
        (note,) = load(tmp_path / "d").notes
        assert note == "4 files in class folders have no image's ending: .dng 2, without one 1, .txt 1"
