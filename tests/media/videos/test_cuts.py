"""Cuts: found where another picture begins, and nowhere else."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from fervit.media.video import read_frames
from fervit.media.videos.cuts import MOST_HELD, Decoded, look_of_image, with_cuts
from fervit.types import Frame
from tests.helpers.videos import moving, scene, view, write_video

FIRST, SECOND, THIRD = (scene(seed) for seed in (1, 2, 3))


def cuts_of(images: Sequence[np.ndarray], *, every: int = 1, rate: float = 25.0) -> list[int]:
    """Return the indices of the frames that begin a shot; every other frame must come out too, once and in order."""
    decoded = [
        Decoded(k / rate, None if k % every else Frame(k, k / rate, image), look_of_image(image))
        for k, image in enumerate(images)
    ]
    frames = list(with_cuts(decoded))
    assert [frame.index for frame in frames] == list(range(0, len(images), every))
    return [frame.index for frame in frames if frame.cut]


def noisy(image: np.ndarray, count: int, *, sigma: float = 3.0) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def faded(images: Sequence[np.ndarray], start: float, end: float) -> list[np.ndarray]:
    return [
        (image * level).astype(np.uint8)
        for image, level in zip(images, np.linspace(start, end, len(images)), strict=True)
    ]


def test_every_other_picture_begins_a_shot_however_short() -> None:
    shots = [noisy(view(FIRST), 8), noisy(view(SECOND), 3), noisy(view(THIRD), 5), noisy(view(FIRST), 2)]
    assert cuts_of([image for shot in shots for image in shot]) == [8, 11, 16]


@pytest.mark.parametrize("every", [3, 7])
def test_a_cut_between_frames_that_are_looked_at_is_one_of_the_next(every: int) -> None:
    images = [*noisy(view(FIRST), 10), *noisy(view(SECOND), 10)]
    assert cuts_of(images, every=every) == [-(-10 // every) * every]


def test_a_cut_in_a_dark_scene_and_one_with_the_camera_in_motion_are_found() -> None:
    dark = [*faded(noisy(view(FIRST), 9), 0.5, 0.5), *faded(noisy(view(SECOND), 9), 0.5, 0.5)]
    assert cuts_of(dark) == [9]
    pans = [view(FIRST, 3 * k) for k in range(20)] + [view(SECOND, 60 - 3 * k) for k in range(20)]
    assert cuts_of(pans) == [20]


def test_no_movement_of_the_camera_is_a_cut() -> None:
    rng = np.random.default_rng(4)
    assert cuts_of([view(FIRST, 12 * k) for k in range(8)]) == []  # an eighth of the frame each time
    shaken = [np.roll(view(FIRST, int(rng.integers(30, 46))), int(rng.integers(-4, 5)), axis=0) for _ in range(40)]
    assert cuts_of(shaken) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut_and_one_after_it_is(length: int) -> None:
    calm, other = noisy(view(FIRST), 30), noisy(view(SECOND), 6)
    for k in range(12, 12 + length):
        calm[k] = np.clip(calm[k] * 2.6 + 90.0, 0, 255).astype(np.uint8)
    blinded = noisy(view(THIRD), length)  # the flash's own reflections: another picture altogether
    assert cuts_of(calm) == []
    assert cuts_of([*calm[:5], *blinded, *calm[:9], *other]) == [14 + length]


def test_light_that_is_switched_and_a_face_that_comes_before_a_plain_wall_are_no_cuts() -> None:
    calm = noisy(view(FIRST), 30)
    assert cuts_of([*faded(calm[:10], 1, 1), *faded(calm[:10], 0.3, 0.3), *calm[:10]]) == []
    assert cuts_of([image for image, _ in moving(40, away=[5, 6, 20, 21, 22])]) == []


def test_fading_to_black_ends_a_shot_only_where_another_follows() -> None:
    first, second, black = noisy(view(FIRST), 15), noisy(view(SECOND), 15), [np.zeros_like(view(FIRST))] * 4
    out, back, other = faded(first, 1, 0), faded(first, 0, 1), faded(second, 0, 1)
    assert cuts_of([*out, *black, *back]) == []
    (cut,) = cuts_of([*out, *black, *other])
    assert 19 <= cut <= 21  # where the picture can be made out


def test_frames_wait_in_small_number_only_where_a_shot_may_have_begun() -> None:
    given = 0

    def decoded() -> Iterator[Decoded]:
        nonlocal given
        for k, image in enumerate([*noisy(view(FIRST), 20), *noisy(view(SECOND), 20)]):
            given = k + 1
            yield Decoded(k / 1000, Frame(k, k / 1000, image), look_of_image(image))

    waiting = [given - 1 - frame.index for frame in with_cuts(decoded())]
    assert waiting[:20] == [0] * 20
    assert max(waiting) == MOST_HELD - 1
    assert waiting[-1] == 0


def test_frames_without_a_look_pass_as_they_are() -> None:
    frames = [Frame(k, k / 25, view((FIRST, SECOND)[k % 2])) for k in range(4)]
    assert list(with_cuts(Decoded(frame.time_s, frame) for frame in frames)) == frames


def test_both_readers_find_a_cut_of_a_file_also_between_the_frames_that_they_give(tmp_path: Path, reader: str) -> None:
    images = [*noisy(view(FIRST), 10), *noisy(view(SECOND), 10)]
    path = write_video(tmp_path / "clip.webm", [(image, k / 20) for k, image in enumerate(images)])
    for every, cut in ((1, 10), (4, 12)):
        assert [frame.index for frame in read_frames(path, every=every, cuts=True) if frame.cut] == [cut]
    assert not any(frame.cut for frame in read_frames(path))


@pytest.mark.slow
def test_the_cuts_of_a_real_recording_are_those_that_people_see(media: Path, reader: str) -> None:
    for name, cuts in (("short_hamilton_clip.mp4", [20, 82, 211]), ("single_face.mp4", [])):
        assert [frame.index for frame in read_frames(media / name, cuts=True) if frame.cut] == cuts
