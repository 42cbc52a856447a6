"""Three small models, a data set, and an ensemble of the three."""

from pathlib import Path

import pytest

from fervit.data.dataset import Dataset
from fervit.ensemble import Weighting, ensemble
from fervit.ensemble.results import Choice
from tests.helpers.ensembles import make_dataset, save_members


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two ViTs of one shape, and a DINOv2 with a larger input, another normalisation and another label order."""
    return save_members(tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="session")
def made(members: list[Path], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Choice]:
    """An ensemble of all three with equal weights, and what was measured."""
    out = tmp_path_factory.mktemp("ensemble") / "E"
    return out, ensemble(members, dataset, out, weighting=Weighting("uniform"))
