"""Low resolution and JPEG, against Pillow."""

import io

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch.nn import functional as F

from fervit.data.synthetic.dataset import synthesize
from fervit.media.opencv import opencv
from fervit.training.degradation.draws import log_uniform
from fervit.training.degradation.storage import jpeg, random_jpeg, random_low_res

cv2 = opencv()


def faces(count: int, channels: int, size_px: int = 48) -> torch.Tensor:
    """Return `(count, channels, size_px, size_px)` in 0..1, on whole levels; colour ones vary in hue."""
    drawn = torch.from_numpy(synthesize(8, size_px=size_px).images).permute(0, 3, 1, 2).float()
    grey = drawn.repeat(-(-count // 8), 1, 1, 1)[:count]
    if channels == 1:
        return grey / 255
    ramp = torch.linspace(0, 1, size_px)
    tint = torch.stack([0.7 + 0.3 * ramp, torch.full_like(ramp, 0.8), 1 - 0.5 * ramp])
    return (grey * tint[None, :, None, :]).round() / 255


def by_pillow(image: torch.Tensor, quality: int) -> torch.Tensor:
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "JPEG", quality=quality)
    decoded = np.asarray(Pillow.open(buffer))
    return torch.from_numpy(decoded.reshape(pixels.shape).copy()).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size_px", [48, 50])
def test_jpeg_is_what_pillow_writes(channels: int, size_px: int) -> None:
    x = faces(8, channels, size_px)
    qualities = [6, 10, 15, 25, 40, 60, 80, 95]
    ours = jpeg(x, torch.tensor(qualities, dtype=torch.float32))
    for k, quality in enumerate(qualities):
        theirs = by_pillow(x[k], quality)
        levels = 255 * (ours[k] - theirs).abs().mean()
        lost = 255 * (x[k] - theirs).abs().mean()
        assert levels < (0.4 if channels == 1 else 1.25), f"quality {quality}"  # libjpeg rounds in between
        assert levels < 0.5 * lost, f"quality {quality}"


def test_a_block_offset_compresses_as_a_crop_from_a_larger_image() -> None:
    x = faces(2, 1, 64)
    quality = torch.tensor([20.0, 50.0])
    whole = jpeg(x, quality)
    inner = jpeg(x[..., 3:, 5:], quality, (3, 5))
    torch.testing.assert_close(inner[..., 5:, 3:], whole[..., 8:, 8:], atol=1.5 / 255, rtol=0)
    assert not torch.equal(jpeg(x[..., 3:, 5:], quality), inner)


def test_random_jpeg_loses_more_at_low_quality_and_only_for_the_drawn_images() -> None:
    torch.manual_seed(0)
    x = faces(120, 1)
    stored = random_jpeg(x.clone(), 0.5, 10)
    changed = (stored != x).flatten(1).any(1)
    assert 35 < changed.sum() < 85
    losses = [(random_jpeg(x.clone(), 1.0, low) - x).abs().mean().item() for low in (5, 40, 90)]
    assert losses[0] > 1.1 * losses[1] > 1.5 * losses[2]
    assert random_jpeg(x, 0.0, 10) is x


@pytest.mark.parametrize("channels", [1, 3])
def test_low_resolution_is_an_area_mean_enlarged_bilinearly(channels: int) -> None:
    x = torch.rand(60, channels, 48, 48, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []

    def stored(small: torch.Tensor) -> torch.Tensor:
        seen.append(small)
        return small / 2  # what happens here happens before the enlarging

    torch.manual_seed(0)
    blurred = random_low_res(x.clone(), 1.0, 12, stored)
    torch.manual_seed(0)
    torch.rand(60)  # which images
    sides = log_uniform(60, "cpu", 12, 48).round().int().tolist()
    assert min(sides) <= 14 and max(sides) >= 44 and seen[0].shape[-1] == max(sides)
    for k, side in enumerate(sides):
        shrunk = [cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in x[k].numpy()]
        torch.testing.assert_close(seen[0][k, :, :side, :side], torch.from_numpy(np.stack(shrunk)), atol=1e-5, rtol=0)
        torch.testing.assert_close(seen[0][k, :, -1, :side], seen[0][k, :, side - 1, :side])  # the edge repeats
        large = F.interpolate(seen[0][k : k + 1, :, :side, :side], (48, 48), mode="bilinear", align_corners=False)
        torch.testing.assert_close(blurred[k], large[0] / 2, atol=1e-5, rtol=0)


def test_low_resolution_of_oblong_and_of_small_images() -> None:
    torch.manual_seed(0)
    x = torch.rand(20, 1, 20, 40)
    assert random_low_res(x.clone(), 1.0, 5).shape == x.shape
    constant = torch.full((20, 1, 20, 40), 0.3)
    torch.testing.assert_close(random_low_res(constant.clone(), 1.0, 2), constant)
    assert random_low_res(x, 1.0, 40) is x, "already as small"
    assert random_low_res(x, 0.0, 5) is x
