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
from tests.helpers.camera import Camera


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
def test_no_camera_is_one_clear_line() -> None:
    with pytest.raises(VideoError, match="no camera at 0: plug one in"):
        next(read_camera(0))
