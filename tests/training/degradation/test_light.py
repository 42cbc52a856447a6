"""Shadow, low light, tone curve and colour."""

import pytest
import torch

from fervit.training.degradation.light import random_colour, random_dark, random_gamma, random_grey, random_shadow


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_a_shadow_takes_light_from_a_part_of_the_face_and_keeps_what_it_must() -> None:
    x = torch.full((200, 1, 32, 32), 0.8)
    shadowed = random_shadow(x.clone(), 1.0, 0.3)
    assert (shadowed <= x + 1e-6).all()
    assert shadowed.min() >= 0.8 * 0.3 - 1e-6
    darkest, lightest = shadowed.amin((1, 2, 3)), shadowed.amax((1, 2, 3))
    assert (darkest < 0.78).float().mean() > 0.95
    assert (lightest - darkest > 0.05).float().mean() > 0.9, "a shadow has a lit side"
    edges = (shadowed[..., 1:] - shadowed[..., :-1]).abs().amax((1, 2, 3)) / (lightest - darkest)
    assert edges.max() < 0.8, "its edge is soft"


def test_low_light_scales_each_image_by_a_factor_of_its_own() -> None:
    x = torch.rand(300, 3, 4, 4) * 0.5 + 0.5
    factor = random_dark(x.clone(), 1.0, 0.2) / x
    torch.testing.assert_close(factor, factor[:, :1, :1, :1].expand_as(factor))
    assert 0.2 <= factor.min() < 0.25 and 0.9 < factor.max() <= 1
    assert abs((factor[:, 0, 0, 0] < 0.2**0.5).float().mean().item() - 0.5) < 0.1, "equal factors are equally likely"


def test_gamma_is_a_power_between_the_reciprocal_and_the_largest() -> None:
    x = torch.full((300, 1, 2, 2), 0.5)
    gamma = random_gamma(x.clone(), 1.0, 2.0).log() / torch.tensor(0.5).log()
    assert 0.5 <= gamma.min() < 0.55 and 1.9 < gamma.max() <= 2.0
    ends = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(5, 1, 1, 1)
    assert torch.equal(random_gamma(ends.clone(), 1.0, 2.0), ends)


def test_colour_changes_saturation_and_white_balance_but_not_the_light() -> None:
    grey = torch.full((300, 3, 2, 2), 0.5)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    tinted = random_colour(grey.clone(), 1.0, 0.0, 0.2)
    torch.testing.assert_close((tinted * luma).sum(1), grey[:, 0], atol=1e-5, rtol=0)
    ratio = (tinted[:, 0] / tinted[:, 2]).log()
    assert 0.3 < ratio.abs().max() <= 0.4 + 1e-5, "red against blue"
    red = torch.tensor([0.6, 0.3, 0.3]).view(1, 3, 1, 1).repeat(300, 1, 2, 2)
    saturated = random_colour(red.clone(), 1.0, 0.5, 0.0)
    factor = (saturated[:, 0] - saturated[:, 1]) / 0.3
    assert 0.5 - 1e-4 <= factor.min() < 0.55 and 1.45 < factor.max() <= 1.5 + 1e-4
    torch.testing.assert_close((saturated * luma).sum(1), (red * luma).sum(1), atol=1e-5, rtol=0)


def test_grey_leaves_the_luma_in_three_channels() -> None:
    x = torch.rand(50, 3, 4, 4)
    grey = random_grey(x.clone(), 0.5)
    changed = (grey != x).flatten(1).any(1)
    assert 10 < changed.sum() < 40
    torch.testing.assert_close(grey[changed][:, 0], grey[changed][:, 2])
    expected = (x[changed] * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    torch.testing.assert_close(grey[changed][:, 1], expected)


def test_grey_images_have_no_colour_to_lose_and_draw_nothing() -> None:
    x = torch.rand(5, 1, 4, 4)
    before = torch.get_rng_state()
    assert random_colour(x, 1.0, 0.5, 0.5) is x and random_grey(x, 1.0) is x
    assert torch.equal(torch.get_rng_state(), before)
