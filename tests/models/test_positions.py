"""Positions of patches, interpolated."""

import pytest
import torch

from fervit.errors import ModelError
from fervit.models.positions import resize_positions


def test_positions_interpolate_to_another_grid_and_stay_where_it_is_the_same() -> None:
    positions = torch.randn(1, 17, 8)
    assert resize_positions(positions, 4) is positions
    resized = resize_positions(positions, 6)
    assert resized.shape == (1, 37, 8)
    assert torch.equal(resized[:, :1], positions[:, :1])
    with pytest.raises(ModelError, match="no square grid"):
        resize_positions(torch.randn(1, 18, 8), 4)
