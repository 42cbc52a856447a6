"""The report's page."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.evaluation.report import Report
from fervit.reports.html import render_html
from fervit.reports.report import provenance
from tests.helpers.page import Page
from tests.helpers.reports import SPEC

CHARTS = dict.fromkeys(("f1", "confusion", "reliability", "risk_coverage"), (b"", b""))


@pytest.mark.slow
def test_the_page_asks_for_nothing_from_outside(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.addresses) == 8  # four charts, light and dark
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"url\(|@import|https?://", text)


@pytest.mark.slow
def test_the_page_fits_phones_dark_rooms_and_paper(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    for rule in ("width=device-width", "prefers-color-scheme: dark", "@media print", "@media (max-width"):
        assert rule in text
    assert Page(text).tags.count("img") == text.count(' alt="')


def test_the_confusion_table_has_counts_and_the_fraction_of_each_row(report: Report) -> None:
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 2, 1]])
    few = replace(report, confusion=confusion, labels=("angry", "happy", "sad"), f1_ci95=None)
    text = re.sub(r"\s+", " ", Page(render_html(few, CHARTS)).text)
    table = text[text.index("true \\ predicted") :]
    assert "angry375 %125 %00 %" in table, "counts with fractions"
    assert "happy0–0–0–" in table, "no fraction of no faces"
    assert "sad00 %267 %133 %" in table


def test_names_with_markup_stay_text(report: Report) -> None:
    nasty = replace(report, model="<script>alert(1)</script>", dataset="a & b")
    nasty = replace(nasty, provenance=provenance(nasty, command="fervit '<b>'", spec=SPEC))
    page = render_html(nasty, CHARTS)
    assert "<script>" not in page and "&lt;script&gt;" in page and "a &amp; b" in page
    assert "fervit &#39;&lt;b&gt;&#39;" in page
