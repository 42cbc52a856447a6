"""Episodes and transitions, counted by hand: a letter is a tenth of a second."""

import pytest

from fervit.analysis.study import Study, study
from tests.helpers.studies import Row, frame, video


def spans(found: Study) -> list[tuple[str, float, float]]:
    rows = found.rows("episodes")
    return [(str(row["expression"]), float(str(row["start_s"])), float(str(row["end_s"]))) for row in rows]


def counts(found: Study) -> dict[tuple[str, str], int]:
    rows = found.rows("transitions")
    return {(str(row["from"]), str(row["to"])): int(str(row["count"])) for row in rows if row["count"]}


def of(text: str, min_s: float = 0.5) -> list[tuple[str, float, float]]:
    return spans(study(video(text), min_episode_s=min_s))


def test_runs_of_one_label_are_episodes() -> None:
    assert of("ssssshhhhhh") == [("sad", 0.0, 0.5), ("happy", 0.5, 1.1)]


def test_a_run_that_is_too_short_is_none_and_one_of_just_the_length_is_one() -> None:
    assert of("sssshhhhh") == [("happy", 0.4, 0.9)]
    assert of("ss") == []


def test_a_short_interruption_is_bridged_and_a_longer_one_is_not() -> None:
    assert of("ssssshhsssss") == [("sad", 0.0, 1.2)]
    assert of("sssss----sssss") == [("sad", 0.0, 1.4)]
    assert of("sssss-----sssss") == [("sad", 0.0, 0.5), ("sad", 1.0, 1.5)]
    assert of("sssssshnhnhssssss") == [("sad", 0.0, 0.6), ("sad", 1.1, 1.7)]


def test_a_gap_and_a_cut_end_an_episode_and_are_not_bridged() -> None:
    rows = video("ssssssssss")
    cut = [{**row, "cut": k == 5} for k, row in enumerate(rows)]
    assert spans(study(cut)) == [("sad", 0.0, 0.5), ("sad", 0.5, 1.0)]
    assert counts(study(cut)) == {}
    gap = [*video("ssssss-"), *video("ssssss", start=5.0)]
    assert spans(study([{**row, "frame": k} for k, row in enumerate(gap)])) == [("sad", 0.0, 0.6), ("sad", 5.0, 5.6)]


def test_a_frame_of_a_variable_rate_counts_for_as_long_as_it_stands() -> None:
    rows = [
        frame("a.mp4", k, time, label) for k, (time, label) in enumerate([(0, "sad"), (0.6, "happy"), (0.7, "sad")])
    ]
    assert spans(study(rows)) == [("sad", 0.0, 0.6)]


def test_transitions_lead_from_an_episode_to_the_next_one() -> None:
    found = study(video("sssss" + "hhhhh" + "sssss" + "hhhhh" + "nnnnn"))
    assert counts(found) == {("sad", "happy"): 2, ("happy", "sad"): 1, ("happy", "neutral"): 1}
    rows = {(row["from"], row["to"]): row["probability"] for row in found.rows("transitions")}
    assert rows["happy", "sad"] == rows["happy", "neutral"] == 0.5
    assert rows["sad", "happy"] == 1.0
    assert rows["neutral", "sad"] is None  # neutral is followed by nothing
    assert len(rows) == 9


def test_unsettled_time_between_is_no_obstacle_but_a_long_absence_is() -> None:
    assert counts(study(video("sssss" + "hn" * 4 + "hhhhh"))) == {("sad", "happy"): 1}
    assert counts(study(video("sssss" + "----" + "hhhhh"))) == {("sad", "happy"): 1}
    assert counts(study(video("sssss" + "-----" + "hhhhh"))) == {}


def test_two_people_have_episodes_of_their_own() -> None:
    rows: list[Row] = video("ssssss") + video("hhhhhh", track=2)
    assert spans(study(rows)) == [("sad", 0.0, 0.6), ("happy", 0.0, 0.6)]


def test_the_probability_of_an_episode_is_weighted_by_time() -> None:
    rows = [
        {**frame("a.mp4", k, time, "sad"), "p_sad": p, "p_happy": 1 - p, "p_neutral": 0.0}
        for k, (time, p) in enumerate([(0.0, 0.9), (0.1, 0.6), (0.4, 0.9), (0.5, 0.9)])
    ]
    (row,) = study(rows).rows("episodes")
    assert row["mean_prob"] == pytest.approx((0.9 * 0.3 + 0.6 * 0.3) / 0.6)
