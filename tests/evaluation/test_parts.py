"""Which images are measured: the split, and those whose labels the model knows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load
from fervit.data.dataset import ALL, PRIVATE_TEST, PUBLIC_TEST, TRAIN
from fervit.data.labelling.matching import leave_out_unknown
from fervit.errors import DataError, ModelError
from fervit.evaluation.measurement import evaluate
from fervit.evaluation.parts import choose_split, find_part
from fervit.labels import FER7, FERPLUS8
from fervit.reports import findings, text
from tests.helpers.classifiers import FakeClassifier, labelled_images
from tests.helpers.data_files import write_class_folders

SPEC = FakeClassifier().spec


def in_labels(labels: tuple[str, ...], names: list[str], votes: np.ndarray | None = None) -> Dataset:
    """One public_test image for each name; `FakeClassifier` predicts FER2013's first label for all."""
    dataset = labelled_images([0] * len(names), [0] * len(names))
    return replace(dataset, labels=labels, targets=np.array([labels.index(name) for name in names]), votes=votes)


@pytest.fixture
def drawn() -> Dataset:
    """Images whose splits fervit drew."""
    return replace(labelled_images([0, 1, 2, 3], [0, 1, 2, 2], splits=[0, 0, 1, 2]), drawn_splits=True)


def test_a_set_that_names_no_split_is_measured_whole_unless_the_model_was_trained_on_it(drawn: Dataset) -> None:
    assert choose_split(drawn, None, [SPEC]) == ALL
    assert choose_split(drawn, None, [SPEC, replace(SPEC, data_hash=drawn.data_hash)]) == PUBLIC_TEST
    sources = {"public_test": {"sources": [{"name": "other"}, {"name": drawn.name}]}}
    assert choose_split(drawn, None, [replace(SPEC, metrics=sources)]) == PUBLIC_TEST
    assert choose_split(drawn, None, [replace(SPEC, metrics={"public_test": {"sources": "?"}})]) == ALL
    assert choose_split(drawn, PRIVATE_TEST, [SPEC]) == PRIVATE_TEST
    assert choose_split(replace(drawn, drawn_splits=False), None, [SPEC]) == PUBLIC_TEST


