"""Guards the architecture: a module imports only from lower layers, and the run half never needs torch."""

import ast
import sys
from pathlib import Path

import pytest

import fervit

ROOT = Path(fervit.__file__).parent
LAYERS = {
    0: ["errors"],
    1: ["labels"],
    2: ["types", "archs"],
    3: ["config", "metrics", "ort", "parallel"],
    4: [
        "images",
        "augment",
        "draw",
        "plots",
        "track",
        "selective",
        "calibration",
        "corruptions",
        "rounding",
        "vote",
        "libfacedetection",
    ],
    5: ["detect", "onnx_weights", "openvino", "video", "data", "models"],
    6: ["runtime", "run_folder", "distill", "optim", "int8"],
    7: ["recognizer", "resident", "targets"],
    8: [
        "trainer",
        "rows",
        "card",
        "evaluation",
        "export",
        "groups",
        "explain",
        "poker_face",
        "gallery",
        "findings",
        "timeline",
    ],
    9: ["training", "pretrain", "report", "serve", "compare", "robustness", "quantise", "tables"],
    10: ["ensemble"],
    11: ["soup"],
    12: ["cli"],
    13: ["__main__"],
}
LEVEL = {name: level for level, names in LAYERS.items() for name in names}
RUN_HALF = [
    "errors",
    "labels",
    "types",
    "metrics",
    "images",
    "detect",
    "draw",
    "runtime",
    "rows",
    "recognizer",
]
HEAVY = {"torch", "transformers", "datasets", "matplotlib", "pyarrow", "sklearn"}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def module_name(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path, *, top_level_only=False):
    """Yield the dotted names that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "fervit":
                yield from (f"fervit.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_lower_layers(path):
    own = module_name(path)
    assert own in LEVEL, f"give {own} a layer"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "fervit" and len(parts) > 1 and parts[1] not in (own, "__version__"):
            allowed = LEVEL[parts[1]] < LEVEL[own]
            # the one seam: the recognizer opens model folders with torch where torch is installed
            seam = (own, parts[1]) == ("recognizer", "models")
            assert allowed or seam, f"{own} (L{LEVEL[own]}) imports {parts[1]} (L{LEVEL[parts[1]]})"


@pytest.mark.parametrize("name", RUN_HALF)
def test_run_half_modules_never_import_heavy_packages(name):
    roots = {imported.split(".")[0] for imported in imports(ROOT / f"{name}.py")}
    assert not roots & HEAVY
    top = set(imports(ROOT / f"{name}.py", top_level_only=True))
    assert not any(i.startswith(("fervit.data", "fervit.augment", "fervit.models")) for i in top)


@pytest.mark.parametrize("path", sorted((ROOT / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_command_line_modules_import_nothing_heavy_at_the_top(path):
    allowed = sys.stdlib_module_names | {"typer", "rich"}
    top = imports(path, top_level_only=True)
    light = ("fervit.cli", "fervit.errors")
    assert [name for name in top if name.split(".")[0] not in allowed and not name.startswith(light)] == []
