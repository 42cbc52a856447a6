"""`fervit webcam`; a double stands for the camera."""

import json
import os
import sys
from pathlib import Path

import pytest

from fervit.errors import ConfigError
from tests.helpers.camera import Camera
from tests.helpers.commands import error_of, run


@pytest.mark.skipif(any(Path("/dev").glob("video*")), reason="there is a camera here")
def test_no_camera_is_one_clear_line(tiny_onnx: Path, tmp_path: Path) -> None:
    result = run("webcam", "--headless", "--model", tiny_onnx, "--device", 3)
    assert "no camera at 3" in error_of(result)
    earlier = tmp_path / "rows.csv"
    earlier.write_text("mine")
    run("webcam", "--headless", "--model", tiny_onnx, "--device", 3, "--csv", earlier)
    assert earlier.read_text() == "mine"


@pytest.mark.slow
def test_headless_prints_a_json_line_a_frame_and_keeps_rows_when_it_is_unplugged(
    camera: type[Camera], tiny_onnx: Path, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    result = run("webcam", "--headless", "--model", tiny_onnx, "--csv", table)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows
    assert all(set(row) == {"frame", "time_s", "faces"} for row in rows)
    assert [row["faces"][0]["track"] for row in rows] == [1] * len(rows)
    assert len(table.read_text().splitlines()) == 1 + len(rows)


@pytest.mark.skipif(sys.platform != "linux" or "DISPLAY" in os.environ, reason="there may be a screen")
def test_no_screen_points_to_headless(tiny_onnx: Path) -> None:
    result = run("webcam", "--model", tiny_onnx)
    assert isinstance(result.exception, ConfigError)
    assert "--headless" in str(result.exception)
