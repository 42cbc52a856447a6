"""Annotated copies of videos: what a copy keeps of its original, and that a copy never ends a run."""

import csv
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import fervit.cli.inference.video
import fervit.media.video_writer
from fervit.errors import MissingExtra
from fervit.media.video import probe, read_frames
from tests.helpers.commands import error_of, predict
from tests.helpers.videos import Square, set_matrix

av = pytest.importorskip("av")
TIMES = (0.0, 0.05, 0.1, 0.4, 0.45, 1.0, 1.05, 1.1)


def write_film(
    path: Path,
    times: Sequence[float],
    *,
    size: tuple[int, int] = (96, 64),
    shape: tuple[int, int] = (1, 1),
    level: int = 220,
) -> Path:
    """Write frames of `(width, height)` with a square of a level, shown at `times`, pixels of a shape, and sound."""
    width, height = size
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg2video" if path.suffix == ".ts" else "mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(*shape)
        if path.suffix == ".mp4":
            video.codec_context.time_base = Fraction(1, 1000)
        sound = out.add_stream("aac", rate=16000, layout="mono")
        for number, time_s in enumerate(times):
            image = np.full((height, width, 3), 40, np.uint8)
            image[20:40, 10:30] = level
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            if path.suffix != ".mp4":
                frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        noise = np.random.default_rng(0).normal(0, 0.1, (1, round(16000 * (times[-1] + 0.1)))).astype(np.float32)
        samples = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 16000, 0, Fraction(1, 16000)
        out.mux(sound.encode(samples))
        out.mux(sound.encode(None))
        out.mux(video.encode(None))
    return path


@pytest.fixture(autouse=True)
def square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fervit.faces.detectors.DETECTORS, "haar", Square)


def annotated(film: Path, model: Path, copy: Path, *options: object) -> Path:
    """Write the annotated copy of a film."""
    result = predict(film, "--model", model, "--detector", "haar", "--annotate", copy, *options)
    assert result.exit_code == 0, result.output
    assert f"annotated copy: {copy}" in result.stderr
    return copy


def seconds_of_sound(path: Path) -> float:
    with av.open(str(path)) as film:
        return float(sum(frame.samples / frame.sample_rate for frame in film.decode(audio=0)))


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_copy_keeps_the_times_of_a_variable_frame_rate_and_the_sound(
    tmp_path: Path, tiny_onnx: Path, suffix: str
) -> None:
    film = write_film(tmp_path / "film.mp4", TIMES)
    copy = annotated(film, tiny_onnx, tmp_path / f"copy{suffix}")
    assert [f.time_s for f in read_frames(copy)] == pytest.approx([f.time_s for f in read_frames(film)], abs=0.002)
    assert [f.time_s for f in read_frames(film)] == pytest.approx(TIMES, abs=0.002)
    assert seconds_of_sound(copy) == pytest.approx(seconds_of_sound(film), abs=0.15)
    thinned = annotated(film, tiny_onnx, tmp_path / f"every{suffix}", "--every", 3)
    assert [f.time_s for f in read_frames(thinned)] == pytest.approx([TIMES[0], TIMES[3], TIMES[6]], abs=0.002)
    assert seconds_of_sound(thinned) == pytest.approx(seconds_of_sound(film), abs=0.15)


def test_a_constant_frame_rate_stays_in_the_header(tmp_path: Path, tiny_onnx: Path) -> None:
    film = write_film(tmp_path / "film.mkv", [k / 25 for k in range(10)])
    copy = annotated(film, tiny_onnx, tmp_path / "copy.mp4")
    assert probe(copy).rate == pytest.approx(25, abs=0.1) and probe(copy).frames == 10


@pytest.mark.parametrize(("shape", "width"), [((2, 1), 192), ((1, 2), 48)])
def test_a_copy_of_an_anamorphic_film_has_its_shape_in_square_pixels(
    tmp_path: Path, tiny_onnx: Path, shape: tuple[int, int], width: int
) -> None:
    film = write_film(tmp_path / "film.mkv", TIMES, shape=shape)
    copy = annotated(film, tiny_onnx, tmp_path / "copy.mp4")
    with av.open(str(copy)) as found:
        stream = found.streams.video[0]
        assert (stream.width, stream.height) == (width, 64)
        assert not stream.sample_aspect_ratio or stream.sample_aspect_ratio == 1


