"""The sentences and tables of a report."""

from dataclasses import replace

import numpy as np
import pytest

from fervit.evaluation.report import Report
from fervit.reports import published
from fervit.reports.text import FER2013_TEST_SIZE, calibration_sentence, comparable, lines, notes, summary
from tests.helpers.reports import make_report


def test_the_summary_compares_with_the_paper_and_with_chance(report: Report) -> None:
    text = summary(report)
    assert f"of {FER2013_TEST_SIZE:,} faces" in text and "of the 3,309 that the train split does not have too" in text
    points = 100 * (report.accuracy.value - published.PAPER.accuracy)
    assert f"{abs(points):.2f} points {'above' if points > 0 else 'below'} the paper's 67.22 %" in text
    assert "more than chance explains" in summary(make_report(skill=0.5))
    confusion = np.diag([2441, *[0] * 6])
    confusion[0, 1] = FER2013_TEST_SIZE - 2441  # an accuracy of 68.01 %
    near = replace(report, confusion=confusion)
    assert "0.79 points above" in summary(near) and "chance can explain" in summary(near)


def test_other_data_is_not_compared_with_the_paper() -> None:
    report = make_report(50, name="synthetic:350")
    assert not comparable(report) and "paper" not in summary(report)
    assert any("do not compare" in note for note in notes(report))
    assert any("no train split" in note for note in notes(report))


def test_figures_are_in_reading_order(report: Report) -> None:
    names = [line.name for line in lines(report)]
    assert names[:2] == ["macro-F1", "balanced accuracy"]
    assert names.index("accuracy, all 3,589") < names.index("accuracy, leak-free 3,309")


@pytest.mark.parametrize(
    ("difference", "verdict"), [(0.03, "overconfident"), (-0.03, "underconfident"), (0.01, "well calibrated")]
)
def test_confidence_is_compared_with_accuracy(report: Report, difference: float, verdict: str) -> None:
    calibration = replace(report.calibration, confidence=report.accuracy.value + difference)
    assert verdict in calibration_sentence(replace(report, calibration=calibration))
