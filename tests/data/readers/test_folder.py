"""Class folders: splits by name, folder or content, labels, links, and folders that hold no images."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.cli._shared import write_json
from fervit.data import Dataset, load, save
from fervit.data.audit import inspect
from fervit.data.cache import content_hash
from fervit.data.readers import class_folders
from fervit.errors import DataError
from tests.helpers.data_files import write_image, write_rows

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_kaggle_folder_tells_the_split_by_the_file_name(tmp_path: Path) -> None:
    for k, name in enumerate(("train/angry/Training_10.png", "train/happy/Training_2.png",
                              "test/angry/PrivateTest_5.png", "test/sad/PublicTest_7.png")):  # fmt: skip
        write_image(tmp_path / "fer" / name, seed=k)
    dataset = load(tmp_path / "fer")
    assert dataset.sources == ["train/happy/Training_2.png", "train/angry/Training_10.png",
                               "test/sad/PublicTest_7.png", "test/angry/PrivateTest_5.png"]  # fmt: skip
    assert dataset.split_ids.tolist() == [0, 0, 1, 2]
    assert dataset.labels == ("angry", "happy", "sad")
    assert dataset.targets.tolist() == [1, 0, 2, 0]
    assert dataset.images.shape == (4, 48, 48, 1)


@pytest.mark.parametrize(
    "names", [("Train", "VAL", "Test"), ("training", "valid", "testing"), ("train", "Validation", "test")]
)
def test_split_folders_are_known_in_any_case(tmp_path: Path, names: tuple[str, ...]) -> None:
    for k, name in enumerate(names):
        write_image(tmp_path / "d" / name / "Happiness" / f"{k}.jpg", seed=k)
    dataset = load(tmp_path / "d")
    assert dataset.split_ids.tolist() == [0, 1, 2]
    assert dataset.labels == ("Happiness",)


def test_a_plain_class_folder_is_split_by_content(tmp_path: Path) -> None:
    for k in range(200):
        write_image(tmp_path / "d" / ("Anger", "joy")[k % 2] / f"{k}.png", size=(8, 8), seed=k)
    dataset = load(tmp_path / "d")
    counts = np.bincount(dataset.split_ids, minlength=3)
    assert 140 <= counts[0] <= 175
    assert counts[1:].min() >= 8
    splits = dict(zip(dataset.sources or (), dataset.split_ids, strict=True))
    (tmp_path / "d" / "joy" / "1.png").rename(tmp_path / "d" / "joy" / "renamed.png")
    (tmp_path / "d" / "Anger" / "0.png").unlink()
    again = load(tmp_path / "d")
    assert len(again) == 199
    for source, split in zip(again.sources or (), again.split_ids, strict=True):
        assert split == splits["joy/1.png" if source == "joy/renamed.png" else source]


def test_labels_are_the_folders_own_names_sorted_by_what_they_mean(tmp_path: Path) -> None:
    for name in ("Happiness", "contempt", "Anger"):
        write_image(tmp_path / "d" / "train" / name / "x.png")
    assert load(tmp_path / "d").labels == ("Anger", "contempt", "Happiness")


def test_folders_without_images_say_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no images; expected train/angry/x.jpg"):
        load(tmp_path / "empty")
    write_image(tmp_path / "loose" / "x.png")
    with pytest.raises(DataError, match="holds 1 loose images and no class folders"):
        load(tmp_path / "loose")
    write_rows(tmp_path / "empty" / "fer2013.csv", [])
    with pytest.raises(DataError, match=r"but fer2013.csv: pass that file"):
        load(tmp_path / "empty")


def test_links_that_lead_up_or_nowhere_do_no_harm(tmp_path: Path) -> None:
    write_image(tmp_path / "d" / "train" / "sad" / "a.png")
    try:
        (tmp_path / "d" / "train" / "sad" / "up").symlink_to(tmp_path / "d", target_is_directory=True)
        (tmp_path / "d" / "train" / "sad" / "dead.png").symlink_to(tmp_path / "gone.png")
    except OSError:
        pytest.skip("this system makes no links")
    dataset = load(tmp_path / "d")
    assert dataset.sources == ["train/sad/a.png"]
    assert dataset.skipped == ("train/sad/dead.png",)


def test_a_file_without_a_split_among_files_with_one_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "d" / "sad" / "PublicTest_1.png")
    write_image(tmp_path / "d" / "sad" / "x.png")
    with pytest.raises(DataError, match=r"sad/x.png is in no split while other files are"):
        load(tmp_path / "d")


def test_a_changed_image_is_decoded_again(tmp_path: Path) -> None:
    write_image(tmp_path / "d" / "train" / "sad" / "a.png", seed=1)
    first = load(tmp_path / "d").data_hash
    write_image(tmp_path / "d" / "train" / "sad" / "a.png", seed=2)
    assert load(tmp_path / "d").data_hash != first


def test_train_and_test_without_a_validation_part_get_one(tmp_path: Path) -> None:
    for k in range(120):
        write_image(tmp_path / "d" / ("test" if k % 4 == 0 else "train") / ("sad", "joy")[k % 2] / f"{k}.png", seed=k)
    dataset = load(tmp_path / "d")
    counts = np.bincount(dataset.split_ids, minlength=3)
    assert counts[2] == 30 and counts.sum() == 120 and 2 <= counts[1] <= 18
    assert any(f"{counts[1]} of the 90 train images (about a tenth" in note for note in dataset.notes)
    again = load(tmp_path / "d")
    assert again.notes == dataset.notes, "it is said at every loading, from the cache too"


@pytest.mark.parametrize("seed", [1, 2])
def test_an_image_that_changed_within_its_size_and_time_is_decoded_again(tmp_path: Path, seed: int) -> None:
    for k in range(3):
        write_image(tmp_path / "d" / "train" / ("sad", "joy")[k % 2] / f"{k}.bmp", seed=10 + k)
    path = tmp_path / "d" / "train" / "sad" / "0.bmp"
    first, before = load(tmp_path / "d"), path.stat()
    write_image(path, seed=seed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert load(tmp_path / "d").data_hash != first.data_hash


def test_the_content_of_a_sample_of_files_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = class_folders.ImageFile
    monkeypatch.setattr(class_folders, "ImageFile", lambda path, size_bytes, _: original(path, size_bytes, (0, 0)))
    for k in range(3):
        write_image(tmp_path / "d" / "train" / ("sad", "joy")[k % 2] / f"{k}.bmp", seed=10 + k)
    first = load(tmp_path / "d")
    write_image(tmp_path / "d" / "train" / "sad" / "0.bmp", seed=1)
    assert load(tmp_path / "d").data_hash != first.data_hash


def test_a_label_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    images, splits = np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int8)
    for label in ("a/b", "..", ".hidden", "__x"):
        dataset = Dataset("x", ("angry", label), images, np.array([0, 1]), splits, np.arange(2), "0" * 64)
        with pytest.raises(DataError, match="no folder can have the name of the label"):
            save(dataset, tmp_path / "out")


def test_labels_that_no_image_has_survive_saving_and_overwriting(faces: Dataset, tmp_path: Path) -> None:
    few = faces.take(np.flatnonzero(faces.targets < 3))
    for name in ("x", "x.parquet"):
        save(few, tmp_path / name)
        assert load(tmp_path / name).labels == faces.labels
        assert load(tmp_path / name).data_hash == content_hash(few.images, few.targets, few.split_ids)
    save(few.with_labels([*few.labels, "contempt"]), tmp_path / "x", overwrite=True)
    assert set(load(tmp_path / "x").labels) == {*faces.labels, "contempt"}


@pytest.mark.skipif(sys.platform != "linux", reason="such names are of Linux")
def test_names_that_are_not_utf8_stay_apart_and_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / os.fsdecode(b"set\xff")
    write_image(folder / "train" / "sad" / "a.png", seed=1)
    for k, name in enumerate((b"n\xff.png", b"n\xfe.png", rb"n\xff.png", b"broken\xfd.png")):
        path = folder / "train" / "happy" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (48, 48), 50 * k).save(tmp_path / "a.png")
        path.write_bytes(b"broken" if b"broken" in name else (tmp_path / "a.png").read_bytes())
    dataset = load(folder)
    assert dataset.sources is not None
    names = {f"train/happy/{name}" for name in (r"n\xff.png", r"n\xfe.png", r"n\\xff.png")}
    assert set(dataset.sources) == {*names, "train/sad/a.png"}
    assert dataset.skipped == (r"train/happy/broken\xfd.png",)
    write_json("-", inspect(dataset).to_dict())
    assert r"broken\\xfd.png" in capsys.readouterr().out
