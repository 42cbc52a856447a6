"""`crop_photos`: labelled photos become a tree of face crops, and nothing is overwritten unasked."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fervit
from fervit.data import load
from fervit.data.photos.crop_folder import crop_photos
from fervit.data.photos.listing import find_photos
from fervit.data.readers.folder import CROPS_TABLE
from fervit.errors import ConfigError, DataError
from fervit.media.crops import crop_face
from fervit.media.images import read_image
from fervit.types import Box, Face, Preprocess
from tests.helpers.whole_photos import write_photos

pytestmark = pytest.mark.usefixtures("cache_folder")
BOX = Box(40, 100, 190, 250)


class Double:
    """A detector double: no face on what is nearly black, else the drawn one; it can be made to stop."""

    parallel = True

    def __init__(self, stop_after: int | None = None):
        self.calls, self.stop_after = 0, stop_after

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        self.calls += 1
        if self.stop_after is not None and self.calls > self.stop_after:
            raise KeyboardInterrupt
        return [[Face(BOX, 0.9)] if image.mean() > 10 else [] for image in images]


def how(detector: Double | None = None, margin: float = 0.0) -> dict[str, Any]:
    return {"detector": detector or Double(), "margin": margin}


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / CROPS_TABLE).open(encoding="utf-8", newline="") as file:
        return {row["source"]: row for row in csv.DictReader(file)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven photos, one of them black and one broken."""
    folder = tmp_path / "photos"
    names = write_photos(folder, 7)
    Image.new("RGB", (640, 480)).save(folder / names[2])
    (folder / names[5]).write_bytes(b"broken")
    return folder


def test_the_tree_stays_and_every_photo_has_a_row(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "crops ü"
    counts = crop_photos(photos, out, **how())
    assert (counts.photos, counts.crops, counts.missed, counts.failed, counts.before) == (7, 5, 1, 1, 0)
    table = rows(out)
    assert list(table) == sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    for source, row in table.items():
        if row["crop"]:
            assert row["crop"] == source.replace(".jpg", ".png") and row["faces"] == "1" and row["score"] == "0.9000"
            assert [float(row[name]) for name in ("x1", "y1", "x2", "y2")] == BOX.to_list()
            expected = crop_face(read_image(photos / source), BOX, Preprocess(1, (0.0,) * 3, (1.0,) * 3))
            np.testing.assert_array_equal(read_image(out / row["crop"]), expected)  # in the photo's own resolution
    assert sum(row["faces"] == "0" for row in table.values()) == 1
    assert [row["error"] for row in table.values() if row["error"]] == [
        "it is not an image (expected JPEG, PNG, GIF, BMP, PPM, WEBP, TIFF, AVIF, HEIF)"
    ]
    cropped = load(out, detect="haar")
    assert len(cropped) == 5 and cropped.face_counts is None
    assert any("--detect changes nothing here: fervit cut or wrote" in note for note in cropped.notes)


def test_a_run_that_was_ended_goes_on(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fervit.data.photos.cutting.cores", lambda: 1)
    whole, out = tmp_path / "whole", tmp_path / "out"
    crop_photos(photos, whole, **how())
    with pytest.raises(KeyboardInterrupt):
        crop_photos(photos, out, **how(Double(stop_after=3)))
    with (out / CROPS_TABLE).open("a", encoding="utf-8") as file:
        file.write("train/happy/99")  # a row that a kill cut short
    again = Double()
    counts = crop_photos(photos, out, **how(again))
    assert 0 < counts.before < 7 and again.calls == 6 - counts.before
    assert rows(out) == rows(whole)
    assert {path.relative_to(out) for path in out.rglob("*.png")} == {
        p.relative_to(whole) for p in whole.rglob("*.png")
    }
    third = Double()
    assert crop_photos(photos, out, **how(third)).before == 6 and third.calls == 0  # the broken one is tried again


def test_nothing_is_overwritten_unasked(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    crop_photos(photos, out, **how())
    with pytest.raises(ConfigError, match=r"was cut by Double with margin 0, and is to be by Double with 0\.2"):
        crop_photos(photos, out, **how(margin=0.2))
    before = rows(out)
    assert crop_photos(photos, out, **how(margin=0.2), overwrite=True).crops == 5
    assert rows(out) != before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds files and no crops\.csv"):
        crop_photos(photos, mine, **how())
    other = tmp_path / "other"
    write_photos(other, 1)
    with pytest.raises(ConfigError, match="5 photos that are not to be cut now"):
        crop_photos(other, out, **how(margin=0.2))


def test_a_file_that_has_a_crops_name_is_an_error_of_that_photo(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    crop_photos(photos, out, **how())
    name = next(row["crop"] for row in rows(out).values() if row["crop"])
    lines = (out / CROPS_TABLE).read_text().splitlines(keepends=True)
    (out / CROPS_TABLE).write_text("".join(line for line in lines if name not in line))
    (out / name).write_bytes(b"mine")
    assert crop_photos(photos, out, **how()).failed == 2
    assert (out / name).read_bytes() == b"mine"


@pytest.mark.parametrize("inside", [".", "crops", "train/crops"])
def test_crops_do_not_go_among_the_photos(photos: Path, inside: str) -> None:
    with pytest.raises(ConfigError, match="crops would be taken for photos"):
        crop_photos(photos, photos / inside, **how())


def test_photos_of_one_stem_and_of_one_name_keep_apart(tmp_path: Path) -> None:
    for name in ("a/x.jpg", "a/X.png", "a/y.jpg", "b/y.jpg"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / "p" / name)
    assert [photo.crop for photo in find_photos(tmp_path / "p")] == ["a/X.png.png", "a/x.jpg.png", "a/y.png", "b/y.png"]
    (tmp_path / "list.csv").write_text("path,label\np/a/y.jpg,happy\np/b/y.jpg,happy\np/b/y.jpg,happy\n")
    assert [photo.crop for photo in find_photos(tmp_path / "list.csv")] == ["happy/y.jpg.png", "happy/y.jpg-2.png"]


def test_a_list_makes_folders_of_splits_and_labels(tmp_path: Path) -> None:
    names = write_photos(tmp_path / "photos", 4)
    lines = [
        f"photos/{name};{'joy' if k % 2 else 'anger'};{'test' if k == 3 else 'training'}"
        for k, name in enumerate(names)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["filename;label;split", *lines]))
    counts = crop_photos(tmp_path / "list.csv", tmp_path / "crops", **how())
    assert counts.crops == 4
    assert sorted(
        path.parent.relative_to(tmp_path / "crops").as_posix() for path in (tmp_path / "crops").rglob("*.png")
    ) == [*("test/joy", "train/anger", "train/anger", "train/joy")]
    (tmp_path / "list.txt").write_text("\n".join(f"photos/{name}" for name in names))
    assert [photo.crop for photo in find_photos(tmp_path / "list.txt")] == [f"photos/{n[:-4]}.png" for n in names]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "path,label\na.jpg,../x\n", "cannot be the name of a folder"),
        ("list.csv", "path,label,split\na.jpg,happy,holdout\n", "'holdout' is no split"),
        ("list.csv", "face,label\na.jpg,happy\n", "names no photos"),
        ("list.csv", "path\n/elsewhere/a.jpg\n", "lies outside of the list's folder"),
        ("list.txt", "\n", "is empty"),
        ("list.doc", "a.jpg", "is no list of photos"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        find_photos(tmp_path / name)


def test_what_is_no_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photos at"):
        fervit.crop_photos(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        fervit.crop_photos(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ConfigError, match="expected a margin"):
        fervit.crop_photos(tmp_path / "empty", tmp_path / "out", margin=-0.5)
