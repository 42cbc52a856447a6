"""The registry of released weights is that of the folders in models/."""

from pathlib import Path

import pytest

from fervit.weights.registry import MODELS, REGISTRY, read_registry, registry_text
from scripts.publish_weights import copy_assets, describe, make_registry


def test_the_packaged_registry_is_that_of_the_released_folders() -> None:
    if not MODELS.is_dir():
        pytest.skip("no models/ here: not a checkout")
    made = make_registry(MODELS, read_registry().url)
    assert registry_text(made) == REGISTRY.read_text(encoding="utf-8"), "run scripts/publish_weights.py --write"
    assert "small-model.safetensors" in describe(made)


def test_assets_have_the_names_that_the_registry_gives_them(tmp_path: Path) -> None:
    if not MODELS.is_dir():
        pytest.skip("no models/ here: not a checkout")
    made = make_registry(MODELS, "")
    copy_assets(made, MODELS, tmp_path)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {
        file.asset: file.size for model in made.models.values() for file in model.files
    }
    with pytest.raises(SystemExit, match="has no model folders"):
        make_registry(tmp_path, "")
    with pytest.raises(SystemExit, match="which stands for the name of a file"):
        make_registry(MODELS, "https://somewhere")
