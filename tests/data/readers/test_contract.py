"""What holds for every reader: labels, splits and people are as the source says, and nothing depends on chance."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load
from fervit.data.readers.named.forms import FERPLUS_FORMS, NAMED
from fervit.errors import DataError
from fervit.files import name_of
from fervit.labels import canonical
from tests.helpers.public_sets import PUBLIC_SETS, damaged, faces, written

pytestmark = pytest.mark.usefixtures("cache_folder")
PEOPLE = 6

each = pytest.mark.parametrize("name", PUBLIC_SETS)
with_images = pytest.mark.parametrize("name", [name for name, each in PUBLIC_SETS.items() if each.images])
wrapped = pytest.mark.parametrize("name", [name for name, each in PUBLIC_SETS.items() if each.wrapped])


def label_counts(dataset: Dataset) -> Counter[str]:
    return Counter(canonical(dataset.labels[target]) for target in dataset.targets)


def test_every_named_form_is_tried_here() -> None:
    tried = {public.form for public in PUBLIC_SETS.values()}
    assert {*NAMED, *FERPLUS_FORMS} - tried == {"ferplus-votes"}, "which test_named_ferplus.py tries"


@each
def test_labels_splits_and_people_are_those_of_the_source(name: str, tmp_path: Path) -> None:
    public = PUBLIC_SETS[name]
    dataset = load(written(name, tmp_path / "set", faces(PEOPLE)))
    expected = Counter(face.label for face in faces(PEOPLE))
    if name == "ckplus_sequences":
        first = next(face.label for face in faces(PEOPLE) if face.label != "neutral")
        expected = Counter({label: 3 * PEOPLE for label in expected if label != "neutral"}) - Counter({first: 3})
        expected["neutral"] = 6 * PEOPLE - 1
    assert label_counts(dataset) == expected
    assert dataset.split_names[0] == "train" and "public_test" in dataset.split_names
    assert ("private_test" in dataset.split_names) == (not public.splits or "private_test" in public.splits)
    assert (dataset.subjects is not None) == public.subjects
    if public.subjects:
        assert len(set(dataset.subjects or ())) == PEOPLE
    if dataset.votes is not None:
        np.testing.assert_allclose(dataset.votes.sum(axis=1), 1, atol=1e-6)
        assert (dataset.votes.argmax(axis=1) == dataset.targets).all()


@each
def test_no_image_and_no_person_is_on_both_sides_of_a_drawn_split(name: str, tmp_path: Path) -> None:
    dataset = load(written(name, tmp_path / "set", faces(PEOPLE)))
    sides: dict[bytes, set[int]] = {}
    people: dict[str, set[int]] = {}
    for k, (image, split) in enumerate(zip(dataset.images, dataset.split_ids.tolist(), strict=True)):
        sides.setdefault(image.tobytes(), set()).add(split)
        if dataset.subjects is not None:
            people.setdefault(dataset.subjects[k], set()).add(split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert all(len(splits) == 1 for splits in people.values())
    said = " ".join(dataset.notes)
    made = set(dataset.split_names) - set(PUBLIC_SETS[name].splits)
    assert all(part in said for part in made), "what was drawn is said"
    if dataset.subjects is not None:
        assert f"{PEOPLE} people" in said


@each
def test_nothing_depends_on_the_order_of_files_or_on_the_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(written(name, tmp_path / "set", faces(PEOPLE)))
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "another cache"))
    tables = name.endswith(("_csv", "parquet", "ferplus"))  # whose rows have an order of their own
    if tables:
        again = load(written(name, tmp_path / "other", faces(PEOPLE)))
    else:
        files = sorted((path for path in (tmp_path / "set").rglob("*") if path.is_file()), reverse=True)
        for path in files:
            copy = tmp_path / "other" / path.relative_to(tmp_path / "set")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        again = load(f"{PUBLIC_SETS[name].form}:{tmp_path / 'other'}")
    assert again.data_hash == first.data_hash
    assert again.sources == first.sources
    assert (again.split_ids == first.split_ids).all()


@each
def test_paths_may_have_any_letters(name: str, tmp_path: Path) -> None:
    dataset = load(written(name, tmp_path / "Gesichter ü @ 顔", faces(PEOPLE)[:14]))
    assert len(dataset) and dataset.skipped == ()


@with_images
def test_a_damaged_image_is_skipped_and_named(name: str, tmp_path: Path) -> None:
    source = written(name, tmp_path / "set", faces(PEOPLE))
    whole = load(source)
    assert whole.sources is not None
    victim = whole.sources[3]
    (path,) = [path for path in (tmp_path / "set").rglob("*") if path.as_posix().endswith(victim)]
    path.write_bytes(damaged(faces(PEOPLE)[0].image))
    dataset = load(source)
    assert dataset.skipped == (name_of(victim),)
    assert len(dataset) == len(whole) - 1
    assert any(f"1 of {len(whole)} images cannot be read, the first is {victim}" in note for note in dataset.notes)


@wrapped
def test_folders_around_a_data_set_are_looked_through(name: str, tmp_path: Path) -> None:
    source = written(name, tmp_path / "archive" / "DATASET", faces(PEOPLE))
    inside = load(source)
    outside = load(f"{PUBLIC_SETS[name].form}:{tmp_path / 'archive'}")
    assert label_counts(outside) == label_counts(inside)
    assert outside.data_hash == inside.data_hash


@each
def test_what_is_beyond_doubt_needs_no_name_and_is_said(name: str, tmp_path: Path) -> None:
    public = PUBLIC_SETS[name]
    path = public.write(tmp_path / "set", faces(PEOPLE))
    named = load(f"{public.form}:{path}")
    if not public.recognised:
        assert public.form in ("folder", "parquet") or not _reads_as(path, public.form)
        return
    dataset = load(path)
    assert dataset.data_hash == named.data_hash
    assert dataset.notes[0].startswith(f"read as {NAMED[public.form].name}, since it has ")


def _reads_as(path: Path, form: str) -> bool:
    try:
        return any(note.startswith(f"read as {NAMED[form].name}") for note in load(path).notes)
    except (DataError, KeyError):
        return False


NUMBERED = ["rafdb_list", "rafdb_folders", "affectnet_lists", "affectnet_annotations", "expw", "yolo", "ckplus_csv"]


@pytest.mark.parametrize("name", NUMBERED)
def test_a_number_that_nobody_names_is_named_with_its_count(name: str, tmp_path: Path) -> None:
    source = written(name, tmp_path / "set", faces(PEOPLE))
    _renumber(tmp_path / "set", name)
    with pytest.raises(DataError, match=r"without a name: 44 \(\d+ images\).*--label-map 44=NAME.*--drop-labels=44"):
        load(source)
    dropped = load(source, drop_labels="44")
    assert "44" not in dropped.labels and len(dropped) < 7 * PEOPLE
    assert "bored" in load(source, label_map="44=bored").labels


def _renumber(root: Path, name: str) -> None:
    """Give the faces of one label, in whatever layout, the number 44."""
    if name == "rafdb_folders":
        for split in ("train", "test"):
            (root / "DATASET" / split / "4").rename(root / "DATASET" / split / "44")
    elif name == "affectnet_annotations":
        for path in root.rglob("*_exp.npy"):
            if np.load(path).item() == "4":
                np.save(path, np.array("44"))
    else:
        pattern, old, new = {
            "rafdb_list": ("*.txt", " 4\n", " 44\n"),
            "affectnet_lists": ("*.csv", ",4,0.1", ",44,0.1"),
            "expw": ("*.lst", " 4\n", " 44\n"),
            "yolo": ("labels/*.txt", "4 0.", "44 0."),
            "ckplus_csv": ("*.csv", "\n4,", "\n44,"),
        }[name]
        for path in root.rglob(pattern):
            path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("name", ["rafdb_list", "affectnet_annotations", "jaffe", "expw", "class_folders"])
def test_one_label_is_told_and_cannot_be_learned(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from fervit.config.training import TrainConfig
    from fervit.training.targets import training_rows

    happy = [face for face in faces(PEOPLE) if face.label == "happy"]
    dataset = load(written(name, tmp_path / "set", happy))
    assert label_counts(dataset) == {"happy": PEOPLE}
    with pytest.raises(DataError, match="one label, happy, and nothing can be learned"):
        training_rows(dataset, TrainConfig())
