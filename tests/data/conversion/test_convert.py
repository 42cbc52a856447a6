"""Data sets as one parquet file: what is written, and that reading it gives the same data sets again."""

import io
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.data.conversion import convert as module
from fervit.data.conversion.convert import convert
from fervit.data.dataset import Dataset
from fervit.data.loading import load
from fervit.data.mixtures.loading import load_mixture
from fervit.data.mixtures.mixture import Mixture
from fervit.data.readers.parquet import parts_of
from fervit.errors import DataError
from fervit.licences import KNOWN, Licence
from tests.helpers import faces
from tests.helpers.data_files import write_class_folders

pytest.importorskip("pyarrow")


def jpegs(
    folder: Path, *labels: str, size: int = 100, splits: tuple[str, ...] = ("train", "val"), count: int = 8
) -> Path:
    """Write colour JPEGs in class folders."""
    for number, (split, label) in enumerate((split, label) for split in splits for label in labels):
        (folder / split / label).mkdir(parents=True)
        for k in range(count):
            noise = np.random.default_rng(100 * number + k).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((size, size)).save(folder / split / label / f"{label}_{k}.jpg", quality=80)
    return folder


def rows_of(path: Path) -> list[dict[str, object]]:
    import pyarrow.parquet

    rows: list[dict[str, object]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def assert_same(before: Dataset, after: Dataset) -> None:
    assert (after.labels, after.data_hash, after.licences) == (before.labels, before.data_hash, before.licences)
    assert list(after.sources or ()) == list(before.sources or ()) or before.sources is None
    assert after.subjects == before.subjects
    for name in ("targets", "split_ids", "images"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    if before.votes is None:
        assert after.votes is None
    else:
        assert after.votes is not None
        np.testing.assert_allclose(after.votes, before.votes)


def test_a_folder_comes_back_as_it_was_with_the_very_bytes_of_its_images(tmp_path: Path) -> None:
    folder = jpegs(tmp_path / "faces", "joy", "ärger", size=70)
    done = convert(folder, tmp_path / "f.parquet", licence="CC-BY-4.0")
    assert done.counts == {"faces": 32} and done.licences == (Licence("faces", "CC-BY-4.0"),)
    assert done.size == (tmp_path / "f.parquet").stat().st_size
    assert_same(load(folder, licence="CC-BY-4.0"), load(tmp_path / "f.parquet"))
    for row in rows_of(tmp_path / "f.parquet"):
        assert row["image"] == (folder / str(row["filename"])).read_bytes()
        assert row["source"] == "faces" and row["licence"] == "faces: CC-BY-4.0"
        assert row["usage"] == ("Training" if str(row["filename"]).startswith("train/") else "PublicTest")


def test_splits_that_were_drawn_and_rules_for_labels_are_kept(tmp_path: Path) -> None:
    folder = jpegs(tmp_path / "all" / "mine", "joy", "rage", "bored", splits=("",), count=30)
    options = {"label_map": "joy=happy", "drop_labels": "bored"}
    before = load(folder, **options)  # type: ignore[arg-type]
    convert(folder, tmp_path / "f.parquet", **options)  # type: ignore[arg-type]
    after = load(tmp_path / "f.parquet")
    assert set(after.labels) == {"happy", "rage"} and len(after) == 60
    np.testing.assert_array_equal(after.split_ids, before.split_ids)
    np.testing.assert_array_equal(after.images, before.images)
    assert after.notes == ()  # nothing is drawn or renamed again


def test_images_that_cannot_be_read_are_left_out_and_the_others_stay_in_their_place(tmp_path: Path) -> None:
    folder = jpegs(tmp_path / "faces", "joy", "rage")
    (folder / "train" / "joy" / "joy_3.jpg").write_bytes(b"no image")
    convert(folder, tmp_path / "f.parquet")
    before, after = load(folder), load(tmp_path / "f.parquet")
    assert len(after) == len(before) == 31 and before.skipped and not after.skipped
    assert_same(before, after)


def test_votes_subjects_and_pixels_without_a_file_come_back(tmp_path: Path) -> None:
    data = replace(faces(votes=True), subjects=[f"p{k // 7}" for k in range(32)], licence="levels: MIT")
    assert data.votes is not None
    data.votes[3] = 0  # an image without a vote
    convert(data, tmp_path / "f.parquet")
    assert_same(replace(data, data_hash=load(tmp_path / "f.parquet").data_hash), load(tmp_path / "f.parquet"))
    rows = rows_of(tmp_path / "f.parquet")
    assert rows[3]["votes"] is None and rows[4]["votes"] == data.votes[4].tolist()
    assert Image.open(io.BytesIO(rows[0]["image"])).format == "PNG"  # type: ignore[arg-type]


def test_fer2013_as_csv_keeps_its_hash_its_votes_and_both_licences(tmp_path: Path) -> None:
    lines = [
        f"{k % 7},{' '.join([str(k)] * 2304)},{usage}" for k, usage in enumerate(["Training"] * 9 + ["PublicTest"] * 5)
    ]
    (tmp_path / "x.csv").write_text("emotion,pixels,Usage\n" + "\n".join(lines) + "\n")
    names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    votes = [
        f"{usage},n,{','.join(str((k + j) % 4) for j in range(10))}"
        for k, usage in enumerate(["Training"] * 9 + ["PublicTest"] * 5)
    ]
    (tmp_path / "v.csv").write_text(f"Usage,Image name,{names}\n" + "\n".join(votes) + "\n")
    convert(tmp_path / "x.csv", tmp_path / "f.parquet", votes=tmp_path / "v.csv")
    before, after = load(tmp_path / "x.csv", votes=tmp_path / "v.csv"), load(tmp_path / "f.parquet")
    assert KNOWN["ferplus"] in before.licences
    assert_same(before, after)


@pytest.mark.slow
def test_several_data_sets_come_back_one_by_one_each_with_images_of_its_own_size(tmp_path: Path) -> None:
    grey = write_class_folders(tmp_path / "grey", "happy", "sad", "angry")
    colour = jpegs(tmp_path / "colour", "happy", "sad")
    sources: list[str | Path | Dataset] = [f"{grey}@2", colour, "synthetic:40"]
    before = load_mixture(sources)
    done = convert(sources, tmp_path / "m.parquet")
    assert isinstance(before, Mixture)
    assert done.counts == {"grey": 48, "colour": 32, "synthetic:40": 40}
    after = load_mixture(tmp_path / "m.parquet")
    assert isinstance(after, Mixture) and after.part_names == before.part_names
    assert after.weights == before.weights == (2.0, 1.0, 1.0) and after.labels == before.labels
    assert [part.images.shape[1:] for part in after.parts][:2] == [(48, 48, 1), (100, 100, 3)]
    for old, new in zip(before.parts, after.parts, strict=True):
        assert_same(old, new)
    assert after.data_hash == before.data_hash
    assert after.licences == (Licence("grey"), Licence("colour"), KNOWN["synthetic"])
    again = convert(tmp_path / "m.parquet", tmp_path / "again.parquet")
    assert again.counts == done.counts
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "m.parquet").read_bytes()
    assert load_mixture(f"{tmp_path / 'm.parquet'}@0.5").weights == (1.0, 0.5, 0.5)  # type: ignore[union-attr]


def test_a_file_of_several_data_sets_is_one_where_one_is_wanted_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = [write_class_folders(tmp_path / "grey", "happy", "sad"), jpegs(tmp_path / "colour", "happy", "sad")]
    convert(sources, tmp_path / "m.parquet")
    assert [part.name for part in parts_of(tmp_path / "m.parquet")] == ["grey", "colour"]
    with caplog.at_level(logging.WARNING):
        whole = load(tmp_path / "m.parquet")
    assert whole.images.shape == (64, 100, 100, 3)
    assert whole.licences == (Licence("grey"), Licence("colour"))
    assert "m.parquet: it holds 2 data sets (grey, colour), which are read as one" in caplog.text
    assert_same(load(sources[1]), load(tmp_path / "m.parquet", part="colour"))
    with pytest.raises(DataError, match=r"unknown data set in it 'color': did you mean 'colour'"):
        load(tmp_path / "m.parquet", part="color")
    with pytest.raises(DataError, match="is no parquet file"):
        load(sources[0], part="colour")


def test_rows_are_written_as_they_come_and_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    monkeypatch.setattr(module, "BATCH_ROWS", 10)
    told: list[tuple[int, int]] = []
    sources = [write_class_folders(tmp_path / "a", "happy", "sad"), jpegs(tmp_path / "b", "happy", "sad")]
    convert(sources, tmp_path / "m.parquet", progress=lambda done, total: told.append((done, total)))
    assert told == [(10, 64), (20, 64), (30, 64), (32, 64), (42, 64), (52, 64), (62, 64), (64, 64)]
    file = pyarrow.parquet.ParquetFile(tmp_path / "m.parquet")
    assert [file.metadata.row_group(k).num_rows for k in range(8)] == [10, 10, 10, 2] * 2
    assert_same(load(sources[1]), load(tmp_path / "m.parquet", part="b"))


def test_what_is_in_the_way_or_no_parquet_file_is_refused(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "a", "happy", "sad")
    with pytest.raises(DataError, match=r"expected a file that ends in \.parquet, got m\.csv"):
        convert(folder, tmp_path / "m.csv")
    convert(folder, tmp_path / "m.parquet")
    with pytest.raises(DataError, match="exists; pass --overwrite"):
        convert(folder, tmp_path / "m.parquet")
    convert(folder, tmp_path / "m.parquet", overwrite=True)
    with pytest.raises(DataError, match="no data set at"):
        convert(tmp_path / "gone", tmp_path / "n.parquet")
    assert not (tmp_path / "n.parquet").exists()


def test_licences_of_rows_in_anybodys_file_are_read(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    folder = jpegs(tmp_path / "a", "happy", "sad", splits=("train",))
    images = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    table = {"image": images, "label": ["happy"] * 8 + ["sad"] * 8, "license": ["MIT"] * 9 + ["cc-by-nc-4.0"] * 7}
    table["source"] = [f"{k}.jpg" for k in range(16)]  # of each image, as other tools use the word
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "x.parquet")
    licences = load(tmp_path / "x.parquet").licences
    assert {(each.name, each.terms, each.non_commercial) for each in licences} == {
        ("x.parquet", "MIT", False),
        ("x.parquet", "cc-by-nc-4.0", True),
    }
