"""Labels of a data set and of models: widened where it is honest, matched aloud, refused where nothing is measured."""

import logging

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.data.labelling.matching import explain_missing, match_models
from fervit.errors import DataError
from fervit.labels import FER7, FERPLUS8


def made(labels: tuple[str, ...], targets: list[int]) -> Dataset:
    count = len(targets)
    votes = np.eye(len(labels), dtype=np.float32)[targets]
    images = np.zeros((count, 2, 2, 1), np.uint8)
    split_ids, rows = np.ones(count, np.int8), np.arange(count)
    return Dataset("made", labels, images, np.array(targets), split_ids, rows, "0" * 64, votes=votes)


def test_predictions_of_fer2013_s_other_expressions_count_as_wrong() -> None:
    matched = match_models(made(("happy", "sad"), [0, 1]), FER7)
    assert matched.labels == FER7
    assert matched.targets.tolist() == [3, 4]
    assert matched.votes is not None and matched.votes[0].tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_what_is_no_expression_of_fer2013_s_is_not_added() -> None:
    dataset = made(FER7, [0, 1])
    assert match_models(dataset, FERPLUS8) is dataset
    own = made(("bored", "happy"), [0, 1])
    assert match_models(own, (*FER7, "bored")) is own
    assert match_models(made(("happy", "sad"), [0, 1]), ("happy", "sad")).labels == ("happy", "sad")
    assert match_models(made(("happy", "sad"), [0, 1]), ("happy", "sad"), ("sad", "fear")).labels == (
        "fear",
        "happy",
        "sad",
    )


def test_a_match_in_spite_of_the_spelling_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        match_models(made(("anger", "joy"), [0, 1]), ("angry", "happy"))
    assert "matched by their meaning: anger = angry, joy = happy" in caplog.text
    caplog.clear()
    match_models(made(FER7, [0, 1]), FER7)
    assert caplog.text == ""


def test_one_label_measures_nothing() -> None:
    with pytest.raises(DataError, match="one label, happy, so that whatever a model predicts is correct"):
        match_models(made(("happy",), [0, 0]), ("Happy",))
    assert match_models(made(("happy",), [0, 0]), ("happy", "sad")).labels == ("happy", "sad")


def test_the_way_out_depends_on_what_is_missing() -> None:
    assert "--drop-labels contempt" in explain_missing(["contempt"], FERPLUS8, FER7)
    assert "name the data's numbers with --label-map fer7" in explain_missing(["0", "1"], ("0", "1"), FER7)
    assert "--label-map angry=LABEL_0,happy=LABEL_1" in explain_missing(
        ["angry"], ("angry", "happy"), ("LABEL_0", "LABEL_1")
    )
