"""The one validator of a checkpoint's contract, whatever file the metadata came in."""

import json
from pathlib import Path

import pytest

from fervit.errors import ModelError
from fervit.inference.classifier import OnnxClassifier
from fervit.types import ModelSpec
from tests.helpers import write_onnx

PREPROCESS = {"image_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
GOOD = {"arch": "vit", "preprocess": PREPROCESS, "labels": list("abcdefg")}
NAN, INF = float("nan"), float("inf")
BROKEN: list[tuple[object, str]] = [
    ([], "the metadata is"),
    ("text", "the metadata is"),
    (None, "the metadata is"),
    ({"arch": "vit"}, "lacks the field preprocess"),
    ({"preprocess": PREPROCESS}, "lacks the field arch"),
    (GOOD | {"flavour": 1}, "unknown field in the metadata 'flavour'"),
    (GOOD | {"arch": 5}, "arch is 5; expected printable text"),
    (GOOD | {"name": "a\nb"}, "name is .*; expected printable text"),
    (GOOD | {"licence": ["MIT"]}, "licence is"),
    (GOOD | {"data_hash": "a" * 3000}, "data_hash is aaa.*; expected"),
    (GOOD | {"metrics": []}, "metrics is"),
    (GOOD | {"extra_inputs": {}}, "extra_inputs is"),
    (GOOD | {"trained_on": "RAF-DB"}, "trained_on is RAF-DB; expected a list"),
    (GOOD | {"trained_on": ["RAF-DB"]}, r"trained_on\[0\] is RAF-DB; expected an object"),
    (GOOD | {"trained_on": [{"terms": "MIT"}]}, r"trained_on\[0\] lacks the field name"),
    (GOOD | {"trained_on": [{"name": "a", "colour": 1}]}, r"unknown field in trained_on\[0\] 'colour'"),
    (GOOD | {"trained_on": [{"name": "a\nb"}]}, r"trained_on\[0\].name is .*; expected printable text"),
    (GOOD | {"trained_on": [{"name": "a", "non_commercial": "no"}]}, "non_commercial is no; expected true or false"),
    (GOOD | {"trained_on": [{"name": "a"}] * 2000}, "at most 1,000"),
    (GOOD | {"extra_inputs": [PREPROCESS] * 300}, "at most 64"),
    (GOOD | {"extra_inputs": [PREPROCESS | {"std": 0}]}, r"extra_inputs\[0\]\.std is 0"),
    (GOOD | {"temperature": 0}, "temperature is 0; expected a number from 1e-06 to 1e\\+06"),
    (GOOD | {"temperature": -1.0}, "temperature is -1"),
    (GOOD | {"temperature": NAN}, "temperature is nan"),
    (GOOD | {"temperature": "1"}, "temperature is 1"),
    (GOOD | {"temperature": True}, "temperature is True"),
    (GOOD | {"labels": "abcdefg"}, "labels is abcdefg; expected a list"),
    (GOOD | {"labels": 7}, "labels is 7"),
    (GOOD | {"labels": {"0": "a"}}, "labels is"),
    (GOOD | {"labels": []}, "no labels"),
    (GOOD | {"labels": [*"abcdef", "a"]}, "the label 'a' occurs twice"),
    (GOOD | {"labels": [*"abcdef", " a "]}, "the label 'a' occurs twice"),
    (GOOD | {"labels": [*"abcdef", "g\n"]}, "a label is 'g"),
    (GOOD | {"labels": [*"abcdef", "\u202eg"]}, "a label is"),
    (GOOD | {"labels": [*"abcdef", "\x1b[31mg"]}, "a label is"),
    (GOOD | {"labels": [*"abcdef", " "]}, "a label is"),
    (GOOD | {"labels": [*"abcdef", None]}, "a label is None"),
    (GOOD | {"labels": [*"abcdef", 5]}, "a label is 5"),
    (GOOD | {"labels": [*"abcdef", "g" * 300]}, "of 1 to 200 characters"),
    (GOOD | {"preprocess": []}, "preprocess is"),
    (GOOD | {"preprocess": PREPROCESS | {"flavour": 1}}, "unknown field in preprocess 'flavour'"),
]
BROKEN_PREPROCESS: list[tuple[dict[str, object], str]] = [
    ({"image_size": 0}, "image_size is 0; expected a whole number from 1 to 1,024"),
    ({"image_size": 10**9}, "image_size"),
    ({"image_size": 32.5}, "image_size"),
    ({"image_size": "32"}, "image_size"),
    ({"image_size": None}, "image_size"),
    ({"image_size": True}, "image_size"),
    ({"mean": 0.5}, "mean is 0.5; expected a list of 3 numbers"),
    ({"mean": [0.5, 0.5]}, "mean"),
    ({"mean": [0.5, "x", 0.5]}, "mean"),
    ({"mean": [0.5, NAN, 0.5]}, "mean"),
    ({"mean": [0.5]}, "mean has 1 numbers and preprocess.std 3"),
    ({"std": [0.5, 0, 0.5]}, "std is 0"),
    ({"std": [0.5, -1, 0.5]}, "std is -1"),
    ({"std": [0.5, INF, 0.5]}, "std is inf"),
    ({"interpolation": "cubic"}, "unknown filter 'cubic': did you mean 'bicubic'"),
    ({"interpolation": 3}, "unknown filter '3'"),
    ({"crop_margin": 50}, r"crop_margin is 50; expected a number from -0\.45 to 1"),
    ({"crop_margin": NAN}, "crop_margin is nan"),
    ({"crop_margin": -0.5}, "crop_margin"),
    ({"crop_margin": "0.1"}, "crop_margin"),
    ({"crop_margin": 10**400}, "crop_margin"),
    ({"crop_offset": INF}, "crop_offset is inf"),
    ({"crop_offset": 5}, "crop_offset is 5"),
    ({"resize_to": 256}, "resize_to is 256"),
    ({"resize_to": [256, 256, 3]}, "resize_to"),
    ({"resize_to": [10**9]}, "resize_to"),
]
BROKEN += [(GOOD | {"preprocess": PREPROCESS | values}, message) for values, message in BROKEN_PREPROCESS]


@pytest.mark.parametrize(("values", "message"), BROKEN)
def test_broken_metadata_of_an_onnx_file_are_refused_in_one_line(tmp_path: Path, values: object, message: str) -> None:
    write_onnx(tmp_path / "m.onnx", {"fervit": json.dumps(values)})
    with pytest.raises(ModelError, match=message) as caught:
        OnnxClassifier(tmp_path / "m.onnx", threads=1)
    assert str(tmp_path / "m.onnx") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000])
def test_metadata_that_are_no_json_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match="not JSON"):
        ModelSpec.from_json(text)


def test_what_has_its_default_is_not_written() -> None:
    spec = ModelSpec.from_dict(GOOD)
    assert "resize_to" not in spec.to_dict()["preprocess"] and "extra_inputs" not in spec.to_dict()
    assert ModelSpec.from_json(spec.to_json()) == spec
    cut = ModelSpec.from_dict(GOOD | {"preprocess": PREPROCESS | {"resize_to": [40]}})
    assert cut.preprocess.resize_to == (40,)
    assert ModelSpec.from_json(cut.to_json()) == cut
