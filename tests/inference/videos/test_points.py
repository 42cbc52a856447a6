"""Points in a video: whoever goes on from one has the results of a run without an interruption, to the last bit."""

import json
from pathlib import Path

import numpy as np
import pytest

from fervit.errors import ConfigError, DataError
from fervit.faces.tracking import Tracker
from fervit.inference.results import FrameResult
from fervit.inference.rows import json_lines
from fervit.inference.videos.points import Detected, ResumePoint, Segment
from fervit.media.video import read_frames
from fervit.types import Box, Face
from tests.helpers.recordings import square_recognizer
from tests.helpers.videos import moving, scene, view, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of three shots; in the first, the face is away for a while."""
    pytest.importorskip("av")
    frames = moving(30, away=range(12, 17))
    for shot, length in ((2, 13), (3, 10)):
        for k in range(length):
            image = view(scene(shot)).copy()
            image[20:40, 30 + 6 * shot + k // 2 : 50 + 6 * shot + k // 2] = 220
            frames.append((image, len(frames) / 20))
    return write_video(tmp_path_factory.mktemp("points") / "clip.mp4", frames)


def exact(results: list[FrameResult]) -> list[object]:
    """Return all that a result says, its probabilities and boxes bit by bit."""
    return [
        (json_lines(r), r.frame.cut, r.frame.image.tobytes(), [(p.probs.tobytes(), p.face.box) for p in r.predictions])
        for r in results
    ]


@pytest.mark.parametrize(
    "options", [{}, {"every": 3}, {"detect_every": 5, "smooth_s": 2.0}, {"detect_every": 1, "patience_s": 0.1}]
)
def test_from_every_point_of_a_video_the_rest_is_the_same(
    clip: Path, tiny_onnx: Path, options: dict[str, float]
) -> None:
    recognizer = square_recognizer(tiny_onnx)
    whole = list(recognizer.video(clip, **options))  # type: ignore[arg-type]
    assert any(result.frame.cut for result in whole)
    points = [(number, result.resume) for number, result in enumerate(whole, 1) if result.resume is not None]
    assert [number for number, _ in points] == [*range(8, len(whole), 8), len(whole)]
    for number, point in points[::2]:
        again = ResumePoint.from_dict(json.loads(json.dumps(point.to_dict())))
        rest = list(recognizer.video(clip, resume=again, **options))  # type: ignore[arg-type]
        assert exact(rest) == exact(whole[number:]), number


@pytest.mark.parametrize("cuts", [False, True])
def test_frames_from_a_later_one_on_have_the_times_and_cuts_of_the_whole_video(clip: Path, cuts: bool) -> None:
    whole = list(read_frames(clip, cuts=cuts, every=2))
    for start in (0, 1, 17, 30, 31, 52):
        rest = list(read_frames(clip, cuts=cuts, every=2, start=start))
        expected = [frame for frame in whole if frame.index >= start]
        assert [(f.index, f.time_s, f.cut) for f in rest] == [(f.index, f.time_s, f.cut) for f in expected]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(rest, expected, strict=True))
    assert list(read_frames(clip, start=1000)) == []
    with pytest.raises(ConfigError, match="a whole number from 0 as start, got -1"):
        next(read_frames(clip, start=-1))


def test_numbers_of_every_type_come_back_from_json_bit_by_bit() -> None:
    rng = np.random.default_rng(0)
    box = Box(*rng.normal(50, 20, 4).astype(np.float32))
    faces = (Face(box, 0.1 + 0.2, rng.normal(size=(5, 2)).astype(np.float32)), Face(Box(1, 2, 3, 4), 1.0))
    tracker = Tracker()
    tracks = tuple(tracker.update(faces, 1 / 3))
    tracker.update(faces[:1], 2 / 3)
    means = {7: (rng.random(7).astype(np.float32), 2 / 3)}
    point = ResumePoint(9, Segment(6, Detected(5, faces, tracks), tracker.state()), means)
    again = ResumePoint.from_dict(json.loads(json.dumps(point.to_dict())))
    assert json.dumps(again.to_dict()) == json.dumps(point.to_dict())
    assert again.segment.first is not None
    for before, after in zip(faces, again.segment.first.faces, strict=True):
        assert np.array(after.box.to_list()).tolist() == np.array(before.box.to_list()).tolist()
        assert (after.landmarks is None) == (before.landmarks is None)
    assert np.asarray(again.segment.first.faces[0].box.x1).dtype == np.float32
    assert again.means[7][0].dtype == np.float32 and again.means[7][0].tobytes() == means[7][0].tobytes()


def test_a_tracker_that_goes_on_does_not_change_its_earlier_state() -> None:
    tracker, face = Tracker(), Face(Box(0, 0, 10, 10), 1.0)
    tracker.update([face], 0.0)
    state = tracker.state()
    tracker.update([Face(Box(3, 0, 13, 10), 1.0)], 0.1)
    assert state.tracks[0].velocity.tolist() == [0, 0, 0, 0] and state.tracks[0].place.tolist() == [0, 0, 10, 10]
    tracker.restore(state)
    assert tracker.update([face], 0.1) == [1] and tracker.update([face, Face(Box(90, 90, 99, 99), 1.0)], 0.2) == [1, 2]


@pytest.mark.parametrize("values", [{}, {"index": 1}, {"index": "a", "first": None}])
def test_what_is_no_point_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="expected a point from which a video goes on"):
        ResumePoint.from_dict(values)
