"""Frames of a video: for how long each counts, gaps, and frames that have no row."""

import numpy as np
import pytest

from fervit.analysis.recording import Recording
from fervit.analysis.study import study
from tests.helpers.studies import Row, frame, video


def recording(rows: list[Row], **options: float) -> Recording:
    (found,) = study(rows, **options).videos  # type: ignore[arg-type]
    return found


def test_every_frame_counts_until_the_next_one_and_the_last_for_the_usual_step() -> None:
    rows = [frame("a.mp4", k, time, "sad") for k, time in enumerate((0.0, 0.1, 0.4, 0.5))]
    found = recording(rows)
    assert found.durations == pytest.approx([0.1, 0.3, 0.1, 0.1])
    assert found.video_s == pytest.approx(0.6)
    assert not found.gaps.any()


def test_a_frame_that_would_stand_too_long_is_followed_by_a_gap_that_does_not_count() -> None:
    rows = video("sss       sss", step=0.5)
    found = recording([{**row, "frame": k} for k, row in enumerate(rows)])
    assert found.gaps.tolist() == [False, False, True, False, False, False]
    assert found.video_s == pytest.approx(3.0)
    assert found.gap_s == pytest.approx(3.5)
    assert recording([{**row, "frame": k} for k, row in enumerate(rows)], gap_s=5).video_s == pytest.approx(6.5)


def test_slow_recordings_have_no_gaps_only_because_their_steps_are_long() -> None:
    assert not recording(video("ssss", step=2.0)).gaps.any()


def test_missing_frames_are_a_gap_where_frames_without_a_face_have_rows() -> None:
    found = recording(video("ss  -s"))
    assert found.gaps.tolist() == [False, True, False, False]
    assert found.video_s == pytest.approx(0.4)
    assert found.gap_s == pytest.approx(0.2)


def test_missing_frames_had_no_face_in_tables_that_have_rows_of_faces_only() -> None:
    rows = [{key: value for key, value in row.items() if key != "error"} for row in video(" ss  s")]
    found = recording(rows)
    assert not found.gaps.any()
    assert found.lead_s == pytest.approx(0.1)
    assert found.hidden.tolist() == pytest.approx([0, 0.2, 0])
    assert found.video_s == pytest.approx(0.6)
    assert found.face_s == pytest.approx(0.3)


def test_every_second_frame_is_no_hole() -> None:
    rows = [{key: value for key, value in row.items() if key != "error"} for row in video("s s s   s")]
    found = recording(rows)
    assert found.durations == pytest.approx([0.2, 0.2, 0.2, 0.2])
    assert found.hidden == pytest.approx([0, 0, 0.2, 0])


def test_a_single_frame_has_no_length() -> None:
    found = recording(video("s"))
    assert (found.video_s, found.face_s, found.end_s) == (0.0, 0.0, 0.0)


def test_rows_may_come_in_any_order_and_frames_with_two_faces_count_once() -> None:
    rows = video("ssss") + video("hhhh", track=2)
    mixed = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    found = recording(mixed)
    assert found.video_s == pytest.approx(0.4)
    assert found.face_s == pytest.approx(0.4)
    assert [person.places.tolist() for person in found.people] == [[0, 1, 2, 3]] * 2


def test_two_frames_of_one_moment_stay_two() -> None:
    found = recording([frame("a.mp4", k, time, "sad") for k, time in enumerate((0.0, 0.1, 0.1, 0.2))])
    assert found.durations == pytest.approx([0.1, 0.0, 0.1, 0.1])


def test_of_a_person_who_stands_twice_in_a_frame_the_larger_face_score_counts() -> None:
    rows = video("ss", person="Ann", face_score=0.5) + video("hh", track=2, person="Ann", face_score=0.9)
    (person,) = recording(rows).people
    assert person.labels.tolist() == [1, 1]
    assert person.track == "1, 2"
    assert study(rows).notes == ("a.mp4: Ann stands twice in 2 frames; the larger face_score counts",)


def test_the_frame_after_a_cut_is_known() -> None:
    rows = [{**row, "cut": k == 2} for k, row in enumerate(video("ssss"))]
    assert recording(rows).cuts.tolist() == [False, False, True, False]
    as_csv = [{**row, "cut": "True" if k == 2 else ""} for k, row in enumerate(video("ssss"))]
    assert recording(as_csv).cuts.tolist() == [False, False, True, False]
