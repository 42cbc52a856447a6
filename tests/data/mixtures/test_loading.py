"""Several sources become one mixture: weights, labels, rules, votes and validation parts."""

import csv
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit import api
from fervit.data import load
from fervit.data.dataset import Dataset
from fervit.data.mixtures.loading import load_mixture, match_labels
from fervit.data.mixtures.mixture import Mixture
from fervit.data.readers.ferplus import VOTE_COLUMNS
from fervit.errors import ConfigError, DataError
from tests.helpers import faces
from tests.helpers.data_files import write_class_folders, write_image


def folder(root: Path, layout: dict[str, int], *, size: int = 20, seed: int = 0) -> Path:
    """Write colour images into `root`: so many for each `split/label`."""
    for number, (name, count) in enumerate(layout.items()):
        for k in range(count):
            write_image(root / name / f"{k}.png", size=(size, size), mode="RGB", seed=seed + 100 * number + k)
    return root


def other(dataset: Dataset, **changes: object) -> Dataset:
    """Return a data set of another name and content."""
    fields = {"name": "other", "data_hash": "1" * 64, **changes}
    return replace(dataset, **fields)  # type: ignore[arg-type]


def test_one_source_stays_a_data_set_unless_it_has_a_weight() -> None:
    assert isinstance(load_mixture("synthetic:28"), Dataset)
    assert isinstance(load_mixture(["synthetic:28@1"]), Dataset)
    alone = load_mixture("synthetic:28@0.5")
    assert isinstance(alone, Mixture) and alone.weights == (0.5,)
    assert load_mixture(alone) is alone


def test_sources_keep_their_size_and_channels_and_say_what_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder(tmp_path / "own", {"train/happy": 3, "train/sad": 3, "test/sad": 1}, size=20)
    mixture = load_mixture(["synthetic:28", f"{path}@2"])
    assert isinstance(mixture, Mixture)
    assert [part.images.shape[1:] for part in mixture.parts] == [(48, 48, 1), (20, 20, 3)]
    assert mixture.weights == (1.0, 2.0)
    assert "own: train 4, public_test 2, private_test 1; 20 x 20 px, colour; weight 2" in caplog.text
    assert "own has no images of angry, disgust, fear, surprise, neutral, which another data set has" in caplog.text


def test_labels_are_matched_by_their_meaning(caplog: pytest.LogCaptureFixture) -> None:
    first = replace(faces(28), labels=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
    names = ("anger", "contempt", "fear", "happiness", "sad", "surprise", "neutral")
    one, two = match_labels([first, other(faces(28), labels=names)])
    assert one.labels == two.labels
    assert set(one.labels) == {*first.labels, "contempt"}
    for label, own in (("angry", 0), ("contempt", 1), ("happy", 3)):
        np.testing.assert_array_equal(two.targets == two.labels.index(label), faces(28).targets == own)
    assert "other: labels are matched by their meaning: anger = angry, happiness = happy" in caplog.text
    assert "levels has no images of contempt" in caplog.text


def test_labels_that_a_user_keeps_apart_stay_apart() -> None:
    names = ("angry", "joy", "fear", "happy", "sad", "surprise", "neutral")
    one, two = match_labels([faces(28), other(faces(28), labels=names)])
    assert "joy" in one.labels and "happy" in one.labels
    assert (two.targets == two.labels.index("joy")).sum() == (faces(28).targets == 1).sum()


def test_labels_with_nothing_in_common_are_refused() -> None:
    strange = other(faces(14), labels=tuple("abcdefg"))
    with pytest.raises(DataError, match=r"none means the same as one of angry, .*--label-map OLD=NEW"):
        load_mixture([faces(14), strange])


def test_a_rule_is_for_the_sources_that_have_the_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = folder(tmp_path / "one", {"train/happy": 4, "train/sad": 4, "train/contempt": 3})
    two = folder(tmp_path / "two", {"train/happy": 4, "train/glum": 4}, seed=5000)
    mixture = load_mixture([one, two], drop_labels="contempt", label_map="glum=sad")
    assert mixture.labels == ("happy", "sad")
    assert len(mixture) == 16
    assert "one: --drop-labels contempt leaves out 3 of 11 images" in caplog.text
    assert "two: --drop-labels contempt is about none of its labels and is passed over" in caplog.text
    with pytest.raises(ConfigError, match="--drop-labels bored: no data set has such a label; they have"):
        load_mixture([one, two], drop_labels="bored")


def test_a_source_of_train_images_alone_lends_a_tenth_to_validate_on(caplog: pytest.LogCaptureFixture) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 1), np.uint8)
    alone = other(faces(40), images=images, split_ids=np.zeros(40, np.int8))
    mixture = load_mixture([faces(28), alone])
    assert isinstance(mixture, Mixture)
    part = mixture.parts[1]
    assert part.split_names == ("train", "public_test")
    assert part.data_hash != alone.data_hash
    np.testing.assert_array_equal(load_mixture([faces(28), alone]).parts[1].split_ids, part.split_ids)  # type: ignore[union-attr]
    assert "other: there is no validation part, so" in caplog.text


