"""Videos: written at their own times, and one clear line where they cannot be."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import fervit.media.camera
import fervit.media.video
import fervit.media.video_writer
from fervit.errors import MissingExtra, VideoError
from fervit.media.video import read_frames
from fervit.media.video_writer import VideoWriter
from tests.helpers.videos import SIZE, moving, write_video

TIMES = [0.0, 0.05, 0.1, 0.4, 0.45, 1.0, 1.05]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_variable_rate_survives_writing_and_reading(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("av")
    path = write_video(
        tmp_path / f"clip{suffix}", [(np.full((37, 51, 3), 30 * k, np.uint8), t) for k, t in enumerate(TIMES)]
    )
    frames = list(read_frames(path))
    assert [frame.time_s for frame in frames] == pytest.approx(TIMES, abs=0.002)
    assert [frame.index for frame in frames] == list(range(7))
    assert frames[0].image.shape == (38, 52, 3)  # even sides
    assert [frame.image.mean() for frame in frames] == pytest.approx([30 * k for k in range(7)], abs=4)


def test_opencv_alone_writes_webm_that_keeps_time_and_no_mp4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fervit.media.video, "find_spec", lambda name: None)
    monkeypatch.setattr(fervit.media.video_writer, "find_spec", lambda name: None)
    path = write_video(
        tmp_path / "clip.webm", [(np.full((*SIZE, 3), 30 * k, np.uint8), t) for k, t in enumerate(TIMES)]
    )
    frames = list(read_frames(path))
    assert len(frames) == 22  # 1.05 s at 20 frames/s
    assert frames[9].image.mean() == pytest.approx(120, abs=6)
    with pytest.raises(MissingExtra, match=r"fervit\[video\]"):
        VideoWriter(tmp_path / "clip.mp4")


def test_a_disk_that_is_full_at_the_end_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    sink = VideoWriter(tmp_path / "clip.mp4", rate=20)
    sink.write(*moving(1)[0])

    class Full:
        def mux(self, packets: object) -> None: ...

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sink._sink, "_container", Full())
    with pytest.raises(VideoError, match=r"cannot write .*clip\.mp4: No space left"):
        sink.close()
    sink.close()


@pytest.mark.skipif(sys.platform != "linux", reason="such names are of Linux")
@pytest.mark.parametrize("writer", ["pyav", "opencv"])
def test_a_name_that_is_not_utf8_is_written_or_refused(
    writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / os.fsdecode(b"n\xff.webm")
    if writer == "pyav":
        pytest.importorskip("av")
        write_video(path, moving(3))
        assert path.stat().st_size
        return
    monkeypatch.setattr(fervit.media.video_writer, "find_spec", lambda name: None)
    with pytest.raises(VideoError, match=r"cannot write .*n\\xff\.webm: OpenCV writes no such names"):
        write_video(path, moving(3))
