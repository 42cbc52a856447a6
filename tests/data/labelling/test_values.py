"""What columns say about labels: names, numbers in any type, truth values; and what is no label."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest

from fervit.data.labelling.conventions import Convention, numbered
from fervit.data.labelling.values import check_named, column_labels, name_labels, order_labels
from fervit.errors import DataError


def test_numbers_of_every_type_are_the_same_numbers() -> None:
    for values in (
        [0, 2],
        [0.0, 2.0],
        ["0", "2"],
        ["0.0", " 2. "],
        [np.int8(0), np.float32(2)],
        [Decimal(0), Decimal(2)],
    ):
        labels = column_labels(values, "x", "label")
        assert labels.names == ["0", "2"]
        assert labels.codes.nameless == {"0": "row 1: label", "2": "row 2: label"}


def test_class_names_and_conventions_name_numbers() -> None:
    labels = column_labels([1, 0, 2], "x", "label", classes=("sad", "Joy"))
    assert labels.names == ["Joy", "sad", "2"]
    assert labels.declared == ("sad", "Joy")
    assert labels.codes.nameless == {"2": "row 3: label"}
    labels = column_labels(["1", "7"], "x", "emotion", convention=Convention("TWO", numbered(("angry", "disgust"))))
    assert labels.names == ["1", "7"]
    assert labels.codes.names == {"0": "angry", "1": "disgust"} and list(labels.codes.nameless) == ["7"]


@pytest.mark.parametrize("values", [[True, False], ["True", "FALSE"], ["true", "false"]])
def test_truth_values_are_no_numbers(values: Sequence[object]) -> None:
    labels = column_labels(values, "x", "smile", classes=("no", "yes"))
    assert labels.names == ["true", "false"]
    with pytest.raises(DataError, match=r"row 1: smile is true: a truth value.*--label-map true=NAME,false=NAME"):
        check_named(labels.codes.nameless, {}, "x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, None], "row 2: the label is missing"),
        ([0.0, float("nan")], "row 2: the label is missing"),
        (["sad", " "], "row 2: the label is missing"),
        ([0.5], "row 1: the label is 0.5, expected a whole number"),
        (["2.5"], "row 1: the label is 2.5, expected a whole number"),
        ([float("inf")], "row 1: the label is inf"),
        ([[0, 1]], r"row 1: the label is '\[0, 1\]', expected a number or a name"),
        (["sad", "3"], "row 2: the label '3' is a number, but 'sad' in row 1 is a name"),
        ([1, True], "row 2: the label True is a truth value, but 1 in row 1 is a number"),
    ],
)
def test_what_is_no_label_is_named_with_its_row(values: Sequence[object], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        column_labels(values, "x.parquet", "label")
    assert "\n" not in str(caught.value)


def test_names_in_one_line_and_twice_the_same_name_is_one_class() -> None:
    labels = name_labels(["hap\npy", "sad"], "x", ["hap\npy", "hap py", "sad"])
    assert labels.names == ["hap py", "sad"] and labels.declared == ("hap py", "sad")
    assert labels.notes == (
        "the label 'hap\\npy' is read as 'hap py'",
        "the labels 'hap\\npy', 'hap py' are read as one",
    )
    labels = column_labels([0, 1, 2], "x", "label", classes=("happy", "happy", "sad"))
    assert labels.names == ["happy", "happy", "sad"] and labels.declared == ("happy", "sad")
    assert labels.notes == ("several classes are named 'happy': they are read as one",)
    with pytest.raises(DataError, match="a label without a name"):
        name_labels(["\t"], "x")


def test_numbers_without_names_are_asked_for() -> None:
    with pytest.raises(
        DataError, match=r"the labels \(0, 1, 10\) are numbers without names.*--label-map fer7, ferplus8"
    ):
        check_named({"10": "row 1: label", "0": "row 2: label", "1": "row 3: label"}, {}, "x")
    with pytest.raises(
        DataError, match=r"'7', expected 0 to 1 \(a, b\); without a name: 7 \(1,204 images\)\. .*map 7=NAME"
    ):
        check_named({"7": "line 2: emotion"}, {"0": "a", "1": "b"}, "x.csv", {"7": 1204})


def test_labels_are_ordered_as_fer2013_s_where_they_are_its_own_and_numbers_by_value() -> None:
    assert order_labels(["Joy", "anger", "fear"]) == ("anger", "fear", "Joy")
    assert order_labels(["contempt", "Anger", "happy"]) == ("Anger", "contempt", "happy")
    assert order_labels(["LABEL_10", "LABEL_9"]) == ("LABEL_9", "LABEL_10")
