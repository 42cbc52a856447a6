"""Pseudo-labels: confident faces of photos become a data set whose votes are the model's probabilities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import fervit
from fervit.data import load
from fervit.errors import ConfigError, DataError, FervitError, ImageError
from fervit.inference.recognizer import Recognizer
from fervit.labels import FER7
from fervit.media.crops import crop_face
from fervit.media.images import read_image
from fervit.pseudolabels import pseudolabel
from fervit.types import Box, Face, ModelSpec, Preprocess
from tests.helpers.whole_photos import row_of, write_photos

parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.usefixtures("own_cache")
SPEC = ModelSpec(
    "fake", Preprocess(24, (0.5,) * 3, (0.5,) * 3), labels=FER7, name="fake", licence="CC-BY-NC-4.0", data_hash="ab"
)
FIRST, SECOND = Box(40, 100, 190, 250), Box(340, 100, 640, 400)


class Double:
    """A detector double: two faces, or none on what is nearly black."""

    parallel = True

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        return [[Face(FIRST, 0.9), Face(SECOND, 0.8)] if image.mean() > 10 else [] for image in images]


class ByLevel:
    """A classifier double: label and confidence from the mean of the crop; it can be made to stop."""

    spec = SPEC

    def __init__(self, stop_after: int | None = None):
        self.calls, self.seen, self.stop_after = 0, 0, stop_after

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        self.calls += 1
        self.seen += len(crops)
        if self.stop_after is not None and self.calls > self.stop_after:
            raise KeyboardInterrupt
        rows = []
        for crop in crops:
            level = float(np.mean(crop))
            row = np.full(7, (1 - self.confidence(level)) / 6)
            row[int(level) % 7] = self.confidence(level)
            rows.append(row)
        return np.array(rows)

    @staticmethod
    def confidence(level: float) -> float:
        return 0.3 + 0.7 * (level * 10 % 1)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fervit.pseudolabels.labelling.PHOTOS_A_PART", 4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Fourteen photos, the fourth black and the sixth broken."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pseudo") / "fotos ü"
    names = write_photos(folder, 14)
    Image.new("RGB", (640, 480)).save(folder / names[3])
    (folder / names[5]).write_bytes(b"broken")
    return [folder / name for name in names]


def recognizer(classifier: ByLevel | None = None) -> Recognizer:
    return Recognizer(classifier or ByLevel(), Double(), workers=2)


@pytest.mark.slow
def test_the_file_is_a_data_set_whose_votes_are_the_models_probabilities(photos: list[Path], tmp_path: Path) -> None:
    counts = pseudolabel(recognizer(), photos, tmp_path / "d.parquet", min_confidence=0.5)
    assert (counts.photos, counts.faces, counts.without, counts.failed) == (14, 24, 1, 1)
    assert "is not an image" in counts.first_failure and str(photos[5]) in counts.first_failure
    kept = sum(counts.kept.values())
    assert 0 < kept < 24 and kept + counts.below == 24 and counts.over == 0
    dataset = load(tmp_path / "d.parquet")
    assert len(dataset) == kept and dataset.labels == FER7 and dataset.split_names == ("train",)
    assert dataset.votes is not None and dataset.votes.shape == (kept, 7)
    np.testing.assert_allclose(dataset.votes.sum(axis=1), 1, atol=1e-6)
    assert (dataset.votes.argmax(axis=1) == dataset.targets).all() and dataset.votes.max(axis=1).min() >= 0.5
    assert not (tmp_path / "d.parquet.parts").exists()
    assert load(tmp_path / "d.parquet", detect="haar").data_hash == dataset.data_hash  # they are crops already


@pytest.mark.slow
def test_every_row_says_where_its_face_is_from(photos: list[Path], tmp_path: Path) -> None:
    pseudolabel(recognizer(), photos, tmp_path / "d.parquet", min_confidence=0.0)
    rows = parquet.read_table(tmp_path / "d.parquet").to_pylist()
    assert len(rows) == 24
    for row in rows:
        first = row["filename"] == f"{row['source']}#1"
        box = FIRST if first else SECOND
        assert row["box"] == box.to_list() and row["split"] == "train"
        assert row["licence"] == "photos: terms unknown AND fake: CC-BY-NC-4.0"
        assert row["confidence"] == max(row["votes"]) and row["label_name"] == FER7[row["label"]]
        assert row["face_score"] == pytest.approx(0.9 if first else 0.8)
        written, photo = read_image(row["image"]), read_image(row["source"])
        if first:  # 150 px; the other one is resized to 224
            np.testing.assert_array_equal(written, crop_face(photo, box, SPEC.preprocess))
        assert max(written.shape[:2]) == (150 if first else 224)


@pytest.mark.slow
def test_a_run_that_was_ended_goes_on_and_its_file_is_the_same(photos: list[Path], tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "d.parquet"
    pseudolabel(recognizer(), photos, whole, min_confidence=0.5)
    with pytest.raises(KeyboardInterrupt):
        pseudolabel(recognizer(ByLevel(stop_after=2)), photos, out, min_confidence=0.5)
    assert not out.exists() and len(list((tmp_path / "d.parquet.parts").glob("*.parquet"))) == 2
    classifier = ByLevel()
    counts = pseudolabel(recognizer(classifier), photos, out, min_confidence=0.5)
    assert counts.before == 8 and counts.photos == 14 and 0 < classifier.seen < 24
    assert parquet.read_table(out).equals(parquet.read_table(whole))


@pytest.mark.slow
def test_parts_of_other_settings_are_not_taken(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "d.parquet"
    with pytest.raises(KeyboardInterrupt):
        pseudolabel(recognizer(ByLevel(stop_after=2)), photos, out, min_confidence=0.5)
    with pytest.raises(ConfigError, match="holds a run with another model, other photos or settings"):
        pseudolabel(recognizer(), photos, out, min_confidence=0.6)
    with pytest.raises(ConfigError, match="holds a run"):
        pseudolabel(recognizer(), photos[:-1], out, min_confidence=0.5)
    assert pseudolabel(recognizer(), photos, out, min_confidence=0.6, overwrite=True).before == 0
    with pytest.raises(ConfigError, match="exists; add --overwrite"):
        pseudolabel(recognizer(), photos, out, min_confidence=0.6)


@pytest.mark.slow
def test_of_each_label_the_most_confident_faces_are_kept(photos: list[Path], tmp_path: Path) -> None:
    every = pseudolabel(recognizer(), photos, tmp_path / "all.parquet", min_confidence=0.3)
    few = pseudolabel(recognizer(), photos, tmp_path / "few.parquet", min_confidence=0.3, per_class=2)
    assert few.kept == {label: min(2, count) for label, count in every.kept.items()}
    assert few.over == sum(every.kept.values()) - sum(few.kept.values()) > 0
    rows, kept = (parquet.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in ("all", "few"))
    for label in set(row["label"] for row in rows):
        own, best = ([row["confidence"] for row in each if row["label"] == label] for each in (rows, kept))
        assert sorted(best) == sorted(own)[-2:]


@pytest.mark.slow
def test_a_fraction_can_be_set_aside_for_a_run_on_them_alone(photos: list[Path], tmp_path: Path) -> None:
    pseudolabel(recognizer(), photos, tmp_path / "d.parquet", min_confidence=0.0, validation=0.4)
    splits = load(tmp_path / "d.parquet").split_ids
    assert set(splits.tolist()) == {0, 1} and 3 <= (splits == 1).sum() <= 16


@pytest.mark.slow
def test_crops_are_not_searched_and_views_are_averaged(photos: list[Path], tmp_path: Path) -> None:
    from fervit.faces.detectors import make_detector

    classifier = ByLevel()
    counts = pseudolabel(
        Recognizer(classifier, make_detector("none")),
        photos,
        tmp_path / "d.parquet",
        min_confidence=0.0,
        crop=True,
        tta="flip",
    )
    assert counts.faces == 13 and classifier.seen == 26 and counts.without == 0
    row = parquet.read_table(tmp_path / "d.parquet").to_pylist()[0]
    assert row["filename"] == row["source"] == str(photos[0]) and row_of(row["source"]) == 0
    assert row["box"] == [0, 0, 640, 480] and read_image(row["image"]).shape == (168, 224, 3)


def test_where_no_face_is_confident_nothing_is_written(photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of the 24 faces on 14 photos has a confidence of 1 or more; the highest is 0\."
    ):
        pseudolabel(recognizer(), photos, tmp_path / "d.parquet", min_confidence=1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("d.csv", {}, "expected a name that ends in"),
        ("d.parquet", {"min_confidence": 90}, "expected min_confidence from 0 to 1"),
        ("d.parquet", {"per_class": 0}, "expected per_class to be a whole number from 1"),
        ("d.parquet", {"tta": "flop"}, "unknown test-time augmentation"),
        ("d.parquet", {"validation": 1.0}, "expected a validation fraction"),
        ("no/such/../\0/d.parquet", {}, "cannot read"),
    ],
)
def test_mistakes_are_told_before_any_work(
    photos: list[Path], tmp_path: Path, out: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(FervitError, match=message):
        fervit.pseudolabel("tiny", photos, str(tmp_path / out), **options)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="no such file or folder"):
        fervit.pseudolabel("tiny", tmp_path / "nothing", tmp_path / "d.parquet")