def test_readers_say_whose_the_splits_are(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    for folder in write_class_folders(tmp_path / "a", "happy", "sad", splits=("train",)).glob("train/*"):
        (flat / folder.name).parent.mkdir(exist_ok=True)
        folder.rename(flat / folder.name)
    named = write_class_folders(tmp_path / "b", "happy", "sad", splits=("train",))
    assert [load(folder).drawn_splits for folder in (flat, flat, named)] == [True, True, False]
    assert not load("synthetic:70").drawn_splits


def test_a_report_of_all_images_says_how_many_are_in_train(drawn: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    drawn.images[3] = drawn.images[0]  # a private_test image that train has too
    whole = evaluate(FakeClassifier(), drawn, split=None)
    assert (whole.split, whole.count, whole.seen_in, whole.leak_free) == (ALL, 4, {}, None)
    assert "it names no split, so all 4 images are measured" in caplog.text
    assert text.title(whole) == "fake-7 on made, all images"
    own = evaluate(FakeClassifier(), replace(drawn, drawn_splits=False), split=ALL)
    assert own.seen_in == {TRAIN: 3} and own.leak_free is not None and own.leak_free.count == 1
    assert "3 of the 4 faces (75.0 %) are of train, or pixel for pixel in it." in findings.leak_sentences(own)
    assert "Leak-free leaves out 3 faces of the train split, or with its exact pixels." in text.notes(own)


def test_a_set_that_is_one_split_is_measured_by_default_and_named(caplog: pytest.LogCaptureFixture) -> None:
    test_only = labelled_images([0, 1], [0, 1], splits=[2, 2])
    assert evaluate(FakeClassifier(), test_only, split=None).split == PRIVATE_TEST
    assert "there is no public_test part, so its 2 private_test images are measured, all that it has" in caplog.text
    with pytest.raises(DataError, match="has no train images"):
        choose_split(test_only, TRAIN)
    assert choose_split(test_only, TRAIN, instead=True) == PRIVATE_TEST
    with pytest.raises(DataError, match=r"has no public_test images \(it has: train, private_test\)"):
        choose_split(labelled_images([0, 1], [0, 1], splits=[0, 2]), None, instead=True)
    with pytest.raises(DataError, match="unknown split 'al': did you mean 'all'"):
        choose_split(test_only, "al")


def test_images_of_labels_that_one_model_lacks_are_left_out_for_all(caplog: pytest.LogCaptureFixture) -> None:
    data = in_labels(FERPLUS8, ["happy", "contempt", "sad", "contempt", "neutral"])
    part = find_part(data, [SPEC, replace(SPEC, labels=FERPLUS8)], split=PUBLIC_TEST)
    assert part.left_out == {"contempt": 2} and part.kept.tolist() == [True, False, True, False, True]
    assert set(part.images.labels) == set(FER7) and part.images.data_hash == data.data_hash
    assert [part.images.labels[k] for k in part.images.targets] == ["happy", "sad", "neutral"]
    np.testing.assert_array_equal(part.images.images, data.images[[0, 2, 4]])
    assert "left out: contempt (2) of 5" in caplog.text
    report = evaluate(FakeClassifier(), data, split=PUBLIC_TEST)
    assert report.count == 3 and report.left_out == {"contempt": 2} and report.to_dict()["left_out_labels"]
    assert any("contempt (2)" in note for note in text.notes(report))
    with pytest.raises(ModelError, match="cannot predict contempt"):
        evaluate(FakeClassifier(), data, split=PUBLIC_TEST, strict_labels=True)


@pytest.mark.parametrize(
    ("names", "way_out"),
    [
        (["happy", "sad", "suprise"], "--label-map suprise=surprise"),
        (["happy", "sad", "froh", "traurig", "Angst", "Ekel"], "--label-map Angst=NAME"),
        (["happy", "sad", "neutral", "7"], "name the data's numbers with --label-map"),
    ],
    ids=["a typo", "most images", "numbers"],
)
def test_what_would_hide_a_mistake_is_refused_with_the_way_out(names: list[str], way_out: str) -> None:
    data = in_labels(tuple(names), names)
    assert leave_out_unknown(data, FER7) == (data, {})
    with pytest.raises(ModelError, match="the model cannot predict") as error:
        evaluate(FakeClassifier(), data, split=PUBLIC_TEST)
    assert way_out in str(error.value)


def test_models_of_seven_and_of_eight_labels_are_measured_on_ferplus_votes() -> None:
    votes = np.zeros((4, 8), np.float32)
    votes[[0, 1, 2, 3], [FERPLUS8.index(name) for name in ("neutral", "happy", "contempt", "sad")]] = 0.6
    votes[[0, 1], FERPLUS8.index("contempt")] = 0.4
    votes[[2, 3], FERPLUS8.index("neutral")] = 0.4
    data = in_labels(FERPLUS8, ["neutral", "happy", "contempt", "sad"], votes)
    data.images[:, 0, 0, 0] = [10 * FERPLUS8.index(name) for name in ("neutral", "happy", "contempt", "neutral")]
    eight = evaluate(FakeClassifier(FERPLUS8), data, split=PUBLIC_TEST)
    assert eight.count == 4 and eight.accuracy.value == 0.75 and eight.left_out == {}
    assert eight.votes is not None and eight.votes.value == 0.75
    found = eight.vote_distribution
    assert found is not None and found.count == 4 and found.fraction == pytest.approx((0.6 * 3 + 0.4) / 4)
    rest = 0.1 / 7
    overlaps = [0.6 + rest, 0.6 + rest, 0.6 + rest, 0.4 + rest]  # min of the votes and 0.9, and of 0.4 and the rest
    assert found.overlap == pytest.approx(np.mean(overlaps))
    data.images[:, 0, 0, 0] = [10 * FER7.index(name) for name in ("neutral", "happy", "angry", "neutral")]
    seven = evaluate(FakeClassifier(), data, split=PUBLIC_TEST)
    assert seven.count == 3 and seven.left_out == {"contempt": 1} and seven.accuracy.value == pytest.approx(2 / 3)
    assert seven.votes is not None and seven.votes.count == 3
    assert seven.vote_distribution is not None  # the votes for contempt are left out, the others sum to 1
    assert seven.vote_distribution.fraction == pytest.approx((1 + 1 + 0.4) / 3)
    low, high = seven.vote_distribution.fraction_ci95
    assert low <= seven.vote_distribution.fraction <= high
    again = type(seven).from_dict(seven.to_dict())
    assert again.vote_distribution == seven.vote_distribution and again.left_out == seven.left_out
    assert any(line.name == "votes for the predicted label" for line in text.lines(seven))
