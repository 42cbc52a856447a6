"""Videos: read with true times; what is broken is reported in one line."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fervit.errors import VideoError
from fervit.media.video import probe, read_frames
from tests.helpers.videos import SIZE, moving


def test_both_readers_agree(media: Path, reader: str) -> None:
    frames = [frame for frame in read_frames(media / "single_face.mp4", every=10)]
    assert [frame.index for frame in frames] == list(range(0, 72, 10))
    assert [frame.time_s for frame in frames] == pytest.approx([k / 30 for k in range(0, 72, 10)], abs=1e-3)
    assert frames[0].image.shape == (360, 640, 3)
    red, _, blue = frames[0].image[:, 20].mean(axis=0)
    assert red > blue + 30  # the yellow wall: RGB, not BGR
    assert probe(media / "single_face.mp4").duration_s == pytest.approx(2.4, abs=0.01)


def test_what_is_no_video_is_one_clear_line(tmp_path: Path, clip: Path, reader: str) -> None:
    (tmp_path / "dir.mp4").mkdir()
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:700])
    write_sound(tmp_path / "sound.mp4")
    for name, message in {
        "dir.mp4": "is a folder",
        "zero.mp4": "is empty",
        "text.mp4": "not a video",
        "cut.mp4": "truncated",
        "sound.mp4": "sound only",
        "absent.mp4": "does not exist",
    }.items():
        with pytest.raises(VideoError, match=message):
            list(read_frames(tmp_path / name))
        with pytest.raises(VideoError, match=message):
            probe(tmp_path / name)


def write_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for k in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, k * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_truncated_video_gives_the_frames_it_has(media: Path, tmp_path: Path, reader: str) -> None:
    av = pytest.importorskip("av")
    whole = tmp_path / "whole.mp4"
    with (
        av.open(str(media / "single_face.mp4")) as old,
        av.open(str(whole), "w", options={"movflags": "+faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    assert probe(tmp_path / "cut.mp4").frames == 72  # so says its header
    frames = list(read_frames(tmp_path / "cut.mp4"))
    assert 15 < len(frames) < 40


def transport_stream(path: Path) -> Path:
    """Write twelve frames as MPEG-2 in a transport stream, which may be cut and joined anywhere."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=20)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for image, _ in moving(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_files_joined_without_new_times_go_on_where_the_first_ends(tmp_path: Path, reader: str) -> None:
    part = transport_stream(tmp_path / "part.ts")
    (tmp_path / "joined.mts").write_bytes(2 * part.read_bytes())
    times = [frame.time_s for frame in read_frames(tmp_path / "joined.mts")]
    assert len(times) >= 23
    assert all(0 < step < 0.2 for step in np.diff(times))
    assert times[-1] == pytest.approx(23 / 20, abs=0.1)


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound, cover = container.add_stream("aac", rate=44100), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = SIZE[1], SIZE[0], "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for k in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, k * 1024
            container.mux(sound.encode(frame))
        container.mux(cover.encode(av.VideoFrame.from_ndarray(moving(1)[0][0], format="rgb24")))
        container.mux([*sound.encode(None), *cover.encode(None)])
    with pytest.raises(VideoError, match="sound only"):
        next(read_frames(path))


def test_names_that_are_not_utf8_are_read_or_refused(clip: Path, reader: str) -> None:
    if sys.platform != "linux":
        pytest.skip("such names are of Linux")
    odd = Path(os.fsdecode(os.fsencode(clip.parent) + b"/n\xff\xfe.mp4"))
    odd.write_bytes(clip.read_bytes())
    if reader == "pyav":
        assert len(list(read_frames(odd))) == 30
    else:
        with pytest.raises(VideoError, match="rename"):
            next(read_frames(odd))


@pytest.mark.parametrize(("shape", "width"), [((2, 1), 128), ((16, 15), 68), ((90, 1), 64)])
def test_a_squeezed_video_gets_square_pixels(tmp_path: Path, shape: tuple[int, int], width: int, reader: str) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*shape)
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, 32:] = 250
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    frames = list(read_frames(tmp_path / "a.mp4"))
    assert [frame.image.shape for frame in frames] == [(48, width, 3)] * 3
    assert frames[0].image[:, : width // 2 - 4].mean() < 20 and frames[0].image[:, width // 2 + 4 :].mean() > 230


@pytest.mark.slow
def test_frames_larger_than_any_camera_takes_are_refused(tmp_path: Path, reader: str) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "bomb.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 9000, 5000, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(9000, 5000, "yuv420p")))
        container.mux(stream.encode(None))
    message = r"bomb\.mp4 is too large: frames of 9000 x 5000 = 45 megapixels, more than 40"
    with pytest.raises(VideoError, match=message):
        list(read_frames(path))


def test_a_header_that_cannot_be_is_a_clear_line_or_left_out(clip: Path, reader: str) -> None:
    data = clip.read_bytes()
    (clip.parent / "codec.mp4").write_bytes(data.replace(b"avc1", b"zzz1"))
    with pytest.raises(VideoError, match=r"codec\.mp4 is not a video that can be read"):
        probe(clip.parent / "codec.mp4")
    at = data.index(b"mdhd") + 20  # the duration of the track
    (clip.parent / "long.mp4").write_bytes(data[:at] + b"\xff\xff\xff\xf0" + data[at + 4 :])
    info = probe(clip.parent / "long.mp4")
    assert info.duration_s is None or info.duration_s >= 0


def test_times_never_go_below_zero(tmp_path: Path, reader: str) -> None:
    part = transport_stream(tmp_path / "part.ts")
    data = part.read_bytes()
    half = len(data) // 2 // 188 * 188
    (tmp_path / "swapped.ts").write_bytes(data[half:] + data[:half])
    times = [frame.time_s for frame in read_frames(tmp_path / "swapped.ts")]
    assert times and times[0] >= 0 and times == sorted(times)


@pytest.mark.slow
def test_frames_with_a_named_colour_profile_crash_nothing(tmp_path: Path) -> None:
    pytest.importorskip("av")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "frame.png", icc_profile=profile)
    code = (
        "import gc, sys; from fervit.media.video import read_frames\n"
        "for _ in range(5): print(len(list(read_frames(sys.argv[1])))); gc.collect()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "frame.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["1"] * 5), done.stderr


def test_frames_with_exif_are_read(tmp_path: Path, reader: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "still.jpg", exif=exif)
    (tmp_path / "frames.mjpeg").write_bytes(3 * (tmp_path / "still.jpg").read_bytes())
    frames = list(read_frames(tmp_path / "frames.mjpeg"))
    assert len(frames) >= 1 and frames[0].image.shape == (48, 64, 3)
