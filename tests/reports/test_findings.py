"""Thresholds, leaks, groups and robustness in words."""

from dataclasses import replace

from fervit.evaluation.report import Report
from fervit.reports import findings


def test_leaks_are_reported_with_what_they_flatter(report: Report) -> None:
    sentences = findings.leak_sentences(replace(report, seen_in={"train": 280, "public_test": 44}))
    assert sentences[0].startswith("280 of the 3,589 faces (7.8 %)")
    assert "44 of" in sentences[1] and "On the 280 from train" in sentences[2]
    assert findings.leak_sentences(replace(report, seen_in={}, leak_free=None)) == []


def test_a_threshold_is_rounded_up_never_down() -> None:
    assert findings.at_least(0.7701) == "0.771" and findings.at_least(0.77) == "0.770"
    assert findings.at_least(0.99999) == "1.000"
