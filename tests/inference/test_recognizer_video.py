"""The recogniser on videos: every frame has its faces, with tracks and smoothed probabilities."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fervit.inference.classifier import OnnxClassifier
from fervit.inference.loading import load
from fervit.inference.recognizer import Recognizer
from fervit.inference.results import FrameResult
from fervit.inference.rows import table_rows
from tests.helpers.videos import Square, moving, scene, view, write_video


@pytest.fixture
def recognizer(tiny_onnx: Path) -> Recognizer:
    return Recognizer(OnnxClassifier(tiny_onnx, threads=1), Square())


def test_a_gap_in_the_times_or_between_frames_keeps_the_track(tmp_path: Path, recognizer: Recognizer) -> None:
    pytest.importorskip("av")
    pause = [(image, time_s + (1.4 if k >= 7 else 0)) for k, (image, time_s) in enumerate(moving(20))]
    still = [(moving(1)[0][0], k / 20) for k in range(90)]
    for name, frames, every in (("pause", pause, 1), ("sparse", still, 30), ("slow", moving(8, rate=0.8), 1)):
        results = list(recognizer.video(write_video(tmp_path / f"{name}.mp4", frames), every=every))
        assert len(results) == len(frames) // every
        assert {p.track for result in results for p in result.predictions} == {1}, name


def shots(*lengths: int) -> list[tuple[np.ndarray, float]]:
    """Return frames of shots of other places, in each of which the bright square stands a little farther right."""
    frames: list[tuple[np.ndarray, float]] = []
    for shot, length in enumerate(lengths):
        for _ in range(length):
            image = view(scene(shot + 1)).copy()
            image[20:40, 30 + 6 * shot : 50 + 6 * shot] = 220
            frames.append((image, len(frames) / 20))
    return frames


@pytest.mark.parametrize("detect_every", [1, 3, 5])
def test_no_face_is_followed_interpolated_or_smoothed_over_a_cut(
    tmp_path: Path, recognizer: Recognizer, detect_every: int
) -> None:
    pytest.importorskip("av")
    path = write_video(tmp_path / "clip.mp4", shots(7, 11, 2, 8))
    results = list(recognizer.video(path, detect_every=detect_every, smooth_s=5.0))
    assert [result.frame.index for result in results] == list(range(28))
    assert [result.frame.index for result in results if result.frame.cut] == [7, 18, 20]
    tracks = [[p.track for p in result.predictions] for result in results]
    assert tracks == [[1]] * 7 + [[2]] * 11 + [[3]] * 2 + [[4]] * 8
    for result in results:
        shot = sum(result.frame.index >= cut for cut in (7, 18, 20))
        assert result.predictions[0].face.box.x1 == pytest.approx(30 + 6 * shot, abs=1.5)
    raw = [result.predictions[0].probs for result in recognizer.video(path, detect_every=detect_every, smooth_s=0)]
    for first in (0, 7, 18, 20):  # a shot's first frame has the probabilities of its own face alone
        np.testing.assert_allclose(results[first].predictions[0].probs, raw[first], atol=1e-5)


def test_a_cut_among_frames_that_are_left_out_ends_tracks_too(tmp_path: Path, recognizer: Recognizer) -> None:
    pytest.importorskip("av")
    results = list(recognizer.video(write_video(tmp_path / "clip.mp4", shots(10, 10)), every=4))
    assert [(r.frame.index, r.frame.cut, r.predictions[0].track) for r in results] == [
        (0, False, 1),
        (4, False, 1),
        (8, False, 1),
        (12, True, 2),
        (16, False, 2),
    ]


def test_patience_decides_how_long_a_track_waits(tmp_path: Path, recognizer: Recognizer) -> None:
    pytest.importorskip("av")
    path = write_video(
        tmp_path / "clip.mp4", [(image, k / 4) for k, (image, _) in enumerate(moving(16, away=range(3, 12)))]
    )
    for patience_s, tracks in ((1.0, {1, 2}), (5.0, {1})):
        found = {p.track for result in recognizer.video(path, patience_s=patience_s) for p in result.predictions}
        assert found == tracks


def test_frames_that_wait_for_a_detection_are_few(clip: Path, recognizer: Recognizer) -> None:
    assert len(list(recognizer.video(clip, detect_every=1000))) == 30
    assert isinstance(recognizer.detector, Square)
    assert recognizer.detector.calls == 3  # in the first frame, after 16 more, and in the last one


def test_every_frame_has_its_face_though_detection_runs_every_third(recognizer: Recognizer, clip: Path) -> None:
    results = list(recognizer.video(clip, detect_every=3))
    assert [result.frame.index for result in results] == list(range(30))
    assert [len(result.predictions) for result in results] == [0 if 12 <= k <= 15 else 1 for k in range(30)]
    for result in results:
        for prediction in result.predictions:
            assert prediction.face.box.x1 == pytest.approx(10 + result.frame.index, abs=2.5)
            assert prediction.track == 1  # it survives the 0.2 s away
            assert prediction.probs.sum() == pytest.approx(1)
    assert isinstance(recognizer.detector, Square)
    assert recognizer.detector.calls < 22
    assert source_rows(results)["time_s"] == [k / 20 for k in range(30) if not 12 <= k <= 15]


def source_rows(results: Sequence[FrameResult]) -> dict[str, list[object]]:
    rows = [
        row
        for result in results
        for row in table_rows(result, result.predictions[0].labels if result.predictions else ())
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_every_looks_only_at_some_frames(recognizer: Recognizer, clip: Path) -> None:
    assert [result.frame.index for result in recognizer.video(clip, every=7)] == [0, 7, 14, 21, 28]


def test_a_result_that_nobody_wants_any_more_stops_the_threads(recognizer: Recognizer, clip: Path) -> None:
    before = threading.active_count()
    results = recognizer.video(clip)
    next(results)
    results.close()
    assert threading.active_count() <= before


def test_smoothing_is_off_at_zero_and_steadies_above(recognizer: Recognizer, clip: Path) -> None:
    raw = [p.probs for r in recognizer.video(clip, smooth_s=0) for p in r.predictions]
    smooth = [p.probs for r in recognizer.video(clip, smooth_s=0.5) for p in r.predictions]
    assert np.abs(np.diff(smooth, axis=0)).sum() < np.abs(np.diff(raw, axis=0)).sum()


@pytest.mark.slow
def test_the_smiling_man_is_neutral_first_and_happy_then(media: Path) -> None:
    results = list(load(threads=2).video(media / "single_face.mp4"))
    assert len(results) == 72
    assert all(len(result.predictions) == 1 and result.predictions[0].track == 1 for result in results)
    labels = [result.predictions[0].label for result in results]
    assert set(labels[:15]) == {"neutral"}
    assert set(labels[24:]) == {"happy"}
