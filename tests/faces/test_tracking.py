"""Tracks: ids that last, boxes that do not jump, probabilities that settle."""

import numpy as np
import pytest

from fervit.errors import ConfigError
from fervit.faces.tracking import Smoother, Tracker, between
from fervit.types import Box, Face


def face(x: float, y: float = 0, side: float = 40) -> Face:
    return Face(Box(x, y, x + side, y + side), 0.9)


def test_ids_follow_faces_whatever_their_order() -> None:
    tracker = Tracker()
    assert tracker.update([face(0), face(100)], 0.0) == [1, 2]
    assert tracker.update([face(104), face(3), face(300)], 0.04) == [2, 1, 3]


def test_a_track_survives_five_seconds_of_loss_and_no_more() -> None:
    tracker = Tracker()
    tracker.update([face(0)], 0.0)
    for k in range(1, 50):
        assert tracker.update([], k / 10) == []
    assert tracker.update([face(5)], 4.95) == [1]
    assert tracker.update([], 5.0) == []
    assert tracker.update([face(5)], 10.1) == [2]
    assert tracker.alive() == {2}


def test_who_comes_back_elsewhere_or_in_another_size_is_not_the_one_who_was_lost() -> None:
    for other in (face(90), face(0, side=100)):
        tracker = Tracker()
        tracker.update([face(0)], 0.0)
        tracker.update([], 1.0)
        assert tracker.update([other], 3.0) == [2]


def test_who_stops_in_front_of_another_keeps_the_own_track_and_leaves_the_other_theirs() -> None:
    tracker = Tracker()
    for k in range(21):
        walker, sitter = face(4 * k, 8), face(120)
        assert tracker.update([sitter, walker], k / 25) == ([1, 2])
    for k in range(21, 60):  # only the walker is seen from here on, at last exactly where the sitter is
        assert tracker.update([face(min(4 * k, 120), 8 if 4 * k < 120 else 0)], k / 25) == [2]
    for k in range(60, 80):
        assert tracker.update([face(120 + 4 * (k - 59), 0)], k / 25) == [2]
    assert tracker.update([face(120), face(204)], 80 / 25) == [1, 2]


def test_an_end_leaves_nobody_to_be_followed() -> None:
    tracker = Tracker()
    ids = tracker.update([face(0), face(100)], 0.0)
    tracker.end()
    assert tracker.alive() == set()
    assert not tracker.same([face(0), face(100)], ids, 0.04)
    assert tracker.update([face(0), face(100)], 0.04) == [3, 4]


@pytest.mark.parametrize("patience", [-1.0, float("nan"), float("inf"), "5"])
def test_a_patience_that_is_no_time_is_refused(patience: float) -> None:
    with pytest.raises(ConfigError, match="patience of 0 seconds or more"):
        Tracker(patience_s=patience)


def test_a_face_of_the_last_frame_keeps_its_track_however_long_ago_that_was() -> None:
    tracker = Tracker()
    for k in range(4):
        assert tracker.update([face(k)], 1.5 * k) == [1]
    assert tracker.same([face(4)], [1], 9.0)


def test_who_is_the_same_is_asked_of_the_tracks_that_still_live() -> None:
    tracker = Tracker(patience_s=1.0)
    tracker.update([face(0)], 0.0)
    tracker.update([], 0.5)
    assert not tracker.same([face(0)], [1], 1.5)
    assert tracker.update([face(0)], 1.5) == [2]


def test_everyone_in_a_crowd_keeps_a_track() -> None:
    tracker = Tracker()
    crowd = [face(50 * (k % 20), 50 * (k // 20)) for k in range(200)]
    ids = tracker.update(crowd, 0.0)
    moved = [face(50 * (k % 20) + 4, 50 * (k // 20) + 3) for k in range(200)]
    assert tracker.same(moved, ids, 0.04)
    assert tracker.update(moved[::-1], 0.04) == ids[::-1]


def test_motion_keeps_faces_that_pass_each_other_apart() -> None:
    tracker = Tracker()
    for k in range(41):
        left, right = face(4 * k), face(160 - 4 * k, 12)
        assert tracker.update([left, right], k / 25) == [1, 2]


def test_a_small_fast_face_keeps_its_track_without_overlap() -> None:
    tracker = Tracker()
    assert [tracker.update([face(18 * k, side=20)], k / 10) for k in range(6)] == [[1]] * 6


def test_a_far_or_larger_face_is_another_one() -> None:
    tracker = Tracker()
    tracker.update([face(0)], 0.0)
    assert tracker.update([face(90)], 0.1) == [2]
    assert tracker.update([face(100, side=200)], 0.2) == [3]


def test_asking_changes_nothing() -> None:
    tracker = Tracker()
    ids = tracker.update([face(0), face(100)], 0.0)
    assert tracker.same([face(102), face(1)], ids, 0.1)
    assert not tracker.same([face(1)], ids, 0.1)
    assert not tracker.same([face(1), face(102), face(200)], ids, 0.1)
    assert tracker.update([face(0), face(100)], 0.1) == ids


def test_between_lies_on_the_line() -> None:
    marks = np.arange(10.0).reshape(5, 2)
    first, last = Face(Box(0, 0, 10, 10), 0.8, marks), Face(Box(10, 20, 40, 50), 0.6, marks + 10)
    middle = between(first, last, 0.5)
    assert middle.box.to_list() == [5, 10, 25, 30]
    assert middle.score == pytest.approx(0.7)
    assert middle.landmarks is not None
    np.testing.assert_allclose(middle.landmarks, marks + 5)
    assert between(first, face(0), 0.5).landmarks is None


def test_smoothing_has_its_time_constant_whatever_the_frame_rate() -> None:
    for rate in (10, 100):
        smoother = Smoother(0.3)
        smoother(1, np.array([1.0, 0.0]), 0.0)
        for k in range(1, round(0.3 * rate) + 1):
            probs = smoother(1, np.array([0.0, 1.0]), k / rate)
        assert probs[1] == pytest.approx(1 - np.exp(-1))
        assert probs.sum() == pytest.approx(1)


def test_smoothing_keeps_tracks_apart_and_forgets_dead_ones() -> None:
    smoother = Smoother(1.0)
    smoother(1, np.array([1.0, 0.0]), 0.0)
    assert smoother(2, np.array([0.0, 1.0]), 0.1)[1] == 1
    smoother.forget({2})
    assert smoother(1, np.array([0.0, 1.0]), 0.2)[1] == 1
    assert Smoother(0)(1, np.array([0.3, 0.7]), 0.0)[0] == pytest.approx(0.3)
