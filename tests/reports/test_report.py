import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from PIL import Image

from fervit import probabilities
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError
from fervit.evaluation.measurement import measure
from fervit.labels import FER7
from fervit.reports import findings, plots, published
from fervit.reports.report import (
    FER2013_TEST_SIZE,
    comparable,
    lines,
    markdown_table,
    notes,
    provenance,
    render_html,
    summary,
    write_report,
)
from fervit.types import ModelSpec, Preprocess

SPEC = ModelSpec("vit", Preprocess(96, (0.5,) * 3, (0.5,) * 3), name="tiny", licence="Apache-2.0")
CHARTS = ("f1", "confusion", "reliability", "risk_coverage")
COMMAND = "fervit evaluate --data fer2013.csv --report 'my report'"


def make_report(count=FER2013_TEST_SIZE, *, skill=1.9, labels=FER7, leaks=None, name="fer2013.csv", model="tiny"):
    """Measure random answers that are right more often the higher `skill` is."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, len(labels), count)
    logits = rng.normal(size=(count, len(labels))) + skill * np.eye(len(labels))[targets]
    part = Dataset(
        name=name,
        labels=tuple(labels),
        images=np.zeros((count, 1, 1, 1), np.uint8),
        targets=targets,
        split_ids=np.ones(count, np.int8),
        rows=np.arange(count),
        data_hash="ab" * 32,
    )
    return measure(probabilities.softmax(logits), part, model=model, leaks=leaks, seconds=1.5).to_dict()


@pytest.fixture(scope="module")
def report():
    return make_report(leaks=np.arange(FER2013_TEST_SIZE) < 280)


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "report"
    assert write_report(report, folder, command=COMMAND, spec=SPEC) == folder / "report.html"
    return folder


class Page(HTMLParser):
    """Collects tags, and every address that a browser would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_data(self, data):
        self.text += data


def test_a_report_is_a_page_markdown_json_and_charts(folder):
    names = sorted(path.name for path in folder.iterdir())
    charts = ["confusion.png", "f1.png", "reliability.png"]
    assert names == [*charts, "report.html", "report.json", "report.md", "risk_coverage.png"]
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.width > 500


