"""`fervit weights`."""

from pathlib import Path

from fervit.weights.registry import MODELS
from tests.helpers.commands import error_of, run


def test_released_models_are_listed_with_their_figures_and_found() -> None:
    done = run("weights")
    assert done.stdout == run("weights", "list").stdout
    small = next(line for line in done.stdout.splitlines() if line.startswith("small"))
    assert small.split()[:5] == ["small", "dinov2", "Apache-2.0", "72.58", "72.92"] and "43.2 MB" in small
    if (MODELS / "small").is_dir():
        assert run("weights", "fetch", "small").stdout.strip() == f"small: {MODELS / 'small'}"


def test_an_unknown_name_gets_the_nearest_one(tmp_path: Path) -> None:
    assert "unknown model 'smal': did you mean 'small'?" in error_of(run("weights", "fetch", "smal"))
