"""`--device` reaches the model in every command that opens one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.errors import ConfigError, ModelError
from fervit.serve.settings import Settings
from tests.helpers.commands import error_of, run

PROVIDER = "cuda:0 needs CUDAExecutionProvider, which the installed onnxruntime lacks; onnxruntime-gpu brings it: "


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fervit.runtime.providers.available_providers", lambda: ["CPUExecutionProvider"])


@pytest.mark.usefixtures("no_provider")
@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "PHOTO", "--crop", "--model", "MODEL"),
        ("explain", "MODEL", "PHOTO", "--crop", "--out", "OUT"),
        ("poker-face", "MODEL", "PHOTO", "--crop", "--out", "OUT/face.png"),
        ("benchmark", "MODEL"),
        ("evaluate", "MODEL", "--data", "synthetic:14"),
        ("evaluate", "MODEL", "MODEL", "--data", "synthetic:14"),
        ("compare", "MODEL", "MODEL", "--data", "synthetic:14"),
        ("compare", "MODEL", "MODEL", "MODEL", "--data", "synthetic:14"),
        ("robustness", "MODEL", "--data", "synthetic:14"),
        ("pseudolabel", "MODEL", "--images", "PHOTO", "--out", "OUT/d.parquet", "--min-confidence", "0.5", "--crop"),
    ],
)
def test_a_device_that_cannot_be_used_ends_the_command_with_what_brings_it(
    tmp_path: Path, photo: Path, tiny_onnx: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "out").mkdir()
    places = {"PHOTO": photo, "MODEL": tiny_onnx, "OUT": tmp_path / "out"}
    given = [str(places.get(text, text.replace("OUT/", f"{tmp_path}/out/"))) for text in arguments]
    result = run(*given, "--device", "cuda")
    assert isinstance(result.exception, ModelError)
    assert error_of(result).startswith(PROVIDER)


def test_the_cpu_is_a_device_and_a_misspelt_one_is_named(photo: Path, tiny_onnx: Path) -> None:
    result = run("predict", photo, "--crop", "--model", tiny_onnx, "--device", "cpu")
    assert result.exit_code == 0, result.output
    result = run("predict", photo, "--crop", "--model", tiny_onnx, "--device", "gpu")
    assert error_of(result).startswith("expected a device such as auto, cpu, cuda, ")


def test_the_service_refuses_a_device_that_is_none_before_it_opens_anything() -> None:
    with pytest.raises(ConfigError, match="expected a device such as"):
        Settings(device="gpu").check()
