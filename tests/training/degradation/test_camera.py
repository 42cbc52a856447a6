"""Motion blur and sensor noise."""

import math

import pytest
import torch

from fervit.training.degradation.camera import motion_kernel, random_iso, random_motion, random_noise


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_a_motion_kernel_is_a_line_of_its_length_and_direction() -> None:
    length = torch.tensor([0.0, 9.0, 9.0, 8.0])
    angle = torch.tensor([1.0, 0.0, math.pi / 2, math.pi / 4])
    kernel = motion_kernel(length, angle, 6)
    torch.testing.assert_close(kernel.sum((1, 2)), torch.ones(4))
    assert kernel[0, 6, 6] == 1, "no motion, no change"
    torch.testing.assert_close(kernel[1, 6, 2:11], torch.full((9,), 1 / 9), atol=1e-6, rtol=0)
    torch.testing.assert_close(kernel[2], kernel[1].T, atol=1e-6, rtol=0)
    torch.testing.assert_close(kernel[3], kernel[3].T, atol=1e-6, rtol=0)
    offsets = torch.arange(-6, 7).float()
    along = kernel[3].sum(0) @ offsets**2  # the variance of a line of length l, in x alone, is l² / 12 · cos²
    assert abs(along.item() - 64 / 12 / 2) < 0.4


@pytest.mark.parametrize("channels", [1, 3])
def test_motion_smears_across_edges_and_keeps_the_mean(channels: int) -> None:
    x = torch.rand(40, channels, 24, 24)
    smeared = random_motion(x.clone(), 1.0, 0.2)
    assert smeared.shape == x.shape
    assert smeared.var((1, 2, 3)).mean() < 0.6 * x.var((1, 2, 3)).mean()
    torch.testing.assert_close(smeared.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=0.05, rtol=0)
    torch.testing.assert_close(random_motion(x.clone(), 1.0, 0.0), x)
    tiny = torch.rand(3, channels, 2, 2)
    assert random_motion(tiny.clone(), 1.0, 1.0).shape == tiny.shape


def test_gaussian_noise_has_a_deviation_of_its_own_up_to_the_largest() -> None:
    x = torch.full((200, 3, 16, 16), 0.5)
    noise = random_noise(x.clone(), 1.0, 0.1) - x
    sigma = noise.std((1, 2, 3))
    assert sigma.min() < 0.01 and 0.09 < sigma.max() < 0.11
    assert abs(sigma.mean().item() - 0.05) < 0.01
    strong = noise[sigma > 0.05]
    correlation = (strong[:, 0] * strong[:, 1]).mean() / strong.square().mean()
    assert abs(correlation.item()) < 0.02, "each channel has its own"


def test_sensor_noise_grows_in_the_dark_as_read_noise_does() -> None:
    values = torch.tensor([0.15, 0.3, 0.6]).view(1, 1, 3, 1)
    x = values.expand(400, 1, 3, 256).repeat_interleave(4, 2)  # bands of 4 rows: dark, middle, light
    noise = random_iso(x.clone(), 1.0, 0.1) - x
    sigma = noise.view(400, 3, 4, 256).std((2, 3))
    assert (sigma[:, 0] > sigma[:, 2]).float().mean() > 0.8  # some have hardly any read noise
    grown = (sigma[:, 0] / sigma[:, 2])[sigma[:, 2] > 0.02]
    largest = math.sqrt((1 + (0.2 / 0.15) ** 2) / (1 + (0.2 / 0.6) ** 2))
    assert grown.max() < 1.15 * largest and grown.max() > 0.8 * largest


def test_sensor_noise_keeps_its_deviation_however_it_clumps_and_colours_share_most_of_it() -> None:
    x = torch.full((300, 3, 24, 24), 0.5)
    noise = random_iso(x.clone(), 1.0, 0.08) - x
    assert abs(noise.std((1, 2, 3)).mean().item() - 0.04 * math.sqrt((1 + 4 * 0.013) / 1.013)) < 0.006
    shared = (noise[:, 0] * noise[:, 1]).mean() / noise.square().mean()
    assert 0.75 < shared < 0.87
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / noise.square().mean((1, 2, 3))
    assert neighbours.min() < 0.1 and neighbours.max() > 0.4, "from white to grainy"


@pytest.mark.parametrize("change", [random_motion, random_noise, random_iso])
def test_only_the_drawn_images_change(change: object) -> None:
    assert callable(change)
    x = torch.rand(200, 1, 8, 8)
    changed = (change(x.clone(), 0.3, 0.3) != x).flatten(1).any(1)
    assert 30 < changed.sum() < 90
    assert change(x, 0.0, 0.3) is x
