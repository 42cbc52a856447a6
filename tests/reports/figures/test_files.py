"""Figures as files."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from fervit.errors import ConfigError
from fervit.reports.figures.files import COLUMN_IN, PAPER_DPI, SMALLEST_PT, figure_bytes, scale_to, write_figure
from fervit.reports.plots import confusion_figure, f1_figure, reliability_figure

BINS = np.array([[0, 0, 0], [3, 0.4, 1.0], [40, 0.9, 0.8]])


@pytest.mark.slow
def test_the_ending_decides_what_is_written_and_equal_figures_are_equal_files(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("f.png", "f.svg", "f.PDF"):
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_figure(f1_figure({"a_b & $x$": 0.5, "sad": 0.25}), tmp_path / folder / name, width_in=COLUMN_IN)
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert dict(matplotlib.rcParams) == before
    with Image.open(tmp_path / "a" / "f.png") as image:
        assert image.width == round(COLUMN_IN * PAPER_DPI)
    svg = (tmp_path / "a" / "f.svg").read_text()
    assert re.search(r'width="234pt"', svg) and "<dc:date>" not in svg  # 3.25 inches of 72 points
    pdf = (tmp_path / "a" / "f.PDF").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf


@pytest.mark.slow
@pytest.mark.parametrize(
    "figure",
    [
        confusion_figure(np.arange(64).reshape(8, 8), [f"expression {k}" for k in range(8)]),
        reliability_figure(BINS, ece=0.1),
        f1_figure({"happy": 0.5, "sad": None}, other={"happy": 0.6}),
    ],
    ids=["confusion", "reliability", "f1"],
)
def test_letters_stay_readable_at_the_width_of_a_column(figure: "matplotlib.figure.Figure") -> None:
    shape = figure.get_figheight() / figure.get_figwidth()
    figure_bytes(figure, ".svg")
    scale_to(figure, COLUMN_IN)
    figure_bytes(figure, ".svg")  # ticks are made while it is drawn
    assert figure.get_figwidth() == COLUMN_IN and figure.get_figheight() == pytest.approx(shape * COLUMN_IN)
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    assert len(texts) > 5 and min(float(text.get_fontsize()) for text in texts) >= SMALLEST_PT


def test_other_files_and_widths_are_refused(tmp_path: Path) -> None:
    figure = f1_figure({"happy": 0.5})
    with pytest.raises(ConfigError, match=r"end in \.png, \.svg, \.pdf, got 'f\.jpg'"):
        write_figure(figure, "f.jpg")
    with pytest.raises(ConfigError, match="cannot write"):
        write_figure(figure, tmp_path / "none" / "f.png")
    for width in (0.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="width of a figure in inches"):
            write_figure(figure, tmp_path / "f.png", width_in=width)
    assert list(tmp_path.iterdir()) == []