@pytest.mark.parametrize(
    ("matrix", "size", "place"),
    [
        ((0, 1, -1, 0), (64, 96), (33, 20)),  # turned by 90 degrees clockwise: what was at the left is at the top
        ((-1, 0, 0, 1), (96, 64), (75, 30)),  # mirrored
        ((-1, 0, 0, -1), (96, 64), (75, 33)),  # upside down
    ],
)
def test_a_copy_of_a_turned_or_mirrored_film_is_upright(
    tmp_path: Path, tiny_onnx: Path, matrix: tuple[int, int, int, int], size: tuple[int, int], place: tuple[int, int]
) -> None:
    film = write_film(tmp_path / "film.mp4", TIMES, level=140)  # too dark to be a face, whose label would cover it
    set_matrix(film, matrix)
    copy = annotated(film, tiny_onnx, tmp_path / "copy.mp4")
    assert (probe(copy).width, probe(copy).height, probe(copy).rotation_deg) == (*size, 0)
    image, before = (next(read_frames(path)).image.astype(int) for path in (copy, film))
    assert image.shape == before.shape
    rows, columns = np.nonzero(image[:, :, 0] > 100)
    assert (columns.mean(), rows.mean()) == pytest.approx(place, abs=2)
    assert np.abs(image - before).mean() < 4


def test_frames_of_another_size_are_scaled_into_the_copy(tmp_path: Path, tiny_onnx: Path) -> None:
    times = [k / 25 for k in range(6)]
    wide, tall = write_film(tmp_path / "1.ts", times), write_film(tmp_path / "2.ts", times, size=(64, 128))
    film, table = tmp_path / "film.ts", tmp_path / "rows.csv"
    film.write_bytes(wide.read_bytes() + tall.read_bytes())
    original = [(frame.image.shape, frame.time_s) for frame in read_frames(film)]
    assert {shape for shape, _ in original} == {(64, 96, 3), (128, 64, 3)} and len(original) >= 11
    copy = annotated(film, tiny_onnx, tmp_path / "copy.mp4", "--csv", table)
    frames = list(read_frames(copy))
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert [frame.time_s for frame in frames] == pytest.approx([time_s for _, time_s in original], abs=0.002)
    assert seconds_of_sound(copy) == pytest.approx(2 * seconds_of_sound(wide), abs=0.1)  # both parts
    last = frames[-1].image
    assert last[:, :28].mean() < 25 and last[:, -28:].mean() < 25 and last[:, 36:60].mean() > 40  # black bars
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == len(original) and max(float(row["y2"]) for row in rows) <= 64


@pytest.mark.parametrize("moment", ["begin", "write", "close", "draw"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("a codec's own")])
def test_a_copy_that_fails_is_a_warning_and_the_rows_go_on(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, moment: str, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    if moment == "draw":
        monkeypatch.setattr("fervit.media.draw.annotate", fail)
    else:
        name = {"begin": "__init__", "write": "write", "close": "close"}[moment]
        monkeypatch.setattr(fervit.media.video_writer._PyavSink, name, fail)
    film, table, copy = write_film(tmp_path / "film.mp4", TIMES), tmp_path / "rows.csv", tmp_path / "copy.mp4"
    options = ("--model", tiny_onnx, "--detector", "haar", "--annotate", copy)
    result = predict(film, *options, "--csv", table)
    assert f"fervit: cannot write {copy}: " in result.stderr and "the other outputs go on" in result.stderr
    assert len(table.read_text().splitlines()) == 1 + len(TIMES)
    assert "8 frames" in result.stdout and error_of(result).startswith(f"cannot write {copy}: ")
    assert "annotated copy:" not in result.stderr
    alone = predict(film, *options)  # with the summary on the screen as the only other output
    assert "8 frames" in alone.stdout and error_of(alone).startswith("cannot write")


def test_a_format_that_cannot_be_written_here_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fervit.cli.inference.video, "find_spec", lambda name: None)
    film = write_film(tmp_path / "film.mp4", TIMES)
    result = predict(film, "--model", tmp_path / "absent.onnx", "--annotate", tmp_path / "copy.mp4")
    assert isinstance(result.exception, MissingExtra) and ".webm works without" in str(result.exception)
