"""Masks, glasses and hands."""

import pytest
import torch

from fervit.training.degradation import occlusion
from fervit.training.degradation.occlusion import random_occluder

LIGHT = 0.6


def covered_parts(monkeypatch: pytest.MonkeyPatch, kind: int, count: int = 100) -> torch.Tensor:
    """Return the mean over many grey faces of where an occluder of one kind is, `(48, 48)`."""
    torch.manual_seed(0)
    monkeypatch.setattr(torch, "randint", lambda high, shape: torch.full(shape, kind))
    x = torch.full((count, 1, 48, 48), LIGHT)
    changed: torch.Tensor = (random_occluder(x.clone(), 1.0) - x).abs()[:, 0]
    return (changed > 0.02).float().mean(0)


def test_a_mask_covers_the_mouth_and_leaves_the_eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    where = covered_parts(monkeypatch, 0)
    assert where[38, 24] > 0.8 and where[17].max() == 0 and 0.1 < where.mean() < 0.45


def test_glasses_cover_the_eyes_and_leave_the_mouth(monkeypatch: pytest.MonkeyPatch) -> None:
    where = covered_parts(monkeypatch, 1)
    assert where[18, 14] > 0.7 and where[18, 33] > 0.7
    assert where[36:].max() == 0 and 0.02 < where.mean() < 0.2
    torch.testing.assert_close(where, where.flip(1), atol=0.35, rtol=0)


def test_a_hand_reaches_into_the_lower_face_with_fingers(monkeypatch: pytest.MonkeyPatch) -> None:
    where = covered_parts(monkeypatch, 2)
    assert where[24:].mean() > 2 * where[:16].mean()
    assert where[36, 24] > 0.2 and 0.05 < where.mean() < 0.4
    x = torch.full((1, 1, 96, 96), LIGHT)
    cover, colour = occlusion._hand(x)
    assert colour.min() > 0.7 * 0.8 * LIGHT and colour.max() < 1.3 * 1.2 * LIGHT, "the tone of the face"
    assert cover.max() == 1 and cover.min() == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [1, 20, 100])
def test_occluders_fit_every_size_and_stay_in_range(channels: int, side: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(60, channels, side, side)
    occluded = random_occluder(x.clone(), 0.5)
    assert occluded.shape == x.shape and torch.isfinite(occluded).all()
    assert occluded.min() >= 0 and occluded.max() <= 1
    same = (occluded == x).flatten(1).all(1)
    assert 20 < same.sum() < 45
    assert random_occluder(x, 0.0) is x
