"""What a file is, its content decides: endings lie, and some files have none."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fervit.errors import VideoError
from fervit.media.kinds import Kind, kind_of
from fervit.media.video import probe, read_frames
from tests.helpers.videos import moving

CONTAINERS = [  # format, codec, usual ending
    ("mpegts", "mpeg2video", ".ts"),
    ("mpegts", "mpeg2video", ".m2ts"),
    ("vob", "mpeg2video", ".vob"),
    ("mpeg", "mpeg1video", ".mpg"),
    ("mxf", "mpeg2video", ".mxf"),
    ("asf", "wmv2", ".asf"),
    ("f4v", "libx264", ".f4v"),
    ("3g2", "mpeg4", ".3g2"),
    ("h264", "libx264", ".h264"),
    ("mpeg2video", "mpeg2video", ".m2v"),
    ("flv", "flv", ".flv"),
    ("matroska", "libx264", ".mkv"),
    ("avi", "mpeg4", ".avi"),
    ("mov", "libx264", ".mov"),
    ("ogg", "libtheora", ".ogv"),
]


def write_container(path: Path, container: str, codec: str) -> Path:
    av = pytest.importorskip("av")
    if codec not in av.codecs_available or container not in av.formats_available:
        pytest.skip(f"this PyAV writes no {container} with {codec}")
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for image, _ in moving(8):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("container", "codec", "ending"), CONTAINERS)
@pytest.mark.parametrize("name", ["usual", "photo.jpg", "none"])
def test_a_video_is_one_under_any_name(
    tmp_path: Path, reader: str, container: str, codec: str, ending: str, name: str
) -> None:
    path = tmp_path / (f"clip{ending}" if name == "usual" else name)
    write_container(path, container, codec)
    assert kind_of(path) is Kind.VIDEO
    assert probe(path).width == 96
    assert 6 <= len(list(read_frames(path))) <= 8


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("frames", [1, 5])
def test_an_animated_image_is_a_video(tmp_path: Path, reader: str, format: str, frames: int) -> None:
    path = tmp_path / "image.jpg"
    first, *others = (Image.fromarray(np.full((40, 60, 3), 50 * k, np.uint8)) for k in range(frames))
    options = {"lossless": True} if format == "WEBP" else {}
    first.save(path, format, save_all=True, append_images=others, duration=200, **options)
    assert kind_of(path) is (Kind.ANIMATION if frames > 1 else Kind.IMAGE)
    if frames > 1:
        read = list(read_frames(path, every=2))
        assert [frame.index for frame in read] == [0, 2, 4]
        assert [frame.time_s for frame in read] == pytest.approx([0, 0.4, 0.8])
        assert [frame.image.mean() for frame in read] == pytest.approx([0, 100, 200], abs=6)
        assert probe(path).rate in (5, 10)  # WebP and AVIF say it only when they are decoded


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF"])
def test_a_photo_is_one_under_any_name(tmp_path: Path, format: str) -> None:
    for name in ("a.mp4", "a.txt", "a"):
        Image.new("RGB", (9, 7), "teal").save(tmp_path / name, format)
        assert kind_of(tmp_path / name) is Kind.IMAGE


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("code.ts", b"export const G = 1;\n" * 300),
        ("song.m4a", b"\0\0\0\x20ftypM4A " + b"\0" * 100),
        ("song.ogg", b"OggS" + b"\0" * 100),
        ("raw.dng", b"II*\0" + b"\0" * 100),
        ("raw.cr3", b"\0\0\0\x18ftypcrx " + b"\0" * 100),
        ("icon.ico", b"\0\0\1\0\1\0" + b"\0" * 100),
        ("note.txt", b"BM, the bitmap format"),
        ("note", b"P3 is a text"),
        ("page.pdf", b"%PDF-1.7\n" + b"\0" * 5000),
        ("sheet.xlsx", b"PK\3\4" + b"\0" * 100),
        ("empty", b""),
    ],
)
def test_other_files_are_neither(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name) is Kind.OTHER


def test_a_broken_file_is_what_its_ending_says(tmp_path: Path) -> None:
    for name, kind in (("a.jpg", Kind.IMAGE), ("a.heic", Kind.IMAGE), ("a.mp4", Kind.VIDEO), ("a.mxf", Kind.VIDEO)):
        (tmp_path / name).write_bytes(b"hello")
        assert kind_of(tmp_path / name) is kind


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(OSError, match="not a regular file"):
        kind_of(tmp_path / "a.jpg")


@pytest.mark.slow
@pytest.mark.parametrize(
    "container", ["mp4", "mpegts", "matroska", "webp", "gif", "png", "avif", "heic", "h264", "bmp"]
)
def test_a_beginning_of_any_length_is_something(tmp_path: Path, container: str) -> None:
    heads = {
        "webp": b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x02",
        "gif": b"GIF89a\1\0\1\0\x80\0\0",
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "avif": b"\0\0\0\x20ftypavis\0\0\0\0",
        "heic": b"\0\0\0\x20ftypheic\0\0\0\0",
        "mp4": b"\0\0\0\x20ftypisom\0\0\0\0",
        "mpegts": b"G\0" * 600,
        "matroska": b"\x1a\x45\xdf\xa3",
        "h264": b"\0\0\0\1\x67",
        "bmp": b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0",
    }
    head = heads[container]
    for length in range(len(head) + 1):
        (tmp_path / "a").write_bytes(head[:length])
        assert isinstance(kind_of(tmp_path / "a"), Kind)


def test_a_codec_that_nobody_knows_is_one_clear_line(tmp_path: Path, reader: str) -> None:
    path = write_container(tmp_path / "a.mkv", "matroska", "libx264")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_NOSUCH/CODECS"))
    for read in (probe, lambda path: list(read_frames(path))):
        with pytest.raises(VideoError, match="is not a video that can be read"):
            read(path)


def test_a_cut_video_prints_nothing(tmp_path: Path, reader: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_container(tmp_path / "whole", "mov", "libx264")
    data = path.read_bytes()
    for length in range(8, len(data), 97):
        path.write_bytes(data[:length])
        with contextlib.suppress(VideoError):
            list(read_frames(path))
    assert capfd.readouterr() == ("", "")
