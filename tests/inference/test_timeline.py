"""The summary of a video: time by expression."""

import numpy as np

from fervit.inference.results import FrameResult
from fervit.inference.rows import json_rows
from fervit.inference.timeline import Timeline
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


def test_one_frame_is_one_frame() -> None:
    timeline = Timeline()
    timeline.add(FrameResult("a.mp4", Frame(0, 0.0, np.zeros((4, 4, 3), np.uint8))))
    timeline.close()
    assert next(timeline.summary()) == "1 frame, 0.0 s, no face"
