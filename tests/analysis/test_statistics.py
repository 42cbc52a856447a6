"""Statistics of a person, by hand; and how often the intervals hold the truth."""

import numpy as np
import pytest

from fervit.analysis.statistics import FEWEST_BLOCKS, block_intervals, t_quantile
from fervit.analysis.study import study
from tests.helpers.studies import Row, chain, frame, video


def person(rows: list[Row]) -> dict[str, Row]:
    """Return the long form's row of each expression."""
    return {str(row["expression"]): row for row in study(rows).rows("per_person")}


def test_fractions_and_probabilities_are_weighted_by_time_where_the_rate_varies() -> None:
    times = [(0.0, "sad"), (0.1, "happy"), (0.4, "sad"), (0.5, "sad")]  # 0.3 s sad, 0.3 s happy
    found = person([frame("a.mp4", k, time, label) for k, (time, label) in enumerate(times)])
    assert [found[name]["fraction"] for name in ("sad", "happy", "neutral")] == [0.5, 0.5, 0.0]
    assert [found[name]["seconds"] for name in ("sad", "happy", "neutral")] == [0.3, 0.3, 0.0]
    assert found["sad"]["mean_prob"] == pytest.approx(0.45)
    assert found["neutral"]["mean_prob"] == pytest.approx(0.1)


def test_frames_without_a_face_count_as_not_visible() -> None:
    found = person(video("--ssssss--"))["sad"]
    assert (found["visible_s"], found["video_s"], found["visible_fraction"]) == (0.6, 1.0, 0.6)
    assert (found["fraction"], found["first_s"]) == (1.0, 0.2)


def test_gaps_count_neither_as_visible_nor_as_not() -> None:
    rows = [*video("ssssss----"), *video("ssssssssss", start=9.0)]
    found = person([{**row, "frame": k} for k, row in enumerate(rows)])["sad"]
    assert (found["visible_s"], found["video_s"], found["visible_fraction"]) == (1.6, 2.0, 0.8)


def test_a_single_frame_has_fractions_but_no_seconds_and_no_episode() -> None:
    found = person(video("h"))["happy"]
    assert (found["fraction"], found["mean_prob"], found["seconds"], found["episodes"]) == (1.0, 0.8, 0.0, 0)
    assert found["visible_fraction"] is None
    assert found["first_s"] is None


def test_episodes_their_mean_length_and_the_first_time() -> None:
    found = person(video("sssss" + "hhhhhh" + "nnnnn" + "hhhhhhhh"))
    happy = found["happy"]
    assert (happy["episodes"], happy["episode_mean_s"], happy["first_s"]) == (2, 0.7, 0.5)
    assert (found["sad"]["episodes"], found["sad"]["first_s"]) == (1, 0.0)


def test_of_equal_probabilities_the_table_says_which_is_the_label_else_the_first_is() -> None:
    tied: Row = {"p_sad": 0.45, "p_happy": 0.45, "p_neutral": 0.1}
    assert person([{**row, **tied} for row in video("hhhh")])["happy"]["fraction"] == 1.0
    unnamed = [{**row, **tied, "label": None} for row in video("hhhh")]
    assert person(unnamed)["sad"]["fraction"] == 1.0


def test_uncertain_is_an_expression_without_a_probability() -> None:
    rows = video("ssssssssss")
    found = person([{**row, "label": "uncertain" if k < 5 else "sad"} for k, row in enumerate(rows)])
    assert list(found) == ["sad", "happy", "neutral", "uncertain"]
    assert (found["uncertain"]["fraction"], found["uncertain"]["mean_prob"]) == (0.5, None)
    assert found["sad"]["mean_prob"] == pytest.approx(0.8)


def test_a_short_video_has_no_interval_and_a_long_one_has() -> None:
    block = "s" * 50 + "h" * 50  # 10 s
    assert person(video(block * (FEWEST_BLOCKS - 1)))["sad"]["lower"] is None
    found = person(video(("s" * 20 + "h" * 70 + "n" * 10 + "s" * 45 + "h" * 35 + "n" * 20) * 4))
    for name in ("sad", "happy", "neutral"):
        low, middle, high = (float(str(found[name][key])) for key in ("lower", "fraction", "upper"))
        assert low < middle < high
        low, middle, high = (float(str(found[name][f"mean_prob{key}"])) for key in ("_lower", "", "_upper"))
        assert low < middle < high


def test_equal_blocks_have_an_interval_of_no_width() -> None:
    values = np.tile(np.repeat([0.0, 1.0], 10), 10)[:, None]  # each 2 s block is half and half
    ends = block_intervals(values, np.full(200, 0.1), block_s=2.0)
    assert ends is not None
    assert ends.ravel() == pytest.approx([0.5, 0.5])


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    values = np.random.default_rng(0).random((600, 1))
    ends = [block_intervals(values, np.full(600, 0.1), seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(ends[0], ends[1])  # type: ignore[arg-type]
    assert not np.array_equal(ends[0], ends[2])  # type: ignore[arg-type]


def test_the_intervals_hold_the_truth_nearly_as_often_as_they_claim() -> None:
    rng, held, trials = np.random.default_rng(7), 0, 300
    for _ in range(trials):
        states = chain(rng, 120, stay_s=(2.0, 1.0))  # sad for 2.1 of 3.2 s
        ends = block_intervals((states == 0)[:, None].astype(float), np.full(len(states), 0.1), resamples=400)
        assert ends is not None
        held += ends[0, 0] <= 2.1 / 3.2 <= ends[1, 0]
    assert 0.9 <= held / trials <= 0.98


@pytest.mark.parametrize(("freedom", "expected"), [(5, 2.5706), (7, 2.3646), (10, 2.2281), (20, 2.0860), (60, 2.0003)])
def test_the_quantiles_of_t_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, abs=0.01)
