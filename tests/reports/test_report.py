"""A report's folder."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from fervit.errors import ConfigError
from fervit.evaluation.report import Report, read_report
from fervit.reports import findings, text
from fervit.reports.report import provenance, write_report
from tests.helpers import ROOT
from tests.helpers.page import Page
from tests.helpers.reports import COMMAND, SPEC, make_report


def test_a_report_is_a_page_markdown_json_and_charts(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    charts = ["confusion.png", "f1.png", "reliability.png"]
    assert names == [*charts, "report.html", "report.json", "report.md", "risk_coverage.png"]
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            assert image.format == "PNG" and image.width > 500


def test_every_form_has_the_same_figures(folder: Path, report: Report) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8")).words
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    expected = dict(report.to_dict())
    assert {key: record[key] for key in expected} == expected
    assert record["provenance"]["command"] == COMMAND
    for form in (page, markdown):
        assert text.summary(report) in form
        assert COMMAND in form and "ab" * 32 in form and "67.22 %" in form and "Apache-2.0" in form
        for line in text.lines(report):
            assert line.name in form and line.value in form and line.interval in form
        for figures in report.per_class:
            assert f"{figures.f1:.3f}" in form


@pytest.mark.slow
def test_groups_robustness_leaks_and_thresholds_are_in_every_form(full: tuple[Path, Report]) -> None:
    folder, report = full
    page = Page((folder / "report.html").read_text(encoding="utf-8")).words
    assert report.robustness is not None
    for form in (page, (folder / "report.md").read_text(encoding="utf-8")):
        for words in ("By age", "young", "chance explains it", "Corrupted images", "jpeg", "not covered", "Leaks"):
            assert words in form
        assert findings.selective_sentence(report) in form
        assert report.robustness.summary in form
    assert (folder / "robustness.png").is_file()
    assert json.loads((folder / "report.json").read_text())["groups"][0]["column"] == "age"


def test_faces_lie_apart_from_what_may_be_published(full: tuple[Path, Report]) -> None:
    folder, _ = full
    assert sorted(path.name for path in (folder / "faces").iterdir()) == ["mistakes.png", "right.png"]
    assert "faces/mistakes.png" in (folder / "report.md").read_text(encoding="utf-8")
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 2 * 5 + 2


@pytest.mark.slow
def test_a_report_replaces_its_own_files_and_leaves_others(report: Report, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "report.md").write_text("old")
    write_report(report, tmp_path, command="", spec=SPEC)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# tiny on fer2013.csv")


def test_a_folder_that_cannot_be_made_is_an_error(report: Report, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="there is a file of that name"):
        write_report(report, tmp_path / "taken", command="", spec=SPEC)


@pytest.mark.slow
def test_the_smallest_report_can_be_written(tmp_path: Path) -> None:
    write_report(make_report(1, labels=("no", "yes")), tmp_path, command="", spec=SPEC)
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_an_older_report_without_the_newer_parts_can_be_read_and_written(report: Report, tmp_path: Path) -> None:
    newer = ("risk_coverage", "thresholds", "seen_in", "n_errors_with_votes", "errors_shared_by_votes")
    old = {key: value for key, value in report.to_dict().items() if key not in newer}
    old["per_class"] = {
        name: {"precision": row["precision"], "recall": row["recall"], "f1": row["f1"], "support": row["support"]}
        for name, row in report.to_dict()["per_class"].items()
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    read = read_report(tmp_path / "old.json")
    assert read.selective is None and read.f1_ci95 is None and read.macro_f1 == report.macro_f1
    write_report(read, tmp_path, command="", spec=SPEC)
    assert "Accepting only confident" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert not (tmp_path / "risk_coverage.png").exists()


@pytest.mark.slow
def test_the_published_report_can_be_read_and_written(tmp_path: Path) -> None:
    read = read_report(ROOT / "docs" / "report" / "report.json")
    write_report(read, tmp_path, command="", spec=SPEC)
    assert "2,631 of 3,589 faces" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert read_report(tmp_path / "report.json").macro_f1 == read.macro_f1


@pytest.mark.slow
def test_a_report_of_3589_faces_is_made_in_seconds(tmp_path: Path) -> None:
    start = time.process_time()  # a busy machine must not fail this
    write_report(make_report(), tmp_path, command="", spec=SPEC)
    assert time.process_time() - start < 20


def test_calibration_is_reported_with_what_it_did(report: Report) -> None:
    figures = {"loss": 0.97, "ece": 0.02, "accuracy": 0.64, "before_calibration": {"loss": 1.02, "ece": 0.05}}
    calibrated = replace(SPEC, temperature=0.9355, metrics={"public_test": figures})
    fact = provenance(report, command="", spec=calibrated).calibration
    assert fact.startswith("temperature 0.935") or fact.startswith("temperature 0.936")
    assert "NLL 1.020 before, 0.970 after" in fact and "ECE 0.050 before, 0.020 after" in fact
    assert "calibration" not in provenance(report, command="", spec=SPEC).to_dict()


@pytest.mark.parametrize(("method", "says"), [("none", "none"), ("bcts", "temperature 1.100 and a bias per class")])
def test_a_model_that_was_not_calibrated_does_not_say_that_a_temperature_was_fitted(
    report: Report, method: str, says: str
) -> None:
    figures = {"loss": 1.0, "accuracy": 0.6, "calibration": method, "before_calibration": {"loss": 1.0}}
    spec = replace(SPEC, temperature=1.0 if method == "none" else 1.1, metrics={"public_test": figures})
    fact = provenance(report, command="", spec=spec).calibration
    assert fact.startswith(says) and ("fitted" in fact) == (method != "none")
    del figures["calibration"]  # as a model of before has it
    if method == "none":
        assert provenance(report, command="", spec=spec).calibration == "none"
