"""A table of several models on several data sets."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.evaluation.measurement import evaluate
from fervit.evaluation.tables.cross import CSV_HEADER, HEADER, EvaluationTable, evaluate_table
from fervit.evaluation.tables.setup import make_setup
from fervit.labels import FERPLUS8
from tests.helpers.classifiers import FakeClassifier, labelled_images


def named(name: str, labels: tuple[str, ...]) -> FakeClassifier:
    model = FakeClassifier(labels)
    model.spec = replace(model.spec, name=name)
    return model


@pytest.fixture
def wide() -> Dataset:
    """Forty test images of FER+'s eight labels, with a name that Markdown and LaTeX read as something else."""
    targets = np.tile(np.arange(8), 5)
    data = labelled_images(targets, np.zeros(40, int), splits=[2] * 40)
    return replace(data, labels=FERPLUS8, targets=targets, name="50%_of|a&b")


@pytest.fixture
def table(wide: Dataset) -> EvaluationTable:
    """Two models on thirty public_test images (with train beside them) and on `wide`."""
    targets = np.tile(np.arange(7), 9)[:60]
    predicted = np.where(np.arange(60) < 10, (targets + 1) % 7, targets)
    narrow = labelled_images(predicted, targets, splits=[1] * 30 + [0] * 30)
    narrow.images[50] = narrow.images[29]  # correctly predicted, and in train too
    models = [FakeClassifier(), named("eight", FERPLUS8)]
    return evaluate_table(make_setup(models, [narrow, wide]), batch_size=8)


def test_a_row_is_what_evaluate_reports(table: EvaluationTable) -> None:
    assert [(row.model, row.data, row.split, row.n) for row in table.rows] == [
        ("fake-7", "made", "public_test", 30),
        ("eight", "made", "public_test", 30),
        ("fake-7", "50%_of|a&b", "private_test", 35),
        ("eight", "50%_of|a&b", "private_test", 40),
    ]
    first = table.rows[0]
    assert first.accuracy.value == pytest.approx(20 / 30) and first.accuracy.ci95[0] < 20 / 30 < first.accuracy.ci95[1]
    assert table.rows[3].accuracy.value == table.rows[3].macro_f1 == table.rows[3].balanced_accuracy == 1
    assert [row.labels for row in table.rows] == ["7", "7, without contempt (model)", "7, without contempt (data)", "8"]


def test_a_table_of_one_is_evaluate(wide: Dataset) -> None:
    (report,) = evaluate_table(make_setup([named("eight", FERPLUS8)], [wide])).reports
    alone = evaluate(named("eight", FERPLUS8), wide, split=None)
    assert report.to_dict() | {"seconds": 0} == alone.to_dict() | {"seconds": 0}


def test_notes_say_what_is_not_the_same_for_all(table: EvaluationTable) -> None:
    notes = "\n".join(table.notes)
    assert "fake-7 on 50%_of|a&b, private_test: faces whose label the model does not know are left out: 5 of " in notes
    assert "5 of contempt" in notes
    assert "eight on made, public_test: the model's probability of contempt, which the data lacks" in notes
    assert "50%_of|a&b: the models are measured on different faces, so their rows do not compare." in notes
    assert "fake-7 on made, public_test: 1 faces are in the train split; accuracy on the other 29: 65.52 %" in notes
    assert "public_test is for choosing" in notes


def test_markdown_and_latex_escape_names(table: EvaluationTable) -> None:
    lines = table.to_markdown().splitlines()
    assert lines[0].count(" | ") == len(HEADER) - 1 and "50%_of\\|a&b, private_test" in lines[4]
    assert lines[2].startswith("| fake-7 | made, public_test | 30 | 66.67 % | 48.78 to 80.77 % |")
    assert lines[6] == "" and lines[7].startswith("- ")
    latex = table.to_latex()
    assert r"50\%\_of\textbar{}a\&b, private\_test & 35 & " in latex
    assert r"66.67\,\% & 48.78--80.77\,\% & " in latex
    assert latex.startswith("% needs \\usepackage{booktabs}\n\\begin{tabular}{llrrrrrrrl}\n\\toprule\n")
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(body) == 5 and {line.replace(r"\&", "").count("&") for line in body} == {len(HEADER) - 1}


def test_csv_has_all_digits_and_reads_back(table: EvaluationTable) -> None:
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert tuple(rows[0]) == CSV_HEADER and len(rows) == 4
    assert float(rows[0]["accuracy"]) == 20 / 30 and float(rows[0]["accuracy_leak_free"]) == 19 / 29
    assert rows[2]["data"] == "50%_of|a&b" and rows[2]["left_out"] == "contempt 5" and rows[2]["n_leak_free"] == ""
    assert rows[1]["distributed"] == "contempt" and "contempt" not in rows[1]["labels"].split()


def test_json_holds_every_report(table: EvaluationTable) -> None:
    data = json.loads(json.dumps(table.to_dict()))
    assert [report["n"] for report in data["reports"]] == [30, 30, 35, 40]
    assert data["notes"] == list(table.notes)


def test_progress_is_that_of_the_whole_table(wide: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    setup = make_setup([FakeClassifier(), named("eight", FERPLUS8)], [wide])
    evaluate_table(setup, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(35, 75), (75, 75)]
