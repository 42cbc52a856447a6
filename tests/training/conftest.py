"""Fixtures of the tests of training."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.weights import save_timm


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights of a small ViT: width 64, two layers, patches of 8 px, trained at 32 px."""
    save_timm(tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.fixture(params=[1, 3])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    """As if the machine had that many: with more than one, each takes a chunk of every batch."""
    count: int = request.param
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield count
    assert torch.get_num_threads() == count
    torch.set_num_threads(before)