def test_a_source_of_one_image_and_one_without_train_images_take_part(caplog: pytest.LogCaptureFixture) -> None:
    single = other(faces(1), split_ids=np.zeros(1, np.int8))
    mixture = load_mixture([faces(28), single])
    assert isinstance(mixture, Mixture)
    assert len(mixture.split("train").parts[1]) == 1
    assert "other has too few images for a validation part" in caplog.text
    test_only = other(faces(14), split_ids=np.full(14, 2, np.int8))
    load_mixture([faces(28), test_only])
    assert "it has no train images, so nothing is learnt from it" in caplog.text


def test_the_same_images_twice_are_refused() -> None:
    with pytest.raises(DataError, match=r"hold the same images: give them once, with a weight such as SOURCE@2"):
        load_mixture(["synthetic:28", "synthetic:28"])
    dataset = faces(14)
    with pytest.raises(DataError, match="hold the same images"):
        load_mixture([dataset, dataset])


def test_what_is_no_data_set_is_named() -> None:
    with pytest.raises(DataError, match="got none"):
        load_mixture([])
    with pytest.raises(DataError, match="expected a data set by name, file or folder, or a loaded one, got 3"):
        load_mixture([3, "synthetic:28"])  # type: ignore[list-item]


def test_a_weight_is_refused_where_nothing_is_trained() -> None:
    with pytest.raises(ConfigError, match=r"a weight says how often training draws.*here give synthetic:28"):
        load("synthetic:28@0.5")
    assert len(load("synthetic:28@1")) == 28


def fer_like(path: Path, *, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    usages = ("Training", "Training", "PublicTest", "PrivateTest")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("emotion", "pixels", "Usage"))
        for k in range(28):
            writer.writerow((k % 7, " ".join(map(str, rng.integers(0, 256, 64))), usages[k % 4]))
    return path


def vote_file(path: Path, rows: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("Usage", *VOTE_COLUMNS))
        for k in range(rows):
            usage = ("Training", "Training", "PublicTest", "PrivateTest")[k % 4]
            writer.writerow((usage, *np.roll([10, *[0] * 9], k % 7).tolist()))
    return path


def test_votes_go_to_the_source_that_they_belong_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = folder(tmp_path / "own", {"train/happy": 4, "train/sad": 4})
    fer, votes = fer_like(tmp_path / "fer.csv", seed=0), vote_file(tmp_path / "votes.csv", 28)
    with caplog.at_level(logging.WARNING):
        mixture = load_mixture([own, "synthetic:35", fer], votes=votes)
    assert isinstance(mixture, Mixture)
    assert [part.votes is not None for part in mixture.parts] == [False, False, True]
    assert "the votes are those of fer.csv" in caplog.text
    with pytest.raises(DataError, match=r"the votes belong to none of the data sets: .*FER.* votes are joined"):
        load_mixture([own, "synthetic:35"], votes=votes)
    with pytest.raises(DataError, match=r"no FER. votes at"):
        load_mixture([own, fer], votes=tmp_path / "absent.csv")
    with pytest.raises(DataError, match="these were loaded before"):
        load_mixture([faces(28), other(faces(14))], votes=votes)


def test_what_has_no_train_part_gets_one_where_it_is_to_be_learned_from(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "d", "sad", "joy", splits=("test",), count=20)
    assert api.loaded(tmp_path / "d").split_names == ("private_test",), "which is measured whole"
    learned = api.mixed([str(tmp_path / "d")])
    assert isinstance(learned, Dataset) and np.bincount(learned.split_ids).tolist() == [32, 4, 4]
    assert any(note.startswith("there is no train part, so its 40 private_test images") for note in learned.notes)
    assert api.mixed(learned) is learned


def test_splits_are_about_one_data_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--splits is about one data set; .* fervit data split SOURCE --out FILE"):
        load_mixture(["synthetic:14", "synthetic:14:5"], splits=tmp_path / "splits.csv")
