"""`build_model`."""

from pathlib import Path

import pytest

from fervit.errors import ModelError
from fervit.labels import FER7
from fervit.models import build_model


def test_an_unknown_architecture_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown arch 'vitse': did you mean 'vit_se'"):
        build_model(tmp_path / "w.safetensors", FER7, 32, arch="vitse")
    with pytest.raises(ModelError, match="vit needs starting weights"):
        build_model("scratch", FER7, 32)
