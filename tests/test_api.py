"""`fervit.evaluate` and `fervit.compare` on names and on opened things."""

from pathlib import Path

import pytest

import fervit
from fervit.errors import ConfigError, DataError


def test_evaluate_takes_paths_as_well_as_opened_models_and_data(tiny_onnx: Path) -> None:
    by_name = fervit.evaluate(str(tiny_onnx), "synthetic:70", split="private_test", batch_size=4)
    opened = fervit.evaluate(
        fervit.OnnxClassifier(tiny_onnx), fervit.load_dataset("synthetic:70"), split="private_test"
    )
    assert by_name.model == "tiny" and by_name.split == "private_test"
    assert (by_name.confusion == opened.confusion).all()
    assert fervit.evaluate(tiny_onnx, "synthetic:70", tta="flip").tta == "flip"


def test_compare_takes_paths_and_names_the_two(tiny_onnx: Path) -> None:
    result = fervit.compare(tiny_onnx, tiny_onnx, "synthetic:70", split="train", names=("old", "new"))
    assert result.names == ("old", "new") and not result.distinguishable


def test_what_is_missing_of_the_data_is_found_before_the_model_is_opened(tiny_onnx: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'public_test'"):
        fervit.evaluate("nowhere.onnx", "synthetic:70", split="publictest")
    with pytest.raises(ConfigError, match="did you mean 'flip'"):
        fervit.evaluate(tiny_onnx, "synthetic:70", tta="flop")
