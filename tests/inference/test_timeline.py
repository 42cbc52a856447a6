"""The timeline of a video: time by expression."""

import logging
from pathlib import Path

import numpy as np
import pytest

from fervit.inference.results import FrameResult
from fervit.inference.rows import json_rows
from fervit.inference.timeline import Timeline
from fervit.media.style import fonts
from fervit.types import Box, Face, Frame, Prediction


def test_the_timeline_counts_time_by_expression() -> None:
    timeline = Timeline()
    labels = ("sad", "happy")
    for k in range(10):
        face = Face(Box(0, 0, 9, 9), 1.0)
        p = np.array([0.2, 0.8]) if k < 3 else np.array([0.9, 0.1])
        result = FrameResult("v", Frame(k, k / 10, np.zeros((1, 1, 3), np.uint8)), [Prediction(face, labels, p, 1)])
        timeline.add(result)
    timeline.close()
    lines = list(timeline.summary())
    assert lines[0] == "10 frames, 1.0 s, 1 face track"
    assert lines[1].endswith("sad 70 %, happy 30 %")
    assert json_rows(result)[0]["frame"] == 9


@pytest.mark.slow
def test_a_figure_with_labels_that_no_font_has_shows_their_places_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(fonts, "SYSTEM", ())
    labels = ("楽しい", "müde")
    timeline = Timeline()
    for k in range(3):
        prediction = Prediction(Face(Box(0, 0, 9, 9), 1.0), labels, np.array([0.2, 0.8]), 1)
        timeline.add(FrameResult("v", Frame(k, k / 10, np.zeros((1, 1, 3), np.uint8)), [prediction]))
    timeline.close()
    with caplog.at_level(logging.WARNING, "fervit"):
        timeline.save(tmp_path / "timeline.png")  # matplotlib would warn of a missing glyph, which is an error here
    assert [record.getMessage() for record in caplog.records if "#0 for 楽しい" in record.getMessage()]


@pytest.mark.filterwarnings("error")
def test_the_legend_of_the_figure_has_every_label_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure
    legend = figure.legend
    names: list[str] = []

    def noted(self: object, handles: object, texts: list[str], **options: object) -> object:
        names.extend(text.get_text() for text in legend(self, handles, texts, **options).get_texts())
        return None

    monkeypatch.setattr(figure, "legend", noted)
    timeline = Timeline()
    for k in range(3):
        face = Prediction(Face(Box(0, 0, 9, 9), 1.0), ("_leer", "$x^2$", "fro\u0308hlich"), np.full(3, 1 / 3), 1)
        timeline.add(FrameResult("v", Frame(k, k / 10, np.zeros((1, 1, 3), np.uint8)), [face]))
    timeline.close()
    timeline.save(tmp_path / "timeline.png")
    assert names == ["_leer", r"\$x^2\$", "fr\u00f6hlich"]
