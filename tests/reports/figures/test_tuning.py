"""Charts of a search."""

import io

import pytest
from PIL import Image

from fervit.reports.figures import style
from fervit.reports.figures.tuning import history_png, importance_png
from fervit.training.tuning.rows import TrialRow


@pytest.mark.slow
@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_a_search_is_drawn_with_one_trial_and_with_all_kinds(theme: style.Theme) -> None:
    rows = [
        TrialRow(0, "complete", 0.3),
        TrialRow(1, "failed", None, reason="diverged"),
        TrialRow(2, "pruned", 0.1),
        TrialRow(4, "complete", 0.4),
    ]
    for trials in (rows[:1], rows):
        image = Image.open(io.BytesIO(history_png(trials, what="NLL", maximize=False, theme=theme)))
        assert image.format == "PNG" and image.size == (896, 544)
    heights = []
    for count in (1, 8):
        importance = {f"augment.setting_{k}": (count - k) / 36 for k in range(count)}
        heights.append(Image.open(io.BytesIO(importance_png(importance, theme=theme))).height)
    assert heights[0] < heights[1]
