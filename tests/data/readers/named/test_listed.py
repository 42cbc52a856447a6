"""Faces that lists name: cut out by their boxes as a recognizer cuts them, and told apart where there are several."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.data import load
from fervit.data.readers.named import listed
from fervit.errors import DataError
from fervit.media.crops import crop_face
from fervit.types import Box
from tests.helpers.public_sets import BOX, affectnet_lists, expw, faces, photo, save, yolo

pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.mark.parametrize("write", [expw, yolo, affectnet_lists])
def test_a_box_is_cut_with_the_margin_of_a_recognizer(write: object, tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "set", faces()[:14]))  # type: ignore[operator]
    side = round((BOX[2] - BOX[0]) * (1 + 2 * listed.CROP.crop_margin))
    (path,) = [
        each for each in (tmp_path / "set").rglob("*.jpg") if each.as_posix().endswith((dataset.sources or ())[0])
    ]
    whole = np.asarray(Image.open(path).convert("RGB"))
    expected = Image.fromarray(crop_face(whole, Box(*BOX), listed.CROP))
    assert expected.size == (side, side)
    size = dataset.images.shape[2], dataset.images.shape[1]
    resized = np.asarray(expected.resize(size, Image.Resampling.BILINEAR), dtype=float)
    image = np.broadcast_to(dataset.images[0].astype(float), resized.shape)
    assert abs(image - resized).mean() < 2


def test_faces_of_one_photo_are_told_apart_and_stay_on_one_side(tmp_path: Path) -> None:
    left, top, right, bottom = BOX
    lines = []
    for k, face in enumerate(faces()[:40]):
        save(tmp_path / "set" / "origin" / f"{k}.jpg", photo(face))
        for shift in (0, 6):
            lines.append(f"{k}.jpg {shift} {top} {left + shift} {right + shift} {bottom} 9.5 {(k + shift) % 7}")
    (tmp_path / "set" / "label.lst").write_text("\n".join(lines))
    dataset = load(tmp_path / "set")
    assert len(dataset) == 80 and (dataset.sources or ())[:0] == []
    assert sorted(dataset.sources or ())[:2] == ["origin/0.jpg#1", "origin/0.jpg#2"]
    sides = dict[str, set[int]]()
    for source, split in zip(dataset.sources or (), dataset.split_ids.tolist(), strict=True):
        sides.setdefault(source.partition("#")[0], set()).add(split)
    assert all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize("box", ["500 10 600 90", "40 90 90 60", "-90 -90 -10 -10"])
def test_a_box_with_nothing_in_it_is_a_face_that_cannot_be_read(tmp_path: Path, box: str) -> None:
    write = expw(tmp_path / "set", faces()[:14])
    text = (write / "label" / "label.lst").read_text().splitlines()
    name = text[3].rsplit(maxsplit=7)[0]
    text[3] = f"{name} 0 {box} 9.5 3"
    (write / "label" / "label.lst").write_text("\n".join(text))
    dataset = load(write)
    assert len(dataset) == 13 and dataset.skipped == (f"image/origin/{name}",)


def test_a_box_as_large_as_its_image_is_no_box(tmp_path: Path) -> None:
    for k, face in enumerate(faces()[:14]):
        save(tmp_path / "set" / "train" / "images" / f"{k}.png", face.image)
        (tmp_path / "set" / "train" / "labels").mkdir(exist_ok=True)
        (tmp_path / "set" / "train" / "labels" / f"{k}.txt").write_text(f"{k % 2} 0.5 0.5 1.0 0.99\n")
    (tmp_path / "set" / "data.yaml").write_text("names:\n  0: sad\n  1: joy\n")
    dataset = load(tmp_path / "set")
    assert dataset.labels == ("joy", "sad") and dataset.images.shape == (14, 48, 48, 1)
    assert {image.tobytes() for image in dataset.images} == {face.image.tobytes() for face in faces()[:14]}


def test_what_shows_no_expression_is_left_out_and_counted(tmp_path: Path) -> None:
    dataset = load(affectnet_lists(tmp_path / "set", faces()[:14]))
    said = "1 of 15 images show no expression and are left out (10 = no face: 1)"
    assert any(said in note for note in dataset.notes) and len(dataset) == 14
    assert any(said in note for note in load(tmp_path / "set").notes), "also from the cache"


def test_a_list_of_nothing_is_refused(tmp_path: Path) -> None:
    affectnet_lists(tmp_path / "set", faces()[:14])
    header = (tmp_path / "set" / "training.csv").read_text().splitlines()[:2]
    (tmp_path / "set" / "training.csv").write_text("\n".join(header))
    (tmp_path / "set" / "validation.csv").unlink()
    with pytest.raises(DataError, match="is read as AffectNet, but no image with an expression is listed"):
        load(tmp_path / "set")


@pytest.mark.parametrize("write", [expw, affectnet_lists])
def test_lists_without_their_images_say_what_is_missing(write: object, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", faces()[:7])  # type: ignore[operator]
    for path in folder.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match="but no folder here has it"):
        load(folder)
