"""Charts."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from fervit.media.style import fonts
from fervit.reports import plots
from fervit.reports.figures import style


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 8, 26])
@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_charts_take_any_number_of_classes_and_leave_matplotlib_alone(classes: int, theme: style.Theme) -> None:
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
        with Image.open(io.BytesIO(png)) as image:
            corner = np.asarray(image.convert("RGB"))[0, 0]
            assert "#{:02x}{:02x}{:02x}".format(*corner) == theme.surface
    assert dict(matplotlib.rcParams) == before


def test_a_class_whose_f1_is_not_defined_is_a_dash_below_the_others() -> None:
    drawn = plots.f1_png({"fear": None, "sad": 0.0, "happy": 0.8})
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size[1] > 200
    assert drawn != plots.f1_png({"fear": 0.0, "sad": 0.0, "happy": 0.8})


@pytest.mark.filterwarnings("error")
def test_labels_are_drawn_letter_by_letter_or_as_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ["fro\u0308hlich", "$x^2$", "_leer", "5 $"]
    plots.confusion_png(np.eye(4, dtype=int), labels)
    monkeypatch.setattr(fonts, "SYSTEM", ())
    plots.confusion_png(np.eye(2, dtype=int), ["悲しい", "müde"])  # matplotlib would warn of a missing glyph
    assert plots.f1_png({"$x^2$": 0.5}) != plots.f1_png({"x^2": 0.5})
    assert plots.f1_png({"fro\u0308hlich": 0.5}) == plots.f1_png({"fr\u00f6hlich": 0.5})
