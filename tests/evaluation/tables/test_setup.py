"""Names and images of a table's cells."""

import pytest

from fervit.errors import ConfigError, DataError, ModelError
from fervit.evaluation.tables.setup import find_parts, make_setup, unlike
from tests.helpers.classifiers import FakeClassifier, labelled_images


def test_names_differ_by_path_and_else_by_number() -> None:
    setup = make_setup([FakeClassifier()] * 2, [labelled_images([0], [0])], model_names=["runs/a", "runs/b"])
    assert setup.model_names == ["runs/a", "runs/b"] and setup.data_names == ["made"]
    assert unlike(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]
    assert unlike(["a", "a"], ["x", "x"]) == ["x (1)", "x (2)"]


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 0 and 1"):
        make_setup([], [labelled_images([0], [0])])


def test_mistakes_are_found_before_anything_is_predicted() -> None:
    model, numbered = FakeClassifier(), FakeClassifier([f"LABEL_{k}" for k in range(7)])
    data = labelled_images([0, 1], [0, 1])
    setup = make_setup([model, numbered], [data])
    with pytest.raises(ModelError, match="the model's labels are numbers"):
        find_parts(setup, split=None, strict_labels=False, together=False)
    with pytest.raises(ConfigError, match="flip"):
        find_parts(make_setup([model], [data]), split=None, strict_labels=False, together=False, tta="flop")
    with pytest.raises(DataError, match="unknown split"):
        find_parts(make_setup([model], [data]), split="valid", strict_labels=False, together=False)
    assert model.batches == []
