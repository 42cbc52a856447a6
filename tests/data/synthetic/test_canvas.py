"""Scenes: how often a face is covered."""

import numpy as np

from fervit.data.synthetic.canvas import draw_scene


def test_few_faces_are_covered() -> None:
    rng = np.random.default_rng(0)
    covered = np.mean([draw_scene(rng).cover != "none" for _ in range(2000)])
    assert 0.07 < covered < 0.15
    assert all(draw_scene(rng, 0.0).cover == "none" for _ in range(50))
