"""OpenCV is imported late; one that is missing, or without windows, is told."""

import logging
import sys
from types import SimpleNamespace

import pytest

from fervit.errors import MissingPackage
from fervit.faces.detectors import make_detector
from fervit.media import opencv as module
from fervit.media.opencv import has_windows, opencv
from tests.helpers.processes import run_program

HEADLESS, WINDOWS = "  GUI:                           NONE\n", "  GUI:                           QT5\n"

LATE = """
import sys
import fervit, fervit.cli, fervit.inference.loading
recognizer = fervit.load(sys.argv[1], detector="none")
assert "cv2" not in sys.modules, "imported too early"
from PIL import Image
assert len(recognizer(Image.new("RGB", (60, 60)))) == 1
assert "cv2" not in sys.modules, "a crop needs no OpenCV"
print("fine")
"""

MISSING = """
import sys
sys.modules["cv2"] = None
sys.argv = ["fervit", *sys.argv[1:]]
from fervit.cli import main
try:
    main()
except SystemExit as end:
    print("code", end.code)
"""


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """`opencv` as before its first call."""
    monkeypatch.setattr(module, "opencv", opencv.__wrapped__)
    return monkeypatch


def build(text: str) -> SimpleNamespace:
    return SimpleNamespace(getBuildInformation=lambda: f"General configuration\n{text}  Media I/O:\n")


@pytest.mark.slow
def test_crops_are_predicted_without_opencv(tiny_onnx: object) -> None:
    assert run_program(LATE, tiny_onnx).strip() == "fine"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["predict", "PHOTO"], ["data", "synth", "--out", "OUT"]])
def test_a_missing_opencv_is_one_line(arguments: list[str], tmp_path: object) -> None:
    pytest.importorskip("skimage")
    path = f"{tmp_path}/photo.png"
    write = f"from PIL import Image; Image.new('RGB', (600, 600)).save({path!r})"
    named = [{"PHOTO": path, "OUT": f"{tmp_path}/out"}.get(argument, argument) for argument in arguments]
    output = run_program(write + MISSING, *named)
    assert "code 2" in output and "Traceback" not in output
    assert "OpenCV cannot be imported" in output and "opencv-python-headless, or another package" in output


def test_a_library_that_opencv_misses_is_named(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackage, match="such as opencv-python"):
        module.opencv()


def test_windows_are_known_from_the_build() -> None:
    assert has_windows(build(WINDOWS))  # type: ignore[arg-type]
    assert not has_windows(build(HEADLESS))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "packages", "warned"),
    [
        (HEADLESS, {"opencv-python": "4.10.0", "opencv-python-headless": "4.12.0"}, True),
        (HEADLESS, {"opencv-contrib-python": "4.10.0", "opencv-python-headless": "4.12.0"}, True),
        (WINDOWS, {"opencv-python": "4.10.0", "opencv-python-headless": "4.12.0"}, False),
        (HEADLESS, {"opencv-python-headless": "4.12.0"}, False),
        (WINDOWS, {"opencv-python": "4.10.0"}, False),
    ],
)
def test_a_users_opencv_that_was_replaced_is_told_with_the_repair(
    text: str, packages: dict[str, str], warned: bool, fresh: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fresh.setitem(sys.modules, "cv2", build(text))
    fresh.setattr(module, "_version", packages.get)
    with caplog.at_level(logging.WARNING):
        module.opencv()
    assert bool(caplog.records) == warned
    if warned:
        name = next(iter(packages))
        assert f"pip install --force-reinstall --no-deps {name}==4.10.0" in caplog.records[0].getMessage()


def test_detectors_work_with_the_installed_package() -> None:
    assert make_detector("haar").detect([]) == []
