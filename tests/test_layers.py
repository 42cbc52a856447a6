"""Guards the architecture: packages have ranks, no files import in a circle, and the run half never needs torch."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fervit

ROOT = Path(fervit.__file__).parent
RANKS = {
    "errors": 0,
    "files": 1,
    "formatting": 1,
    "labels": 1,
    "probabilities": 1,
    "config": 1,
    "types": 2,
    "media": 3,
    "runtime": 3,
    "faces": 4,
    "data": 4,
    "models": 4,
    "inference": 5,
    "evaluation": 5,
    "reports": 6,
    "export": 6,
    "serve": 6,
    "training": 7,
    "ensemble": 7,
    "api": 8,
    "cli": 9,
    "__main__": 10,
}
"""A module imports from its own package or from one of a lower rank."""

RUN_HALF = (
    *("errors", "files", "formatting", "labels", "probabilities", "types"),
    *("media", "runtime", "faces", "inference", "serve"),
)
TRAIN_HALF = {"data", "models", "evaluation", "reports", "export", "training", "ensemble"}
HEAVY = {"torch", "transformers", "datasets", "sklearn"}
LAZY = {"matplotlib", "pyarrow"}  # of the extra `video`: imported where a table or a timeline is written
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    return ".".join(("fervit", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


NAMES = {dotted(path): path for path in MODULES}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Yield the dotted names that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else str(node.module) for name in submodules)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_own_package_or_a_lower_one(path: Path) -> None:
    own = package_of(path)
    assert own in RANKS, f"give {own} a rank"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "fervit" and len(parts) > 1 and parts[1] not in (own, "__version__"):
            assert RANKS[parts[1]] < RANKS[own], f"{own} (rank {RANKS[own]}) imports {name} (rank {RANKS[parts[1]]})"


def test_no_files_import_in_a_circle() -> None:
    graph = {name: {other for other in imports(path) if other in NAMES} - {name} for name, path in NAMES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


@pytest.mark.parametrize("path", [path for path in MODULES if package_of(path) in RUN_HALF], ids=dotted)
def test_the_run_half_never_imports_the_train_half(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & HEAVY
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & LAZY
    assert not {name.split(".")[1] for name in imports(path) if name.startswith("fervit.")} & TRAIN_HALF


@pytest.mark.parametrize("path", sorted((ROOT / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_command_line_modules_import_nothing_heavy_at_the_top(path: Path) -> None:
    allowed = sys.stdlib_module_names | {"typer", "rich"}
    light = ("fervit.cli", "fervit.errors", "fervit.formatting")
    top = [name for name in imports(path, top_level_only=True) if name != "fervit"]
    assert [name for name in top if name.split(".")[0] not in allowed and not name.startswith(light)] == []


def test_no_package_has_more_than_thirteen_modules_and_no_module_more_than_400_lines() -> None:
    packages = {path.parent for path in MODULES}
    counts = {str(p.relative_to(ROOT)): sum(m.name != "__init__.py" for m in p.glob("*.py")) for p in packages}
    crowded = {name: count for name, count in counts.items() if count > 13}
    assert crowded == {}
    assert [str(path) for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []
