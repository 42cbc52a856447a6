"""The camera: the newest frame wins, and it ends when it is unplugged. A double stands for the camera."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

import fervit.media.camera
import fervit.media.video
from fervit.errors import VideoError
from fervit.media.camera import read_camera
from tests.helpers.camera import Camera, MjpegHandler


@pytest.mark.slow
def test_the_newest_frame_wins(camera: type[Camera]) -> None:
    indices = []
    for frame in read_camera(0):
        indices.append(frame.index)
        time.sleep(0.07)
    assert indices == sorted(set(indices))
    assert 2 <= len(indices) < 9
    assert indices[-1] >= 8


@pytest.mark.slow
def test_frames_are_rgb_with_rising_times(camera: type[Camera], astronaut: np.ndarray) -> None:
    frames = list(read_camera(0))
    np.testing.assert_array_equal(frames[0].image, astronaut)
    assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))


def test_a_camera_that_falls_silent_ends(camera: type[Camera], monkeypatch: pytest.MonkeyPatch) -> None:
    frames = read_camera(0, patience_s=0.1)
    next(frames)
    monkeypatch.setattr(Camera, "pause_s", 0.6)
    assert len(list(frames)) <= 1


@pytest.mark.slow
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
def test_no_camera_is_one_clear_line() -> None:
    with pytest.raises(VideoError, match="no camera at 0: plug one in"):
        next(read_camera(0))


@pytest.mark.slow
def test_a_camera_with_an_address_is_connected_to_again(stream: str) -> None:
    frames = list(read_camera(stream))
    assert MjpegHandler.served == 2
    assert {round(frame.image[..., 0].mean() / 40) for frame in frames} == {1, 2}  # both connections
    assert all(a.index < b.index and a.time_s < b.time_s for a, b in itertools.pairwise(frames))


def test_an_address_that_does_not_respond_is_told_without_its_password() -> None:
    with pytest.raises(VideoError, match=r"no camera at rtsp://\*\*\*@127.0.0.1:9/live") as error:
        next(read_camera("rtsp://admin:hunter2@127.0.0.1:9/live"))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "device", [-1, True, None, 1.5, "clip.mp4", "/etc/passwd", "http://host/a.jpg", "file:///x", ""]
)
def test_what_is_no_camera_is_refused(device: object) -> None:
    with pytest.raises(VideoError, match="expected a camera as its number") as error:
        next(read_camera(device))  # type: ignore[arg-type]
    assert len(str(error.value)) < 250


def test_a_device_file_is_opened_by_its_name(camera: type[Camera]) -> None:
    assert next(read_camera("/dev/video2")).index == 0
    assert next(read_camera("0")).index == 0
