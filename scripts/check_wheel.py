"""Build sdist and wheel, and try the wheel where nothing else of the repository is.

Usage: python scripts/check_wheel.py [--python 3.12] [--lowest] [--out FOLDER]

The wheel is installed without extras into an empty virtual environment in a temporary folder, and the tests that need
nothing else are copied there and run: against the installed package, never against `src`. `--lowest` takes the lowest
version that pyproject.toml allows of each package, with the extras of the run half.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
TESTS = (
    *("tests/media", "tests/faces", "tests/inference", "tests/runtime", "tests/cli/inference"),
    *("tests/cli/test_cache.py", "tests/cli/test_doctor.py", "tests/cli/test_exit_codes.py"),
    *("tests/cli/test_streams.py", "tests/cli/test_quiet.py", "tests/test_concurrency.py", "tests/test_errors.py"),
    *("tests/test_files.py", "tests/test_init.py", "tests/test_labels.py", "tests/test_public.py"),
    *("tests/test_types.py", "tests/test_installed.py"),
)
"""What runs without extras, without the repository and without a network; the slow ones of it are left out."""
NEED_EXTRAS = ("tests/cli/inference/test_serve.py", "tests/cli/inference/test_video.py")  # FastAPI; figures
RUNNERS = ("pytest>=8.3", "pytest-timeout>=2.3", "pytest-xdist>=3.6", "onnx>=1.18")  # tests make models with onnx
RUN_EXTRAS = ("serve", "openvino", "video", "heic", "hub")
HEAVY = ("torch", "transformers", "openvino", "pyarrow", "matplotlib", "av", "fastapi")  # none of them in the core
WEIGHTS = (".onnx", ".safetensors", ".pt", ".bin", ".xml")
MOST_BYTES = 40_000_000  # of the wheel; the three bundled models take 35 MB of it


def main() -> None:
    options = _options()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fervit-wheel-") as scratch:
        folder = Path(scratch)
        sdist, wheel = build(options.out or folder / "dist")
        check_content(wheel, names_of_wheel(wheel))
        check_content(sdist, names_of_sdist(sdist))
        run([sys.executable, "-m", "twine", "check", "--strict", sdist, wheel])
        python = install(wheel, folder / "venv", python=options.python, lowest=options.lowest)
        check_installed(python, folder, core=not options.lowest)
        run_tests(python, folder / "elsewhere")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, checked in {time.monotonic() - started:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter or version, as `uv venv -p` takes it")
    parser.add_argument("--lowest", action="store_true", help="the lowest versions that pyproject.toml allows")
    parser.add_argument("--out", type=Path, help="keep sdist and wheel in this folder")
    options = parser.parse_args()
    return options


def build(out: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it; return their paths."""
    run([sys.executable, "-m", "build", "--installer", "uv", "--outdir", out, ROOT])
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def names_of_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def names_of_sdist(sdist: Path) -> list[str]:
    with tarfile.open(sdist) as archive:
        return ["/".join(PurePosixPath(name).parts[1:]) for name in archive.getnames()]


def check_content(path: Path, names: Sequence[str]) -> None:
    """Refuse a build with weights besides the bundled ones, without its licence or marker of types, or too large."""
    weights = [name for name in names if name.endswith(WEIGHTS) and "fervit/assets/" not in name]
    if weights:
        sys.exit(f"{path.name} has weights that belong in a release of their own: {', '.join(weights)}")
    for needed in ("LICENSE", "NOTICE", "fervit/py.typed", "fervit/assets/mobilenet.onnx"):
        if not any(name.endswith(needed) for name in names):
            sys.exit(f"{path.name} lacks {needed}")
    if path.stat().st_size > MOST_BYTES:
        sys.exit(f"{path.name} has {path.stat().st_size:,} bytes, expected at most {MOST_BYTES:,}")


def install(wheel: Path, venv: Path, *, python: str, lowest: bool) -> Path:
    """Install the wheel into an empty virtual environment; return its interpreter."""
    run(["uv", "venv", "-q", "-p", python, venv])
    own = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = ["uv", "pip", "install", "-q", "--python", own]
    if lowest:
        extras = [word for extra in RUN_EXTRAS for word in ("--extra", extra)]
        run([*pip, "--resolution", "lowest-direct", "-r", ROOT / "pyproject.toml", *extras, *RUNNERS])
        run([*pip, "--no-deps", wheel])
    else:
        run([*pip, wheel, *RUNNERS])
    return own


def check_installed(python: Path, folder: Path, *, core: bool) -> None:
    """Let the installed package look at itself, and make sure that the core alone is there."""
    code = (
        "import importlib.util as u, json, fervit; found = fervit.doctor().to_dict();"
        f"print(json.dumps([fervit.__file__, [n for n in {HEAVY!r} if u.find_spec(n)], found]))"
    )
    shown = subprocess.run(
        [python, "-c", code], cwd=folder, env=environment(), check=True, capture_output=True, text=True
    )
    place, heavy, found = json.loads(shown.stdout)
    if not Path(place).resolve().is_relative_to(folder.resolve()):
        sys.exit(f"it is not the installed package that was tried, but {place}")
    if core and heavy:
        sys.exit(f"the core brings {', '.join(heavy)}, which belong to extras")
    if not found["healthy"]:
        sys.exit("\n".join(f"{check['name']}: {check['found']}" for check in found["checks"]))


def run_tests(python: Path, folder: Path) -> None:
    """Run the tests in a copy that has nothing of the repository but them and pytest's settings."""
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    # A process a core, as in `make test`.
    parallel = ["-n", "logical", "--maxprocesses", "4", "--dist", "worksteal"]
    pytest = [python, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--durations=3", *parallel]
    run([*pytest, *(f"--ignore={name}" for name in NEED_EXTRAS), *TESTS], cwd=folder)


def environment() -> dict[str, str]:
    """Return the environment without what would lead to the repository, with this interpreter's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "VIRTUAL_ENV"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def run(command: Sequence[str | Path], cwd: Path | None = None) -> None:
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment(), check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with exit code {done.returncode}")


if __name__ == "__main__":
    main()
