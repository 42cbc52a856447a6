"""What the tests of single architectures share."""

from pathlib import Path

import pytest


@pytest.fixture
def vit_folder(tmp_path: Path) -> Path:
    """A folder that says it is a ViT's, to start another architecture from."""
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    return tmp_path
