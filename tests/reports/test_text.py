"""The sentences and tables of a report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.evaluation.report import Report
from fervit.formatting import NONE
from fervit.reports import published
from fervit.reports.card import model_card
from fervit.reports.markdown import render_markdown
from fervit.reports.report import write_report
from fervit.reports.terminal import report_as_text
from fervit.reports.text import FER2013_TEST_SIZE, calibration_sentence, class_rows, comparable, lines, notes, summary
from tests.helpers.reports import SPEC, make_report


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


def without(report: Report, row: int, *, predicted: bool) -> Report:
    """Return a report of the same faces without those of one class, which is still predicted or is not."""
    confusion = report.confusion.copy()
    confusion[row] = 0
    if not predicted:
        confusion[:, row] = 0
    return replace(report, confusion=confusion)


@pytest.mark.slow
@pytest.mark.parametrize("predicted", [True, False])
def test_what_is_not_defined_is_a_dash_everywhere_and_null_in_json(
    report: Report, tmp_path: Path, predicted: bool
) -> None:
    report = without(report, report.labels.index("fear"), predicted=predicted)
    precision = "0.000" if predicted else NONE
    assert class_rows(report)[2][:6] == ("fear", precision, NONE, NONE, NONE, NONE)
    line = next(line for line in report_as_text(report).splitlines() if line.startswith("fear"))
    assert line.split()[1:5] == [precision, NONE, NONE, NONE]
    assert f"| fear | {precision} | {NONE} | {NONE} | {NONE} |" in render_markdown(report)
    assert f"| fear | {precision} | {NONE} | {NONE} | 0 |" in model_card(SPEC, report=report)
    row = json.loads(json.dumps(report.to_dict()))["per_class"]["fear"]
    assert row["precision"] == (0.0 if predicted else None)
    assert [row[key] for key in ("recall", "recall_ci95", "f1", "f1_ci95", "support")] == [None, None, None, None, 0]
    assert Report.from_dict(report.to_dict()).per_class[2].f1 is None
    write_report(report, tmp_path, command="", spec=SPEC)  # the chart of F1 takes it, too
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f'<th scope="row">fear</th><td>{precision}</td><td>{NONE}<small>{NONE}</small></td><td><b>{NONE}' in page
    said = [note for note in notes(report) if "fear" in note]
    assert said[0].startswith("No face shows fear: recall and F1 are not defined there")
    assert len(said) == 1 + predicted and (not predicted or "counts as an F1 of 0 in macro-F1" in said[1])


def test_a_class_that_was_seen_and_never_found_has_zeros(report: Report) -> None:
    confusion = report.confusion.copy()
    confusion[2, 0] += confusion[2, 2]
    confusion[2, 2] = 0
    assert class_rows(replace(report, confusion=confusion))[2][1::3][:1] == ("0.000",)
    assert replace(report, confusion=confusion).per_class[2].f1 == 0.0
