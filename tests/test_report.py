import io
import json
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from PIL import Image

from fervit import metrics, plots
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError
from fervit.evaluation import measure
from fervit.labels import FER7
from fervit.report import (
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
    return measure(metrics.softmax(logits), part, model=model, leaks=leaks, seconds=1.5).to_dict()


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


def test_a_report_is_a_page_markdown_json_and_three_charts(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["confusion.png", "f1.png", "reliability.png", "report.html", "report.json", "report.md"]
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.width > 500


def test_the_page_asks_for_nothing_from_outside(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.addresses) == 6  # three charts, light and dark
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


def test_names_with_markup_stay_text(report):
    nasty = {**report, "model": "<script>alert(1)</script>", "dataset": "a & b"}
    facts = provenance(nasty, command="fervit '<b>'", spec=SPEC)
    charts = dict.fromkeys(("f1", "confusion", "reliability"), (b"", b""))
    page = render_html(nasty, facts, charts)
    assert "<script>" not in page and "&lt;script&gt;" in page and "a &amp; b" in page


def test_the_summary_compares_with_the_paper_and_with_chance(report):
    text = summary(report)
    assert f"of {FER2013_TEST_SIZE:,} faces" in text and "of the 3,309 that do not also stand" in text
    points = 100 * (report["accuracy"] - metrics.PAPER.accuracy)
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
