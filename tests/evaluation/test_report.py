"""A report's JSON form."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.data.dataset import PUBLIC_TEST
from fervit.errors import DataError
from fervit.evaluation.measurement import add_threshold, evaluate
from fervit.evaluation.report import Provenance, Report, read_report
from tests.helpers import ROOT
from tests.helpers.classifiers import FakeClassifier, labelled_images
from tests.helpers.reports import leaky_report, make_report

PUBLISHED = ROOT / "docs" / "report" / "report.json"


def written(report: Report) -> str:
    return json.dumps(report.to_dict())


@pytest.mark.slow
def test_a_report_survives_its_json_form_key_for_key() -> None:
    votes = np.zeros((4, 7), np.float32)
    votes[:3, 0] = 1
    with_votes = evaluate(FakeClassifier(), labelled_images([1, 2, 4, 0], [0, 0, 3, 0], votes=votes), split=PUBLIC_TEST)
    facts = replace(leaky_report(), provenance=Provenance(model="tiny", command="fervit evaluate"))
    for report in (with_votes, facts, make_report(1, labels=("no", "yes"))):
        assert written(Report.from_dict(json.loads(written(report)))) == written(report)


def test_the_published_report_is_read_figure_for_figure() -> None:
    data = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    again = json.loads(written(read_report(PUBLISHED)))
    for record in (data, again):
        del record["robustness"]["summary"]  # made of the figures anew, in today's words
    assert list(again) == list(data) and again == data


@pytest.mark.slow
def test_every_class_has_intervals_that_hold_its_figures() -> None:
    for figures in leaky_report().per_class:
        assert figures.f1_ci95 is not None and figures.f1 is not None
        for (low, high), value in ((figures.recall.ci95, figures.recall.value), (figures.f1_ci95, figures.f1)):
            assert low <= value <= high


def test_a_threshold_for_another_precision_is_added_in_order() -> None:
    dataset = labelled_images([0] * 40, [0] * 40)
    report = evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST)
    more = add_threshold(report, dataset, 0.85)
    assert list(more.thresholds) == [0.8, 0.85, 0.9, 0.95, 0.99]
    assert add_threshold(more, dataset, 0.85) is more
    read = Report.from_dict(more.to_dict())
    with pytest.raises(DataError):
        add_threshold(read, dataset, 0.5)


@pytest.mark.parametrize("content", ["", "[]", '{"n": 3}'])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(DataError):
        read_report(tmp_path / "report.json")
