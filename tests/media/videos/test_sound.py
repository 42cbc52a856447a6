"""The sound of a video stays in a copy with other images, in step with them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fervit.media.video import read_frames
from fervit.media.video_writer import VideoWriter

av = pytest.importorskip("av")
RATE = 48_000
BEEP_S = (1.0, 1.25)
"""When the tone of `write_film` is heard, s."""


def write_film(path: Path, codecs: Sequence[str], *, seconds: float = 2.0, late_s: float = 0.0) -> Path:
    """Write a film of grey frames, white while a tone is heard; the images begin `late_s` after the sound."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4" if path.suffix != ".webm" else "libvpx-vp9", rate=20)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = [out.add_stream(codec, rate=RATE, layout="mono") for codec in codecs]
        for k in range(round(seconds * 20)):
            time_s = late_s + k / 20
            level = 255 if BEEP_S[0] <= time_s < BEEP_S[1] else 60
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 20), Fraction(1, 20)
            out.mux(video.encode(frame))
        times = np.arange(round((late_s + seconds) * RATE)) / RATE
        heard = np.where((times >= BEEP_S[0]) & (times < BEEP_S[1]), np.sin(2 * np.pi * 440 * times), 0)
        for track in tracks:
            sound = av.AudioFrame.from_ndarray((heard * 20_000).astype(np.int16)[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, 0, Fraction(1, RATE)
            out.mux(track.encode(sound))
            out.mux(track.encode(None))
        out.mux(video.encode(None))
    return path


def copy_of(film: Path, copy: Path, *, most: int | None = None, complete: bool = True) -> Path:
    """Copy a film's images one by one, with its sound."""
    sink = VideoWriter(copy, rate=20, sound=film)
    for frame in list(read_frames(film))[:most]:
        sink.write(frame.image, frame.time_s)
    sink.close(complete=complete)
    return copy


def sounds(path: Path) -> list[tuple[str, float, float, float]]:
    """Return each sound track's codec, the first and last moment of its tone, and its end, s from the file's start."""
    with av.open(str(path)) as film:
        found = []
        start_s = max(film.start_time or 0, 0) / 1_000_000
        names = [stream.codec_context.codec.canonical_name for stream in film.streams.audio]
        for number, codec in enumerate(names):
            film.seek(0)
            loud, end_s = [], 0.0
            for frame in film.decode(audio=number):
                data = frame.to_ndarray().astype(np.float64)
                level = np.abs(data).reshape(-1) / (32768 if "s16" in frame.format.name else 1)
                times = float(frame.time) - start_s + np.arange(frame.samples) / frame.sample_rate
                loud.append(times[level[: frame.samples] > 0.2])
                end_s = float(times[-1])
            heard = np.concatenate(loud)
            found.append((codec, float(heard.min()), float(heard.max()), end_s))
        return found


def flashes(path: Path) -> tuple[float, float]:
    """Return when the first and the last white frame begin, s."""
    white = [frame.time_s for frame in read_frames(path) if frame.image.mean() > 180]
    return white[0], white[-1]


@pytest.mark.parametrize(
    ("name", "codec", "suffix", "heard"),
    [
        ("film.mp4", "aac", ".mp4", "aac"),
        ("film.ts", "aac", ".mp4", "aac"),
        ("film.mkv", "libmp3lame", ".mp4", "mp3"),
        ("film.avi", "pcm_s16le", ".mp4", "aac"),
        ("film.mp4", "aac", ".webm", "opus"),
        ("film.mkv", "libopus", ".webm", "opus"),
    ],
)
def test_sound_is_copied_or_encoded_anew_in_step_with_the_images(
    tmp_path: Path, name: str, codec: str, suffix: str, heard: str
) -> None:
    film = write_film(tmp_path / name, [codec])
    copy = copy_of(film, tmp_path / f"copy{suffix}")
    [(found, first_s, last_s, end_s)] = sounds(copy)
    assert found == heard
    assert (first_s, last_s) == pytest.approx(BEEP_S, abs=0.05)
    assert flashes(copy) == pytest.approx((1.0, 1.2), abs=0.03)
    assert end_s == pytest.approx(2.0, abs=0.1)


def test_packets_that_fit_are_copied_as_they_are(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", ["aac", "aac"])
    copy = copy_of(film, tmp_path / "copy.mp4")

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(container.streams.audio[1]) if packet.size]

    assert packets(copy) == packets(film)[-len(packets(copy)) :] and len(packets(film)) - len(packets(copy)) <= 1
    assert len(sounds(copy)) == 2  # both microphones


def test_sound_before_the_first_image_and_after_the_last_one_is_kept(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", ["aac"], seconds=1.0, late_s=0.5)
    assert next(read_frames(film)).time_s == pytest.approx(0.5)
    copy = copy_of(film, tmp_path / "copy.mp4", most=15)
    [(_, first_s, last_s, end_s)] = sounds(copy)
    assert (first_s, last_s, end_s) == pytest.approx((1.0, 1.25, 1.5), abs=0.06)
    assert flashes(copy) == pytest.approx((1.0, 1.2), abs=0.03)


def test_a_copy_that_was_stopped_ends_with_its_last_image(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", ["aac"])
    copy = copy_of(film, tmp_path / "copy.mp4", most=26, complete=False)
    [(_, first_s, _, end_s)] = sounds(copy)
    assert first_s == pytest.approx(1.0, abs=0.05) and end_s == pytest.approx(1.25, abs=0.06)


def test_the_bytes_of_a_film_have_sound_and_one_without_has_none(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", ["aac"])
    for source, count in ((film.read_bytes(), 1), (write_film(tmp_path / "silent.mp4", []), 0)):
        copy = tmp_path / "copy.mp4"
        with VideoWriter(copy, sound=source) as sink:
            for frame in read_frames(film):
                sink.write(frame.image, frame.time_s)
        with av.open(str(copy)) as found:
            assert len(found.streams.audio) == count


def test_broken_sound_is_told_and_the_copy_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = write_film(tmp_path / "film.mp4", ["aac"])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:300])
    copy = tmp_path / "copy.mp4"
    with VideoWriter(copy, sound=cut) as sink:
        for frame in read_frames(film):
            sink.write(frame.image, frame.time_s)
    assert len(list(read_frames(copy))) == 40
    assert "its sound could not be copied" in caplog.text
