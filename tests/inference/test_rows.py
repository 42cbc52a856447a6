"""Results as text: JSON rows and aligned lines."""

import json
from pathlib import Path

import pytest

from fervit.inference.classifier import OnnxClassifier
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import ImageResult
from fervit.inference.rows import columns, json_lines, json_rows, table_lines
from tests.helpers.photos import Corners, photo


@pytest.fixture
def recognizer(tiny_onnx: Path) -> Recognizer:
    return Recognizer(OnnxClassifier(tiny_onnx, threads=1), Corners())


def test_rows_tell_faces_no_face_and_errors_apart(recognizer: Recognizer) -> None:
    predictions = recognizer(photo(2))
    rows = json_rows(ImageResult("a.jpg", predictions))
    assert [list(row) for row in rows] == [["source", "box", "face_score", "label", "score", "probs"]] * 2
    assert sum(rows[0]["probs"].values()) == pytest.approx(1, abs=1e-5)
    assert json_rows(ImageResult("b.jpg")) == [{"source": "b.jpg", "faces": 0}]
    assert json_rows(ImageResult("c.jpg", error="cut")) == [{"source": "c.jpg", "error": "cut"}]
    lines = json_lines(ImageResult("ü.jpg", predictions)).splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["ü.jpg", "ü.jpg"]


def test_table_lines_are_aligned_for_wide_and_odd_names(recognizer: Recognizer) -> None:
    predictions = recognizer(photo(2))
    lines = [
        line for name in ("a.jpg", "表情.jpg", "x\n.jpg") for line in table_lines(ImageResult(name, predictions), 12)
    ]
    assert len(lines) == 6
    assert len({columns(line[: line.index(" %")]) for line in lines}) == 1
    assert next(table_lines(ImageResult("none.jpg"), 12)).split() == ["none.jpg", "no", "face"]
    assert "\x1b" not in next(table_lines(ImageResult("e", error="bad \x1b[2J"), 12))


def test_rows_name_the_detector_that_stands_in_for_the_usual_one() -> None:
    assert json_rows(ImageResult("a.jpg", fallback="haar")) == [{"source": "a.jpg", "detector": "haar", "faces": 0}]
    assert json_rows(ImageResult("a.jpg")) == [{"source": "a.jpg", "faces": 0}]