def test_the_page_asks_for_nothing_from_outside(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.addresses) == 8  # four charts, light and dark
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_fits_phones_dark_rooms_and_paper(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    for rule in ("width=device-width", "prefers-color-scheme: dark", "@media print", "@media (max-width"):
        assert rule in text
    assert Page(text).tags.count("img") == text.count(' alt="')


def test_every_form_tells_the_same_figures(folder, report):
    page = Page((folder / "report.html").read_text(encoding="utf-8")).text.replace("\N{NO-BREAK SPACE}", " ")
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert {key: record[key] for key in report} == report
    assert record["provenance"]["command"] == COMMAND
    for text in (page, markdown):
        assert summary(report) in text
        assert COMMAND in text and "ab" * 32 in text and "67.22 %" in text and "Apache-2.0" in text
        for line in lines(report):
            assert line.name in text and line.value in text and line.interval in text
        for row in report["per_class"].values():
            assert f"{row['f1']:.3f}" in text


def test_the_confusion_table_holds_counts_and_the_share_of_each_row(report):
    few = {**report, "confusion": [[3, 1, 0], [0, 0, 0], [0, 2, 1]], "labels": ["angry", "happy", "sad"]}
    page = render_html(few, {}, dict.fromkeys(CHARTS, (b"", b"")))
    text = re.sub(r"\s+", " ", Page(page).text)
    table = text[text.index("true \\ answered") :]
    assert "angry375 %125 %00 %" in table, "counts with shares"
    assert "happy0–0–0–" in table, "no share of no faces"
    assert "sad00 %267 %133 %" in table


def test_names_with_markup_stay_text(report):
    nasty = {**report, "model": "<script>alert(1)</script>", "dataset": "a & b"}
    facts = provenance(nasty, command="fervit '<b>'", spec=SPEC)
    page = render_html(nasty, facts, dict.fromkeys(CHARTS, (b"", b"")))
    assert "<script>" not in page and "&lt;script&gt;" in page and "a &amp; b" in page


def test_the_summary_compares_with_the_paper_and_with_chance(report):
    text = summary(report)
    assert f"of {FER2013_TEST_SIZE:,} faces" in text and "of the 3,309 that do not also stand" in text
    points = 100 * (report["accuracy"] - published.PAPER.accuracy)
    assert f"{abs(points):.2f} points {'above' if points > 0 else 'below'} the paper's 67.22 %" in text
    assert "more than chance explains" in summary(make_report(skill=0.5))
    near = {**report, "accuracy": 0.68, "accuracy_ci95": [0.665, 0.695]}
    assert "0.78 points above" in summary(near) and "chance can explain" in summary(near)


def test_other_data_is_not_compared_with_the_paper():
    report = make_report(50, name="synthetic:350")
    assert not comparable(report) and "paper" not in summary(report)
    assert any("do not compare" in note for note in notes(report))
    assert any("no train split" in note for note in notes(report))


def test_figures_stand_in_reading_order(report):
    names = [line.name for line in lines(report)]
    assert names[:2] == ["macro-F1", "balanced accuracy"]
    assert names.index("accuracy, all 3,589") < names.index("accuracy, leak-free 3,309")


def test_a_report_replaces_its_own_files_and_leaves_others(folder, report, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "report.md").write_text("old")
    write_report(report, tmp_path, command="", spec=SPEC)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# tiny on fer2013.csv")


def test_a_folder_that_cannot_be_made_is_an_error(report, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="a file stands there"):
        write_report(report, tmp_path / "taken", command="", spec=SPEC)


def test_the_smallest_report_can_be_written(tmp_path):
    write_report(make_report(1, labels=("no", "yes")), tmp_path, command="", spec=SPEC)
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_bars_in_names_do_not_break_a_markdown_table():
    assert markdown_table(("a", "b"), [("x|y", "1")]).splitlines()[-1] == "| x\\|y | 1 |"


@pytest.mark.parametrize("classes", [2, 8, 26])
@pytest.mark.parametrize("theme", [plots.LIGHT, plots.DARK], ids=["light", "dark"])
def test_charts_take_any_number_of_classes_and_leave_matplotlib_alone(classes, theme):
    before = dict(matplotlib.rcParams)
    labels = [f"class {k}" for k in range(classes)]
    confusion = np.arange(classes * classes).reshape(classes, classes)
    confusion[0] = 0  # a class that does not occur
    f1 = {name: k / classes for k, name in enumerate(labels)}
    bins = np.array([[0, 0, 0], [3, 0.4, 1.0], [40, 0.9, 0.8]])
    for png in (
        plots.confusion_png(confusion, labels, theme=theme),
        plots.reliability_png(bins, ece=0.1, theme=theme),
        plots.f1_png(f1, other={"class 1": 0.5}, theme=theme),
        plots.f1_png(f1, theme=theme),
    ):
        with Image.open(io.BytesIO(png)) as picture:
            corner = picture.convert("RGB").getpixel((0, 0))
            assert "#{:02x}{:02x}{:02x}".format(*corner) == theme.surface
    assert dict(matplotlib.rcParams) == before


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A report with groups, a robustness run, leaks and faces, on drawn faces."""
    from fervit.data import load
    from fervit.evaluation.groups import measure_groups, read_groups
    from fervit.evaluation.measurement import evaluate
    from fervit.evaluation.robustness import robustness
    from fervit.reports import gallery

    class Guesser:
        spec = SPEC

        def probs(self, crops, *, batch_size=64):
            logits = np.random.default_rng(len(crops)).normal(size=(len(crops), 7)) * 2
            return probabilities.softmax(logits)

    folder = tmp_path_factory.mktemp("full")
    dataset = load("synthetic:210")
    result = evaluate(Guesser(), dataset, split="train")
    part = dataset.split("train")
    table = folder / "groups.csv"
    table.write_text("row,age\n" + "".join(f"{row},{'old' if row % 2 else 'young'}\n" for row in part.rows))
    (folder / "list.csv").write_text("row\n" + "".join(f"{row}\n" for row in part.rows[:40]))
    corrupted = robustness(
        Guesser(), dataset, split="train", kinds=["jpeg", "shift"], faces=20, subsets={"covered": folder / "list.csv"}
    )
    report = {
        **result.to_dict(),
        "groups": [column.to_dict() for column in measure_groups(result.probs, part, read_groups(part, table))],
        "robustness": corrupted.to_dict(),
        "seen_in": {"train": 12},
    }
    faces = gallery.sheets(result.probs, part)
    write_report(report, folder / "report", command="", spec=SPEC, faces=faces)
    return folder / "report", report


def test_groups_robustness_leaks_and_thresholds_stand_in_every_form(full):
    folder, report = full
    page = Page((folder / "report.html").read_text(encoding="utf-8")).text.replace("\N{NO-BREAK SPACE}", " ")
    for text in (page, (folder / "report.md").read_text(encoding="utf-8")):
        for words in ("By age", "young", "chance explains it", "Worse pictures", "jpeg", "not covered", "Leaks"):
            assert words in text
        assert findings.selective_sentence(report) in text
        assert report["robustness"]["summary"] in text
    assert (folder / "robustness.png").is_file()
    assert json.loads((folder / "report.json").read_text())["groups"][0]["column"] == "age"


def test_faces_lie_apart_from_what_may_be_published(full):
    folder, _ = full
    assert sorted(path.name for path in (folder / "faces").iterdir()) == ["mistakes.png", "right.png"]
    assert "faces/mistakes.png" in (folder / "report.md").read_text(encoding="utf-8")
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert len(page.addresses) == 2 * 5 + 2


def test_an_older_report_without_the_newer_parts_can_be_written(report, tmp_path):
    newer = ("risk_coverage", "thresholds", "seen_in")
    old = {key: value for key, value in report.items() if key not in newer}
    old["per_class"] = {
        name: {key: row[key] for key in ("precision", "recall", "f1", "support")}
        for name, row in report["per_class"].items()
    }
    write_report(old, tmp_path, command="", spec=SPEC)
    assert "Answering only when sure" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_leaks_are_told_with_what_they_flatter(report):
    sentences = findings.leak_sentences({**report, "seen_in": {"train": 280, "public_test": 44}})
    assert sentences[0].startswith("280 of the 3,589 faces (7.8 %)")
    assert "44 of" in sentences[1] and "On the 280 from train" in sentences[2]
    assert findings.leak_sentences({**report, "seen_in": {}, "n_leak_free": None, "accuracy_leak_free": None}) == []


def test_a_threshold_is_rounded_up_never_down():
    assert findings.at_least(0.7701) == "0.771" and findings.at_least(0.77) == "0.770"
    assert findings.at_least(0.99999) == "1.000"


def test_the_surest_mistakes_come_first_and_a_faultless_model_has_no_sheet_of_them():
    from fervit.data import load
    from fervit.reports import gallery

    part = load("synthetic:70").split("train")
    probs = probabilities.softmax(np.random.default_rng(0).normal(size=(len(part), 7)))
    rows = gallery.surest(probs, part.targets, right=False, count=5)
    assert (probs[rows].argmax(axis=1) != part.targets[rows]).all()
    assert (np.diff(probs[rows].max(axis=1)) <= 0).all()
    turns = gallery.surest_of_each(np.eye(7)[part.targets], part.targets, count=14)
    assert np.bincount(part.targets[turns]).tolist() == [2] * 7
    assert list(gallery.sheets(np.eye(7)[part.targets], part)) == ["right"]


def test_every_class_has_intervals_that_hold_its_figures(report):
    for row in report["per_class"].values():
        for name in ("recall", "f1"):
            low, high = row[f"{name}_ci95"]
            assert low <= row[name] <= high


def test_a_report_of_3589_faces_is_made_in_seconds(tmp_path):
    import time

    start = time.process_time()  # a busy machine must not fail this
    write_report(make_report(), tmp_path, command="", spec=SPEC)
    assert time.process_time() - start < 20


def test_calibration_is_told_with_what_it_did(report):
    figures = {"loss": 0.97, "ece": 0.02, "accuracy": 0.64, "before_calibration": {"loss": 1.02, "ece": 0.05}}
    calibrated = replace(SPEC, temperature=0.9355, metrics={"public_test": figures})
    fact = provenance(report, command="", spec=calibrated)["calibration"]
    assert fact.startswith("temperature 0.935") or fact.startswith("temperature 0.936")
    assert "NLL 1.020 before, 0.970 after" in fact and "ECE 0.050 before, 0.020 after" in fact
    assert "calibration" not in provenance(report, command="", spec=SPEC)
