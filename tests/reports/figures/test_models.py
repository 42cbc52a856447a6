"""Charts of several reports."""

from dataclasses import replace

import matplotlib.text
import pytest

from fervit.errors import ConfigError
from fervit.evaluation.report import Report
from fervit.reports.figures.files import COLUMN_IN, PAGE_IN, SMALLEST_PT
from fervit.reports.figures.models import FIGURES, draw_reports
from tests.helpers.reports import make_report


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    """Three models on two data sets."""
    return [
        replace(make_report(120 + 10 * k, name=name), model=model)
        for k, model in enumerate(("mobilenet", "$tiny_1$", "models/a-long-name-of-a-folder"))
        for name in ("fer2013.parquet", "my_faces")
    ]


def texts(figure: "matplotlib.figure.Figure") -> list[matplotlib.text.Text]:
    figure.draw_without_rendering()
    return [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("count", [1, 6])
def test_every_chart_names_what_it_shows_within_its_width(kind: str, count: int, reports: list[Report]) -> None:
    figure = draw_reports(kind, reports[:count])
    shown = texts(figure)
    assert min(float(text.get_fontsize()) for text in shown) >= SMALLEST_PT
    if count > 1:
        assert figure.get_figwidth() == (PAGE_IN if kind == "confusion" else COLUMN_IN)
        words = " ".join(text.get_text() for text in shown).replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")
        assert "mobilenet" in words and r"\$tiny_1\$" in words and "models/a-long-name-of-a-folder" in words
        edges = [text.get_window_extent() for text in shown]
        assert min(edge.x0 for edge in edges) >= -1 and max(edge.x1 for edge in edges) <= figure.bbox.width + 1


def test_accuracies_are_written_beside_their_bars(reports: list[Report]) -> None:
    shown = [text.get_text() for text in texts(draw_reports("accuracy", reports))]
    assert {f"{100 * report.accuracy.value:.1f}" for report in reports} <= set(shown)


def test_more_than_a_chart_can_tell_apart_is_refused(reports: list[Report]) -> None:
    many = [replace(reports[0], model=f"model {k}") for k in range(9)]
    with pytest.raises(ConfigError, match="up to 8 models, got 9"):
        draw_reports("accuracy", many)
    places = [replace(reports[0], dataset=f"set {k}") for k in range(9)]
    with pytest.raises(ConfigError, match="--figure accuracy=FILE shows more"):
        draw_reports("f1", places)
    assert draw_reports("accuracy", places).get_figwidth() == COLUMN_IN
