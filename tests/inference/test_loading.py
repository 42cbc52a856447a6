"""Opening a model by name, file or folder."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fervit.inference.recognizer
from fervit.errors import ModelError
from fervit.inference.loading import load, open_classifier
from fervit.types import ModelSpec
from tests.helpers import write_onnx
from tests.helpers.licences import RAF


def test_a_model_whose_name_no_file_can_have_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match=r"cannot read .*too long"):
        load("a" * 300 + ".onnx")


def test_load_reads_a_file_and_finds_the_astronaut(tiny_onnx: Path, astronaut: np.ndarray) -> None:
    assert len(fervit.load(tiny_onnx)(astronaut)) == 1


def test_a_folder_is_run_by_torch_and_without_it_names_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fervit.models", None)
    with pytest.raises(ModelError, match=r"fervit export .*fervit\[train\]"):
        open_classifier(tmp_path)


def test_a_model_for_non_commercial_use_says_so_where_it_is_opened(
    tmp_path: Path, tiny_spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    write_onnx(tmp_path / "wild.onnx", {"fervit": replace(tiny_spec, trained_on=(RAF,)).to_json()})
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path / "wild.onnx").classifier.spec.trained_on == (RAF,)
        load(tmp_path / "wild.onnx")
        load("mobilenet_int8")
    assert caplog.messages == ["wild.onnx: trained on RAF-DB: non-commercial research only"]
