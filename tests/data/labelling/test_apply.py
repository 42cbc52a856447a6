"""Labels of a data set: the user's own names stay, rules rename and drop, all else is said or refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.data.cache import content_hash
from fervit.data.dataset import Codes
from fervit.data.labelling.apply import apply_rules, name_numbers
from fervit.errors import DataError
from fervit.label_rules import NO_RULES, read_rules
from fervit.labels import FER7

pytestmark = pytest.mark.usefixtures("cache_folder")


def made(labels: tuple[str, ...], targets: list[int], *, codes: Codes = Codes(), split_ids: int = 0) -> Dataset:  # noqa: B008
    images = np.arange(len(targets) * 4, dtype=np.uint8).reshape(-1, 2, 2, 1)
    splits = np.full(len(targets), split_ids, np.int8)
    array = np.array(targets, np.int64)
    digest = content_hash(images, array, splits)
    rows = np.arange(len(targets))
    return Dataset("made", labels, images, array, splits, rows, digest, codes=codes)


def names_of(dataset: Dataset) -> list[str]:
    return [dataset.labels[target] for target in dataset.targets]


NUMBERS = Codes({}, {"0": "row 1: label", "1": "row 2: label"})


def test_names_and_their_number_stay_and_nothing_is_said() -> None:
    dataset = made(("anger", "Happiness"), [0, 1, 1])
    result = apply_rules(dataset, NO_RULES, "made")
    assert result.labels == ("anger", "Happiness")
    assert result.notes == () and result.data_hash == dataset.data_hash
    assert result.images is dataset.images


def test_labels_that_mean_the_same_are_read_as_one_and_this_is_said() -> None:
    dataset = made(("happy", "joy", "Happy", "sad"), [0, 1, 1, 2, 3])
    result = apply_rules(dataset, NO_RULES, "made")
    assert names_of(result) == ["happy", "happy", "happy", "happy", "sad"]
    assert "the labels happy, joy, Happy mean the same and are read as one, happy" in result.notes[0]
    apart = apply_rules(dataset, read_rules("joy=joy"), "made")
    assert names_of(apart) == ["happy", "joy", "joy", "happy", "sad"]
    assert "the labels happy, Happy mean the same and are read as one, happy" in apart.notes[0]
    renamed = apply_rules(dataset, read_rules("sad=Happiness"), "made")
    assert names_of(renamed) == ["Happiness"] * 5
    assert names_of(apply_rules(made(("anger", "ANGRY", "sad"), [0, 1, 1, 2]), NO_RULES, "made"))[:1] == ["ANGRY"]


def test_a_map_renames_merges_and_says_so() -> None:
    dataset = made(("angry", "disgust", "suprise"), [0, 1, 2, 2])
    rules = read_rules("angry=negative,disgust=negative,suprise=surprise")
    result = apply_rules(dataset, rules, "made")
    assert names_of(result) == ["negative", "negative", "surprise", "surprise"]
    assert result.notes[0] == (
        "labels are renamed as --label-map says: angry = negative, disgust = negative, suprise = surprise"
    )
    assert result.data_hash == content_hash(result.images, result.targets, result.split_ids) != dataset.data_hash
    assert names_of(apply_rules(dataset, read_rules("angry=disgust,disgust=angry"), "made"))[:2] == ["disgust", "angry"]


def test_votes_follow_their_labels() -> None:
    votes = np.array([[0.5, 0.25, 0.25], [0, 0, 1]], np.float32)
    dataset = dataclasses.replace(made(("angry", "disgust", "sad"), [0, 1]), votes=votes)
    merged = apply_rules(dataset, read_rules("disgust=angry"), "made")
    assert merged.labels == ("angry", "sad") and merged.votes is not None
    np.testing.assert_array_equal(merged.votes, [[0.75, 0.25], [0, 1]])
    dropped = apply_rules(dataset, read_rules(None, "disgust"), "made")
    assert len(dropped) == 1 and dropped.votes is not None
    np.testing.assert_allclose(dropped.votes, [[2 / 3, 1 / 3]], rtol=1e-6)


def test_dropped_labels_are_counted_by_split_and_their_images_are_gone(cache_folder: Path) -> None:
    dataset = made(("contempt", "happy", "sad"), [0, 1, 2, 0, 1])
    result = apply_rules(dataset, read_rules(None, "Contempt"), "made")
    assert names_of(result) == ["happy", "sad", "happy"] and result.rows.tolist() == [1, 2, 4]
    np.testing.assert_array_equal(result.images, dataset.images[[1, 2, 4]])
    assert result.notes == ("--drop-labels Contempt leaves out 2 of 5 images (train 2)",)
    assert isinstance(result.images, np.memmap) and len(list(cache_folder.iterdir())) == 1
    again = apply_rules(dataset, read_rules(None, "contempt"), "made")
    assert again.data_hash == result.data_hash == content_hash(result.images, result.targets, result.split_ids)
    assert len(list(cache_folder.iterdir())) == 1
    with pytest.raises(DataError, match="--drop-labels contempt,happy,sad leaves no image"):
        apply_rules(dataset, read_rules(None, "contempt,happy,sad"), "made")
    with pytest.raises(DataError, match="--drop-labels: unknown label 'contemt': did you mean 'contempt'"):
        apply_rules(dataset, read_rules(None, "contemt"), "made")


def test_a_rule_for_a_label_that_does_not_occur_is_a_mistake_unless_it_is_from_a_file(tmp_path: Path) -> None:
    dataset = made(("happy", "sad"), [0, 1])
    with pytest.raises(DataError, match="--label-map: unknown label 'hapy': did you mean 'happy'"):
        apply_rules(dataset, read_rules("hapy=joy"), "made")
    (tmp_path / "m.toml").write_text('fear = "afraid"\nhappy = "joy"\n')
    assert apply_rules(dataset, read_rules(tmp_path / "m.toml"), "made").labels == ("joy", "sad")
    (tmp_path / "m.toml").write_text('fear = "afraid"\n')
    with pytest.raises(DataError, match="unknown label 'fear'"):
        apply_rules(dataset, read_rules(tmp_path / "m.toml"), "made")


def test_numbers_are_refused_until_they_have_names() -> None:
    dataset = made(("0", "1"), [0, 1], codes=NUMBERS)
    with pytest.raises(DataError, match=r"the labels \(0, 1\) are numbers without names"):
        apply_rules(dataset, NO_RULES, "made")
    with pytest.raises(DataError, match=r"the labels \(1\) are numbers without names"):
        apply_rules(dataset, read_rules("0=angry"), "made")
    assert names_of(apply_rules(dataset, read_rules("0=sad,1=angry"), "made")) == ["sad", "angry"]
    assert names_of(apply_rules(dataset, read_rules("affectnet8"), "made")) == ["neutral", "happy"]
    assert apply_rules(dataset, read_rules("0=0,1=1"), "made").labels == ("0", "1")
    assert apply_rules(dataset, NO_RULES, "made", need_labels=False).labels == ("0", "1")
    assert names_of(apply_rules(dataset, read_rules("0=sad", "1"), "made")) == ["sad"]


def test_a_label_set_counts_from_0_or_from_1_as_the_labels_do() -> None:
    folders = made(tuple("1234567"), [0, 6])
    assert names_of(apply_rules(folders, read_rules("raf7"), "made")) == ["surprise", "neutral"]
    named = made(tuple(f"LABEL_{k}" for k in range(7)), [0, 6])
    assert names_of(apply_rules(named, read_rules("fer7"), "made")) == ["angry", "neutral"]
    with pytest.raises(DataError, match="fit both: name them one by one, such as 2=NAME"):
        apply_rules(made(("2", "3"), [0, 1]), read_rules("raf7"), "made")
    with pytest.raises(DataError, match="fer7 names numbers, but the labels are happy, sad"):
        apply_rules(made(("happy", "sad"), [0, 1]), read_rules("fer7"), "made")
    eighth = made(("0", "7"), [0, 1], codes=Codes({}, {"0": "row 1: label", "7": "row 2: label"}))
    with pytest.raises(DataError, match=r"the label set fer7 has no name for 7: give it one \(--label-map 7=NAME\)"):
        apply_rules(eighth, read_rules("fer7"), "made")
    assert names_of(apply_rules(eighth, read_rules(["fer7", "7=contempt"]), "made")) == ["angry", "contempt"]


def test_a_convention_names_numbers_unless_the_user_does() -> None:
    numbers = tuple(str(k) for k in range(8))
    codes = Codes(dict(zip(numbers, FER7, strict=False)), {"7": "line 2: emotion"})
    plain = made(numbers[:7], [3, 0], codes=Codes(codes.names))
    assert apply_rules(plain, NO_RULES, "made").labels == FER7
    assert apply_rules(plain, NO_RULES, "made").notes[0].startswith("no train image has the label disgust, fear")
    assert names_of(apply_rules(plain, read_rules("happy=joy"), "made")) == ["joy", "angry"]
    from_one = made(numbers, [1, 7], codes=codes)
    raf = apply_rules(from_one, read_rules("raf7"), "made")
    assert raf.labels == ("surprise", "neutral")
    eighth = apply_rules(from_one, read_rules("7=contempt"), "made")
    assert set(eighth.labels) == {*FER7, "contempt"}
    mixed = apply_rules(made(numbers[:7], [3, 0], codes=Codes(codes.names)), read_rules("3=joy"), "made")
    assert "the other numbers are named as FER2013 counts: 0 = angry" in mixed.notes
    assert name_numbers(from_one, read_rules("raf7"), "made")[1] == "surprise"


@pytest.mark.parametrize("name", ["train", "images", "Data", "cropped_faces", "test_set", "images2", "validation"])
def test_labels_that_are_folders_of_a_layout_are_refused_with_what_was_understood(name: str) -> None:
    with pytest.raises(DataError) as caught:
        apply_rules(made(("angry", name), [0, 1, 1]), NO_RULES, "here")
    for words in ("here is read as images with the label", f"{name} (2 images)", "train/angry/x.jpg", "--drop-labels"):
        assert words in str(caught.value)
    assert apply_rules(made(("angry", name), [0, 1]), read_rules(None, name), "here").labels == ("angry",)


def test_one_label_that_is_no_expression_is_refused_and_faces_without_labels_are_none() -> None:
    for name in ("DATASET", "faces", "x"):
        with pytest.raises(DataError, match=f"label.s. {name} .2 images., but"):
            apply_rules(made((name,), [0, 0]), NO_RULES, "here")
        assert apply_rules(made((name,), [0, 0]), NO_RULES, "here", need_labels=False).labels == (name,)
    assert apply_rules(made(("Unlabelled",), [0]), NO_RULES, "here").notes == ()
    with pytest.raises(DataError, match="unlabelled would be no expression"):
        apply_rules(made(("angry", "unlabelled"), [0, 1]), NO_RULES, "here")
    assert "happy is the only label" in apply_rules(made(("happy",), [0]), NO_RULES, "here").notes[0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            ("happy", "suprise"),
            "the label suprise stays as it is; if it means surprise, add --label-map suprise=surprise",
        ),
        (("Neutrall", "happy"), "if it means neutral, add --label-map Neutrall=neutral"),
        (("0", "1", "2"), "the labels 0, 1, 2 are numbers and stay as they are"),
        (("LABEL_0", "LABEL_1"), "name them with --label-map fer7"),
        (("bored", "keen"), "none of the labels bored, keen is an expression that other data sets have"),
    ],
)
def test_labels_that_will_not_work_as_meant_are_said_at_once(labels: tuple[str, ...], words: str) -> None:
    result = apply_rules(made(labels, list(range(len(labels)))), NO_RULES, "made")
    assert set(result.labels) == set(labels)
    assert len(result.notes) == 1 and words in result.notes[0]


def test_a_label_that_no_train_image_has_is_said() -> None:
    dataset = made(("happy", "sad", "surprise"), [0, 1, 2])
    dataset = dataclasses.replace(dataset, split_ids=np.array([0, 0, 2], np.int8))
    assert apply_rules(dataset, NO_RULES, "made").notes[0].startswith("no train image has the label surprise")
    evaluated = made(("happy", "sad", "surprise"), [0, 1, 1], split_ids=2)
    assert apply_rules(evaluated, NO_RULES, "made").notes == ()
