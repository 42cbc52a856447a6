"""The webcam: the newest frame wins, a clean end when it is unplugged. A double stands for the camera."""

import itertools
import json
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import fervit.media.camera
import fervit.media.video
from fervit.cli import app
from fervit.errors import ConfigError, FervitError, VideoError
from fervit.media.camera import read_camera


class Camera:
    """Gives `count` frames of the astronaut, one every `pause_s`, and is unplugged then."""

    count, pause_s, image = 12, 0.02, np.zeros((48, 64, 3), np.uint8)

    def __init__(self, device: int):
        self.given, self.released = 0, False

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(self.pause_s)
        self.given += 1
        return (True, self.image) if self.given <= self.count else (False, None)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray) -> type[Camera]:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(Camera, "image", astronaut[:, :, ::-1].copy())
    return Camera


def webcam(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["webcam", *map(str, arguments)])


def test_the_newest_frame_wins(camera: type[Camera]) -> None:
    indices = []
    for frame in read_camera(0):
        indices.append(frame.index)
        time.sleep(0.07)
    assert indices == sorted(set(indices))
    assert 2 <= len(indices) < 9
    assert indices[-1] >= 8


def test_frames_are_rgb_with_rising_times(camera: type[Camera], astronaut: np.ndarray) -> None:
    frames = list(read_camera(0))
    np.testing.assert_array_equal(frames[0].image, astronaut)
    assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))


def test_headless_prints_a_json_line_a_frame_and_keeps_rows_when_it_is_unplugged(
    camera: type[Camera], tiny_onnx: Path, tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    result = webcam("--headless", "--model", tiny_onnx, "--csv", table)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows
    assert all(set(row) == {"frame", "time_s", "faces"} for row in rows)
    assert [row["faces"][0]["track"] for row in rows] == [1] * len(rows)
    assert len(table.read_text().splitlines()) == 1 + len(rows)


def test_a_camera_that_falls_silent_ends(camera: type[Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    frames = read_camera(0, patience_s=0.1)
    next(frames)
    monkeypatch.setattr(Camera, "pause_s", 0.6)
    assert len(list(frames)) <= 1


def test_a_camera_may_take_its_time_to_wake_up(camera: type[Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Camera, "pause_s", 0.3)
    assert next(read_camera(0, patience_s=0.1)).index == 0


@pytest.mark.parametrize("silent", [False, True])
def test_a_camera_that_gives_no_image_is_told(
    camera: type[Camera], monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    if silent:
        monkeypatch.setattr(fervit.media.camera, "FIRST_FRAME_S", 0.1)
        monkeypatch.setattr(Camera, "pause_s", 0.3)
    else:
        monkeypatch.setattr(Camera, "count", 0)
    with pytest.raises(VideoError, match="gives no image: is another program using it"):
        next(read_camera(0, patience_s=0.1))


@pytest.mark.skipif(any(Path("/dev").glob("video*")), reason="there is a camera here")
def test_no_camera_is_one_clear_line(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no camera at 0: plug one in"):
        next(read_camera(0))
    result = webcam("--headless", "--model", tiny_onnx, "--device", 3)
    assert isinstance(result.exception, FervitError)
    assert "no camera at 3" in str(result.exception)
    earlier = tmp_path / "rows.csv"
    earlier.write_text("mine")
    webcam("--headless", "--model", tiny_onnx, "--device", 3, "--csv", earlier)
    assert earlier.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux" or "DISPLAY" in os.environ, reason="there may be a screen")
def test_no_screen_points_to_headless(tiny_onnx: Path) -> None:
    result = webcam("--model", tiny_onnx)
    assert isinstance(result.exception, ConfigError)
    assert "--headless" in str(result.exception)
