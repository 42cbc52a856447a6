"""Labels: matched by their own name first, then by what they mean; made printable; a way out where one is missing."""

import numpy as np
import pytest

from fervit.errors import DataError
from fervit.labels import (
    FER7,
    FERPLUS8,
    clean_label,
    find_places,
    label_places,
    mapping_matrix,
    spelt_differently,
    way_out,
)


def test_a_label_is_found_by_its_own_name_before_one_that_means_the_same() -> None:
    assert find_places(("joy", "happy"), ("happy", "joy", "Happiness", "fear")) == [1, 0, 0, None]
    assert label_places(("sad", "anger"), ("angry", "Sadness")) == [1, 0]
    with pytest.raises(DataError, match="no label fear among sad"):
        label_places(("sad",), ("fear",))


def test_two_labels_that_mean_the_same_are_mapped_each_to_its_own() -> None:
    np.testing.assert_array_equal(mapping_matrix(("joy", "happy"), ("joy", "happy")), np.eye(2))
    np.testing.assert_array_equal(mapping_matrix(("joy", "happy", "fear"), ("happy",)), [[1], [1], [0]])
    assert mapping_matrix(FERPLUS8, FER7).sum() == 7


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("happy\n", "happy"),
        ("very\r\nhappy", "very happy"),
        ("a\x00b\u2028c", "a b c"),
        ("wu\u0308tend", "w\u00fctend"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_a_label_is_one_printable_line(text: str, clean: str) -> None:
    assert clean_label(text) == clean
    assert clean_label(text).isprintable()


def test_what_is_matched_in_spite_of_its_spelling_and_what_is_missing_is_said() -> None:
    assert spelt_differently(FER7, ("anger", "joy", "fear", "contempt")) == "anger = angry, joy = happy"
    assert spelt_differently(FER7, FER7) == ""
    assert way_out(["contempt"]).startswith("--drop-labels contempt leaves its images out, --label-map contempt=NAME")
    assert "--drop-labels contempt,neutral leaves their images out" in way_out(["neutral", "contempt"])
