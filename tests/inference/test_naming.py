"""What a model's outputs are called."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fervit
from fervit.errors import FervitError, ModelError
from fervit.inference.loading import open_classifier
from fervit.inference.naming import name_labels
from fervit.label_rules import LabelMap
from fervit.labels import FER7
from fervit.types import ModelSpec
from tests.helpers import write_onnx

NUMBERED = tuple(f"LABEL_{k}" for k in range(7))


@pytest.mark.parametrize(
    ("label_map", "expected"),
    [
        ("fer7", FER7),
        ("LABEL_0=Anger,LABEL_1=b,LABEL_2=c,3=d,4=e,5=f,label_6=JOY", ("angry", "b", "c", "d", "e", "f", "happy")),
        (dict(enumerate("abcdefg")), tuple("abcdefg")),
        (["fer7", "LABEL_6=calm"], (*FER7[:6], "calm")),
    ],
)
def test_numbers_get_the_names_that_the_user_says(label_map: LabelMap, expected: tuple[str, ...]) -> None:
    assert name_labels("m", NUMBERED, label_map) == expected


@pytest.mark.parametrize(
    ("labels", "label_map", "message"),
    [
        (NUMBERED, None, r"m calls its outputs LABEL_0, .*LABEL_6, which says nothing: .*--label-map LABEL_0=angry"),
        (NUMBERED, None, r"or a set in whose order they are \(fer7, raf7\)"),
        (("0", "1"), None, "m calls its outputs 0, 1"),
        (NUMBERED, "LABEL_0=angry", "m calls its outputs LABEL_1"),
        (NUMBERED, "affectnet8", "m has 7 labels, and --label-map affectnet8 names 8"),
        (FER7, "bored=sad", "m: --label-map: unknown label 'bored'"),
        (FER7, "sad=joy", "calls two outputs 'happy'; expected a name of its own for each"),
        (FER7, "sad", "--label-map takes"),
    ],
)
def test_what_cannot_be_named_is_refused(labels: tuple[str, ...], label_map: str | None, message: str) -> None:
    with pytest.raises(FervitError, match=message):
        name_labels("m", labels, label_map)


def test_a_file_is_opened_under_the_names_and_keeps_them_where_it_is_sent(tmp_path: Path, tiny_spec: ModelSpec) -> None:
    path = tmp_path / "m.onnx"
    write_onnx(path, {"fervit": replace(tiny_spec, labels=NUMBERED).to_json()})
    with pytest.raises(ModelError, match=r"m\.onnx calls its outputs LABEL_0"):
        fervit.load(path)
    recognizer = fervit.load(path, detector="none", label_map="fer7")
    assert recognizer.spec.labels == FER7
    again = pickle.loads(pickle.dumps(recognizer.classifier))
    assert again.spec.labels == FER7
    crops = np.zeros((1, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(again.probs(crops), recognizer.classifier.probs(crops))


def test_a_model_without_any_expression_says_what_it_predicts(
    tmp_path: Path, tiny_spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    write_onnx(tmp_path / "m.onnx", {"fervit": replace(tiny_spec, labels=tuple("abcdefg")).to_json()})
    open_classifier(tmp_path / "m.onnx")
    assert caplog.messages == ["m.onnx predicts a, b, c, d, e, f, g, none of which is an expression known to fervit"]
