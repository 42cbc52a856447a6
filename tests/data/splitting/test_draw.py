"""Drawing splits: what a source lacks is made, all that belongs together is on one side, and all of it is said."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.data import Dataset, load
from fervit.data.splitting import draw
from fervit.data.splitting.draw import Material, make_splits, read_fractions, small_grey, with_train
from fervit.errors import ConfigError
from tests.helpers.data_files import png, write_table

CONTENTS = [f"image {k}".encode() for k in range(1000)]


def material(count: int = 1000, *, labels: int = 1, **changes: object) -> Material:
    """Return images of noise that say nothing but their number."""
    values: dict[str, object] = {
        "labels": tuple(f"label {k}" for k in range(labels)),
        "targets": np.arange(count) % labels,
        "contents": lambda: CONTENTS[:count],
        "thumbnails": lambda: np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8),
    }
    return Material(**values | changes)  # type: ignore[arg-type]


def test_a_tenth_of_train_becomes_the_validation_part_and_other_splits_stay() -> None:
    given = np.repeat([0, 2], [800, 200]).astype(np.int8)
    made, notes = make_splits(given, material(labels=4))
    assert np.bincount(made).tolist() == [720, 80, 200] and made.dtype == np.int8
    assert (made[800:] == 2).all() and (given[:800] == 0).all()
    assert notes == [
        "there is no validation part, so 80 of the 800 train images (about a tenth, drawn by label and a hash of their "
        "content) become public_test 80 (label 0 20, label 1 20, label 2 20, "
        "label 3 20)"
    ]


def test_without_any_split_images_are_divided_and_this_is_said_with_all_counts() -> None:
    made, notes = make_splits(None, material(labels=2))
    assert np.bincount(made).tolist() == [800, 100, 100]
    assert notes == [
        "no split is named, so the images are divided 80/10/10 by label and a hash of their content: "
        "train 800 (label 0 400, label 1 400); public_test 100 (label 0 50, label 1 50); "
        "private_test 100 (label 0 50, label 1 50)"
    ]


def test_equal_images_stay_together_in_whatever_order() -> None:
    twice = Material(("x",), np.zeros(2000, int), lambda: CONTENTS * 2, lambda: noise(2000))
    made, _ = make_splits(None, twice)
    assert (made[:1000] == made[1000:]).all()
    once, _ = make_splits(None, material())
    assert (made[:1000] == once).mean() > 0.99


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def test_near_duplicates_stay_together() -> None:
    images = noise(200)
    images[100:] = np.clip(images[:100].astype(int) + 3, 0, 255)  # a brighter copy of each
    made, notes = make_splits(None, material(200, thumbnails=lambda: images))
    assert (made[:100] == made[100:]).all() and "100 near duplicates beside what they repeat" in notes[0]


def test_many_images_are_not_compared_and_this_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "MOST_COMPARED", 99)
    _, notes = make_splits(None, material(100))
    assert "(near duplicates are not searched among more than 99 images)" in notes[0]


def test_people_stay_on_one_side() -> None:
    people = [f"person {k % 30}" for k in range(600)]
    made, notes = make_splits(None, material(600, labels=3, groups=people))
    sides = {person: {int(s) for p, s in zip(people, made, strict=True) if p == person} for person in people}
    assert all(len(side) == 1 for side in sides.values())
    assert np.bincount(made).tolist() == [480, 60, 60]
    assert "(30 people on one side each)" in notes[0]


def test_who_nobody_knows_is_no_person() -> None:
    made, notes = make_splits(None, material(100, groups=["", *["a"] * 9, *[""] * 90]))
    assert len(set(made[1:10].tolist())) == 1 and np.bincount(made).min() >= 5
    assert "(1 person on one side each)" in notes[0]


def test_what_has_a_validation_part_or_no_train_part_is_left_alone_unread() -> None:
    def unread() -> Iterator[bytes]:
        raise AssertionError("the images were read")

    for given in ([0, 1, 2], [1, 2, 1], [2, 2, 2]):
        made, notes = make_splits(np.array(given, np.int8), material(3, contents=unread, thumbnails=unread))
        assert made.tolist() == given and notes == []


def test_few_images_have_a_validation_part_too_but_never_lose_all_of_train() -> None:
    for count in range(2, 12):
        made, notes = make_splits(np.zeros(count, np.int8), material(count))
        assert 1 <= (made == 1).sum() < count and len(notes) == 1
    same = Material(("x",), np.zeros(3, int), lambda: [b"one"] * 3, lambda: noise(3))
    made, notes = make_splits(np.zeros(3, np.int8), same)
    assert made.tolist() == [0, 0, 0] and notes == []
    assert make_splits(np.zeros(1, np.int8), material(1))[0].tolist() == [0]


def test_fractions_divide_all_images_anew() -> None:
    made, notes = make_splits(np.ones(1000, np.int8), material(), (0.5, 0.0, 0.5))
    assert np.bincount(made).tolist() == [500, 0, 500]
    assert notes[0].startswith("as --fractions says, all images are divided 50/0/50 by label")


def with_splits(*split_ids: int) -> Dataset:
    """Return images of noise, two labels in turn."""
    count = len(split_ids)
    targets, splits = np.arange(count) % 2, np.array(split_ids, np.int8)
    return Dataset("x", ("sad", "joy"), noise(count)[..., None], targets, splits, np.arange(count), "0" * 64)


def test_a_set_without_a_train_part_gets_one_to_learn_from(caplog: pytest.LogCaptureFixture) -> None:
    for split in (1, 2):
        alone = with_train(with_splits(*[split] * 100))
        assert np.bincount(alone.split_ids).tolist() == [80, 10, 10] and alone.data_hash != "0" * 64
        named = ("", "public_test", "private_test")[split]
        assert f"x: there is no train part, so its 100 {named} images are divided 80/10/10, by label" in caplog.text
    both = with_train(with_splits(*[1] * 100, *[2] * 20))
    assert np.bincount(both.split_ids).tolist() == [90, 10, 20] and (both.split_ids[100:] == 2).all()
    assert "nine tenths of its 100 public_test images become train" in both.notes[-1]
    whole = with_splits(0, 0, 2)
    assert with_train(whole) is whole and len(with_train(whole.take([]))) == 0


@pytest.mark.parametrize(
    ("text", "fractions"),
    [("80/10/10", (0.8, 0.1, 0.1)), ("0.5/0/0.5", (0.5, 0, 0.5)), ((7, 1, 92), (0.07, 0.01, 0.92))],
)
def test_fractions_are_per_cent_or_parts_of_one(text: object, fractions: tuple[float, ...]) -> None:
    assert read_fractions(text) == pytest.approx(fractions)
    assert read_fractions(None) is None


@pytest.mark.parametrize("text", ["", "80/20", "80/10/20", "0/50/50", "-10/60/50", "a/b/c", 5, "nan/1/0"])
def test_other_fractions_are_refused_with_an_example(text: object) -> None:
    with pytest.raises(ConfigError, match="such as 80/10/10, with train above 0 and a sum of 100; got"):
        read_fractions(text)


def test_images_that_cannot_be_read_are_black() -> None:
    small = small_grey([png(noise(1)[0]), b"", b"nothing"])
    assert small.shape == (3, 48, 48) and small[0].any() and not small[1:].any()
    assert small_grey([]).shape == (0, 48, 48)


def test_splits_do_not_depend_on_the_size_that_images_are_brought_to(tmp_path: Path, cache_folder: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(60):
        folder = tmp_path / "d" / ("sad", "joy")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (60 + k, 90, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    small, large = (load(tmp_path / "d", size_px=size) for size in (16, 80))
    assert (small.split_ids == large.split_ids).all()


def by_session(tmp_path: Path, **options: str) -> Dataset:
    """Load forty faces of five sessions from parquet."""
    path = write_table(
        tmp_path / "x.parquet",
        image=[png(image) for image in noise(40)],
        label=[("sad", "joy")[k % 2] for k in range(40)],
        Session=[f"s{k % 5}" for k in range(40)],
    )
    return load(path, **options)  # type: ignore[arg-type]


def test_group_by_a_column_of_a_parquet_file(tmp_path: Path, cache_folder: Path) -> None:
    dataset = by_session(tmp_path, group_by="session")
    for session in range(5):
        assert len(set(dataset.split_ids[np.arange(40) % 5 == session].tolist())) == 1
    assert any("5 groups by session" in note for note in dataset.notes)
    assert (by_session(tmp_path).split_ids != dataset.split_ids).any()
