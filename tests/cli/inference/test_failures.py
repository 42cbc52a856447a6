"""One output that cannot be written never stops the others."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fervit.media.video_writer
from fervit.errors import ConfigError, VideoError
from fervit.media.video import read_frames
from tests.helpers.commands import error_of, predict
from tests.helpers.videos import write_faceless_video

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def write_growing_video(path: Path) -> Path:
    """Write a stream whose frames change their size, as video calls do."""
    av = pytest.importorskip("av")
    parts = []
    for number, (height, width) in enumerate([(48, 64), (96, 128), (64, 48)]):
        part = path.with_name(f"part{number}.ts")
        with av.open(str(part), "w") as container:
            stream = container.add_stream("mpeg2video", rate=20)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for _ in range(4):
                image = np.full((height, width, 3), 200, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.slow
def test_a_video_whose_frames_change_their_size_is_annotated_to_its_end(tmp_path: Path, tiny_onnx: Path) -> None:
    clip = write_growing_video(tmp_path / "call.mts")
    sizes = {frame.image.shape for frame in read_frames(clip)}
    assert len(sizes) == 3
    copy, rows = tmp_path / "copy.mp4", tmp_path / "rows.jsonl"
    result = predict(clip, "--model", tiny_onnx, "--annotate", copy, "--json", rows)
    assert result.exit_code == 0, result.output
    frames = list(read_frames(copy))
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert len(frames) == len(rows.read_text().splitlines()) >= 10
    upright = frames[-1].image.mean(axis=(0, 2))  # 64 x 48 in 48 x 64: bars at both sides
    assert upright[2] < 30 and upright[-3] < 30 and upright[32] > 150


@needs_full
def test_a_full_disk_for_one_result_file_leaves_the_others_whole(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    result = predict(folder, "--model", tiny_onnx, "--json", FULL, "--csv", table, "--annotate", tmp_path / "copies")
    assert "cannot write /dev/full: No space left" in error_of(result)
    assert "cannot write /dev/full: No space left on device; the other outputs go on" in result.stderr
    assert len(list(csv.DictReader(table.read_text().splitlines()))) == 3
    assert len(list((tmp_path / "copies").iterdir())) == 2


@pytest.mark.slow
def test_a_copy_that_fails_in_the_middle_leaves_the_rows_and_the_figure(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, image: np.ndarray, time_s: float) -> None:
        raise VideoError("cannot write copy.webm: No space left on device")

    clip = write_faceless_video(tmp_path / "clip.webm")
    monkeypatch.setattr(fervit.media.video_writer.VideoWriter, "write", full)
    rows, figure, copies = tmp_path / "rows.jsonl", tmp_path / "t.png", tmp_path / "copies"
    options = ("--model", tiny_onnx, "--annotate", copies, "--json", rows, "--timeline", figure)
    result = predict(clip, *options)
    assert "No space left" in error_of(result)
    assert "3 frames" in result.stdout and figure.exists()
    assert len(rows.read_text().splitlines()) == 3


def test_the_only_output_ends_the_run_when_it_fails(folder: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    if not FULL.exists():
        pytest.skip("needs /dev/full")
    result = predict(folder, "--model", tiny_onnx, "--csv", FULL)
    assert error_of(result) == "cannot write /dev/full: No space left on device"
    assert "go on" not in result.stderr


@pytest.mark.slow
def test_names_as_long_as_a_file_system_takes_get_copies_of_their_own(
    tmp_path: Path, tiny_onnx: Path, astronaut: np.ndarray
) -> None:
    name = "ü" * 125 + "a.gif"  # 255 bytes
    copies = tmp_path / "copies"
    for folder in ("first", "second", "third"):
        (tmp_path / folder).mkdir()
        Image.fromarray(astronaut).save(tmp_path / folder / name)
    result = predict(
        *(tmp_path / folder for folder in ("first", "second", "third")), "--model", tiny_onnx, "--annotate", copies
    )
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in copies.iterdir())
    assert len(names) == 3 and all(len(name.encode()) <= 255 for name in names)
    assert sum("-2.png" in name or "-3.png" in name for name in names) == 2


def test_a_figure_that_fails_leaves_the_photos_their_rows(
    folder: Path, tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(figure: object, path: Path) -> None:
        raise ConfigError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("fervit.reports.figures.files.write_figure", full)
    clip, table = write_faceless_video(tmp_path / "clip.webm"), tmp_path / "rows.csv"
    result = predict(clip, folder, "--model", tiny_onnx, "--timeline", tmp_path / "t.png", "--csv", table)
    assert "No space left" in error_of(result)
    assert len(list(csv.DictReader(table.read_text().splitlines()))) == 3 + 3  # frames and photos
