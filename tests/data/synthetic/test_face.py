"""Painting: every cover and hair style can be painted."""

from dataclasses import replace

import numpy as np
import pytest

from fervit.data.synthetic.canvas import COVERS, draw_scene
from fervit.data.synthetic.dataset import action_units
from fervit.data.synthetic.face import render
from fervit.data.synthetic.shape import HAIR_STYLES, draw_identity, face_shape


@pytest.mark.parametrize("cover", COVERS)
@pytest.mark.parametrize("hair_style", HAIR_STYLES)
def test_every_cover_and_hair_style_can_be_painted(cover: str, hair_style: str) -> None:
    rng = np.random.default_rng(1)
    person = replace(draw_identity(rng), hair_style=hair_style, beard=0.8, moustache=0.8, glasses=True)
    shape = face_shape(person, action_units("surprise", rng))
    plain = replace(draw_scene(rng, 0.5), cover="none")
    one = render(person, shape, plain, rng=np.random.default_rng(2))
    two = render(person, shape, replace(plain, cover=cover), rng=np.random.default_rng(2))
    assert ((one != two).mean() > 0.03) == (cover != "none")
