"""Guards the architecture: packages have ranks, no files import in a circle, and the run half never needs torch."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fervit
from scripts.house import PAGE, RANKS, RUN_HALF, TRAIN_HALF, with_picture

ROOT = Path(fervit.__file__).parent
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


@pytest.mark.slow
def test_no_files_import_in_a_circle() -> None:
    graph = {name: {other for other in imports(path) if other in NAMES} - {name} for name, path in NAMES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


@pytest.mark.parametrize("path", [path for path in MODULES if package_of(path) in RUN_HALF], ids=dotted)
def test_the_run_half_never_imports_the_train_half(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & HEAVY
    assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & LAZY
    assert not {name.split(".")[1] for name in imports(path) if name.startswith("fervit.")} & set(TRAIN_HALF)


@pytest.mark.parametrize("path", sorted((ROOT / "cli").rglob("*.py")), ids=dotted)
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


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions and methods of a file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the names of a function's parameters; `self` and `cls` are none."""
    arguments = function.args
    named = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in named if name not in ("self", "cls")]


@pytest.mark.slow
def test_no_function_outside_the_command_line_has_more_than_six_parameters() -> None:
    crowded = {
        f"{dotted(path)}.{function.name}": count
        for path in MODULES
        if package_of(path) != "cli"
        for function in functions(path)
        if (count := len(parameters(function))) > 6
    }
    assert crowded == {}


def length(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's number of lines; a command's options, which are its parameters, do not count."""
    first = function.body[0].lineno if package_of(path) == "cli" else function.lineno
    return int(function.end_lineno or 0) - first + 1


@pytest.mark.slow
def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {f"{dotted(path)}.{f.name}": length(path, f) for path in MODULES for f in functions(path)}
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


@pytest.mark.slow
def test_no_module_imports_a_private_name_of_another() -> None:
    private = [
        f"{dotted(path)}: {node.module}.{alias.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("fervit")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
        if f"{node.module}.{alias.name}" not in NAMES  # `cli/_shared.py` is a module of its package
    ]
    assert private == []


def test_the_plan_in_the_documentation_is_the_one_that_is_kept() -> None:
    assert {package_of(path) for path in MODULES} == RANKS.keys()
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_picture(page), "run `python scripts/house.py`"
