"""The degradations together, as the augmenter uses them."""

import dataclasses

import pytest
import torch

from fervit.config.augmentation import DEGRADATIONS, AugmentConfig
from fervit.config.training import config_from_dict
from fervit.training.augment import Augmenter, random_affine
from fervit.training.degradation import before_the_lens, behind_the_lens
from fervit.types import Preprocess

HALF = (0.5, 0.5, 0.5)
ALL = config_from_dict({"augment": dict.fromkeys(DEGRADATIONS, 0.5)}).augment


def images(count: int = 32, channels: int = 1, side: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [20, 48, 100])
def test_all_at_once_give_finite_input_in_range_and_leave_the_targets(channels: int, side: int) -> None:
    torch.manual_seed(0)
    targets = torch.eye(7)[torch.arange(32) % 7]
    for _ in range(3):
        x, same = Augmenter(ALL, Preprocess(64, HALF, HALF))(images(32, channels, side), targets)
        assert x.shape == (32, 3, 64, 64) and torch.isfinite(x).all() and x.abs().max() <= 1 + 1e-5
        assert torch.equal(same, targets)
        if channels == 1:
            assert torch.equal(x[:, 0], x[:, 2])


@pytest.mark.parametrize("name", [*DEGRADATIONS, "all"])
def test_a_seed_repeats_each_of_them_and_another_differs(name: str) -> None:
    settings = dict.fromkeys(DEGRADATIONS if name == "all" else [name], 0.5)
    augmenter = Augmenter(config_from_dict({"augment": settings}).augment, Preprocess(48, HALF, HALF))
    x, targets = images(16, 3), torch.zeros(16, 7)
    before = x.clone()
    torch.manual_seed(1)
    first = augmenter(x, targets)[0]
    torch.manual_seed(1)
    again = augmenter(x, targets)[0]
    other = augmenter(x, targets)[0]
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(x, before), "the resident images stay as they are"
    plain = Augmenter(AugmentConfig(), Preprocess(48, HALF, HALF))(x, targets)[0]
    same = ((first - plain).abs() < 1e-3).flatten(1).all(1)
    assert same.sum() < 16 and (name in ("all", "turn_prob") or same.any()), "some images, and only some"


def test_what_is_off_draws_no_random_number_and_copies_nothing() -> None:
    x = torch.rand(4, 3, 16, 16)
    before = torch.get_rng_state()
    assert before_the_lens(x, AugmentConfig()) is x and behind_the_lens(x, AugmentConfig()) is x
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_drawn_on_the_cpu_follows_the_images_to_their_device(channels: int) -> None:
    """On `meta`, a device that this machine has, as on a GPU: an operation over two devices is an error."""
    torch.manual_seed(0)
    augmenter = Augmenter(ALL, Preprocess(64, HALF, HALF))
    x, _ = augmenter(images(16, channels).to("meta"), torch.zeros(16, 7, device="meta"))
    assert x.shape == (16, 3, 64, 64) and x.device.type == "meta"


def test_a_fraction_of_the_images_turns_further() -> None:
    torch.manual_seed(0)
    # A bright dot on the right, 0.3 of the side from the centre, tells the angle.
    x = torch.zeros(300, 1, 64, 64)
    x[:, :, 31:33, 50:53] = 1
    config = AugmentConfig(rotate_deg=5.0, turn_prob=0.4, turn_deg=90.0)
    turned = random_affine(x, 64, config)[:, 0]
    at = torch.arange(64) - 31.5
    total = turned.sum((1, 2))
    angle = torch.rad2deg(torch.atan2((turned.sum(2) * at).sum(1) / total, (turned.sum(1) * at).sum(1) / total)).abs()
    beyond = (angle > 7).float().mean()  # of the turned ones, 7 to 90 of 90 degrees
    assert abs(beyond.item() - 0.4 * 83 / 90) < 0.08
    assert 80 < angle.max() < 95
    assert dataclasses.replace(config, turn_prob=0.0).turn_deg == 90
