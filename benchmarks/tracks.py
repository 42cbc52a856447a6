"""Tracks of heads that leave and come back, cross, and hide each other: fervit's tracker and others.

Usage: python benchmarks/tracks.py MEDIA [--verbose]

MEDIA is a folder with the photos `HEADS` and `no-faces.jpg`, of which 15 clips of one to three heads with known places
are drawn; every frame is searched. Printed are the tracks in all (there are 25 heads), how often a head changed its
track, tracks of two heads, and the time a frame. Others are compared where they are installed
(`pip install trackers==2.6.1 norfair==2.3.0`), with a memory of 10 s.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fervit.faces.base import FaceDetector
from fervit.faces.detectors import make_detector
from fervit.faces.tracking import Tracker
from fervit.types import Face

WIDTH, HEIGHT, RATE = 640, 360, 25
HEADS = (
    *("biden.jpg", "expression_happy.jpg", "expression_neutral.jpg", "expression_angry.jpg"),
    "expression_surprised.jpg",
)
MEMORY_S = 10
NEAR = 0.45  # of a head's side, from the middle of a detection to that of the head
Place = tuple[float, float, float]  # x, y, side, px
Path_ = Callable[[float], Place | None]
Update = Callable[[Sequence[Face], float], list[int | None]]


@dataclass(frozen=True)
class Frame:
    """A moment: the faces that were found, and which head each is; -1 where it is none."""

    time_s: float
    faces: list[Face]
    heads: list[int]


def sit(x: float, y: float, side: float, phase: float = 0, away: Sequence[tuple[float, float]] = ()) -> Path_:
    """Sit in a place, moving a little, and be away for some times."""

    def place(time_s: float) -> Place | None:
        if any(start <= time_s < end for start, end in away):
            return None
        return x + 6 * np.sin(1.7 * time_s + phase), y + 4 * np.sin(2.3 * time_s + phase), side

    return place


def walk(x0: float, x1: float, start_s: float, end_s: float, y: float, side: float) -> Path_:
    """Walk from left to right, or back."""
    return lambda t: (x0 + (x1 - x0) * min(1, max(0, (t - start_s) / (end_s - start_s))), y, side)


def path(*points: tuple[float, ...] | tuple[float, None]) -> Path_:
    """Go from point to point, `(time, x, y, side)`; `(time, None)` is away."""

    def place(time_s: float) -> Place | None:
        for (start, *here), (end, *there) in pairwise(points):
            if start <= time_s < end:
                if here[0] is None:
                    return None
                if there[0] is None:
                    return here[0], here[1], here[2]
                part = (time_s - start) / (end - start)
                x, y, side = (a + (b - a) * part for a, b in zip(here, there, strict=True))
                return x, y, side
        return None

    return place


SCENES: dict[str, tuple[list[tuple[int, Path_]], float]] = {
    "away for 0.5 to 8 s": ([(0, sit(320, 170, 110, 0, ((2, 2.5), (4, 5), (7, 9), (11, 15), (17, 25))))], 28),
    "leaves and returns at the left": (
        [
            (
                1,
                path(
                    *((0, 320, 170, 110), (2, 320, 170, 110), (3, -120, 170, 110), (6, -120, 170, 110)),
                    *((7, 300, 175, 110), (9, 300, 175, 110), (10, -120, 170, 110), (12.5, -120, 170, 110)),
                    *((13.2, 340, 165, 110), (16, 340, 165, 110)),
                ),
            )
        ],
        16,
    ),
    "leaves left, returns right": (
        [
            (
                1,
                path(
                    *((0, 320, 170, 110), (2, 320, 170, 110), (3, -120, 170, 110), (5, 760, 170, 110)),
                    *((6.5, 320, 175, 110), (9, 320, 170, 110)),
                ),
            )
        ],
        9,
    ),
    "ducks, returns elsewhere": (
        [
            (
                0,
                path(
                    *((0, 250, 170, 100), (2, 250, 170, 100), (2.01, None), (5, 330, 190, 110), (7, 330, 190, 110)),
                    *((7.01, None), (10, 260, 150, 95), (12, 260, 150, 95)),
                ),
            )
        ],
        12,
    ),
    "cross in two rows": ([(0, walk(80, 560, 0.5, 3.5, 130, 80)), (1, walk(560, 80, 0.5, 3.5, 215, 80))], 4),
    "cross, hidden, fast": ([(0, walk(80, 560, 0.5, 2.5, 170, 90)), (1, walk(560, 80, 0.5, 2.5, 175, 90))], 3),
    "cross, hidden, slow": ([(0, walk(80, 560, 0.5, 8.5, 170, 90)), (1, walk(560, 80, 0.5, 8.5, 175, 90))], 9),
    "passes before a sitter": ([(2, sit(320, 170, 90)), (1, walk(-80, 720, 1, 6, 180, 110))], 7),
    "stops before a sitter": (
        [
            (2, sit(320, 170, 90)),
            (1, path((0, 40, 180, 100), (2, 320, 180, 100), (4, 320, 180, 100), (6, 600, 180, 100))),
        ],
        6,
    ),
    "two sit, one away": ([(0, sit(200, 170, 100, 0, ((3, 6),))), (1, sit(440, 170, 100, 2))], 9),
    "two sit, both away": ([(0, sit(200, 170, 100, 0, ((3, 6),))), (1, sit(440, 170, 100, 2, ((2.5, 6.5),)))], 9),
    "another takes the seat": ([(0, sit(320, 170, 100, 0, ((3, 99),))), (1, sit(330, 175, 105, 2, ((0, 5),)))], 8),
    "another sits beside": ([(0, sit(220, 170, 100, 0, ((3, 99),))), (1, sit(420, 175, 105, 2, ((0, 5),)))], 8),
    "three move": (
        [
            (0, lambda t: (200 + 120 * np.sin(t), 150 + 30 * np.sin(2 * t), 80)),
            (1, lambda t: (420 + 120 * np.sin(1.3 * t + 1), 190 + 30 * np.sin(2 * t), 80)),
            (3, lambda t: (320 + 200 * np.sin(0.7 * t + 2), 280, 70)),
        ],
        12,
    ),
    "goes away and comes nearer": (
        [(4, lambda t: (320 + 150 * np.sin(0.8 * t), 170, 70 + 40 * np.sin(0.6 * t)))],
        10,
    ),
}
"""Who is where, and for how many seconds."""


def cut_heads(media: Path, detector: FaceDetector) -> list[Image.Image]:
    heads = []
    for name in HEADS:
        photo = Image.open(media / name).convert("RGB")
        if max(photo.size) > 900:
            photo.thumbnail((900, 900))
        [faces] = detector.detect([np.asarray(photo)])
        box = max(faces, key=lambda face: face.box.area).box
        side, x, y = max(box.width, box.height), (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
        heads.append(photo.crop((int(x - side * 0.8), int(y - side * 0.8), int(x + side * 0.8), int(y + side * 0.85))))
    return heads


def make_clips(media: Path) -> dict[str, list[Frame]]:
    """Draw every scene and search its frames."""
    detector = make_detector("auto")
    heads = cut_heads(media, detector)
    wall = np.asarray(Image.open(media / "no-faces.jpg").convert("RGB").resize((WIDTH, HEIGHT))).astype(float)
    background = Image.fromarray((wall * 0.5 + 40).astype(np.uint8))
    clips = {}
    for name, (people, seconds) in SCENES.items():
        frames = []
        for index in range(int(seconds * RATE)):
            time_s, image = index / RATE, background.copy()
            there: list[tuple[int, Place]] = []
            for number, (head, where) in enumerate(people):
                place = where(time_s)
                if place is None:
                    continue
                x, y, side = place
                width = int(side * 1.6)
                drawn = heads[head].resize((width, int(width * heads[head].height / heads[head].width)))
                image.paste(drawn, (int(x - width / 2), int(y - width / 2)))
                left, top = x - width / 2, y - width / 2
                bottom = top + width * heads[head].height / heads[head].width
                # Whose middle lies behind this one cannot be found.
                there = [o for o in there if not (left < o[1][0] < left + width and top < o[1][1] < bottom)]
                there.append((number, place))
            [faces] = detector.detect([np.asarray(image)])
            frames.append(Frame(time_s, faces, [whose(face, there) for face in faces]))
        clips[name] = frames
    return clips


def whose(face: Face, there: Sequence[tuple[int, Place]]) -> int:
    """Return the number of the nearest head that is near enough, or -1."""
    across, down = (face.box.x1 + face.box.x2) / 2, (face.box.y1 + face.box.y2) / 2
    far = [(float(np.hypot(across - x, down - y)) / side, number) for number, (x, y, side) in there]
    near = [item for item in far if item[0] < NEAR]
    return min(near)[1] if near else -1


def score(frames: Sequence[Frame], update: Update) -> tuple[int, int, int]:
    """Return the tracks, the changes of track of a head, and the tracks of two heads."""
    last: dict[int, int] = {}
    seen: dict[int, set[int]] = defaultdict(set)
    tracks, changes = set(), 0
    for frame in frames:
        for head, track in zip(frame.heads, update(frame.faces, frame.time_s), strict=True):
            if track is None or track < 0:
                continue
            tracks.add(track)
            if head >= 0:
                seen[track].add(head)
                changes += last.get(head, track) != track
                last[head] = track
    return len(tracks), changes, sum(len(heads) > 1 for heads in seen.values())


def fervit_tracker(patience_s: float) -> Callable[[], Update]:
    def make() -> Update:
        tracker = Tracker(patience_s=patience_s)
        return lambda faces, time_s: list(tracker.update(faces, time_s))

    return make


def trackers_package(name: str) -> Callable[[], Update]:
    import supervision
    import trackers

    def make() -> Update:
        tracker = getattr(trackers, name)(
            lost_track_buffer=MEMORY_S * 30,  # of frames at 30 a second, whatever `frame_rate` is
            frame_rate=RATE,
            minimum_consecutive_frames=1,
            high_conf_det_threshold=0.5,
        )

        def update(faces: Sequence[Face], time_s: float) -> list[int | None]:
            boxes = np.array([face.box.to_list() for face in faces], float).reshape(-1, 4)
            found = tracker.update(
                supervision.Detections(
                    xyxy=boxes,
                    confidence=np.array([face.score for face in faces], float),
                    class_id=np.zeros(len(faces), int),
                    data={"number": np.arange(len(faces))},
                )
            )
            ids: list[int | None] = [None] * len(faces)
            numbers = found.data.get("number", [])
            for number, track in zip(numbers, found.tracker_id if found.tracker_id is not None else [], strict=True):
                ids[int(number)] = int(track)
            return ids

        return update

    return make


def norfair_tracker() -> Update:
    import norfair

    tracker = norfair.Tracker("iou", distance_threshold=0.8, hit_counter_max=MEMORY_S * RATE, initialization_delay=0)

    def update(faces: Sequence[Face], time_s: float) -> list[int | None]:
        found: list[Any] = [
            norfair.Detection(
                points=np.array(face.box.to_list()).reshape(2, 2), scores=np.array([face.score] * 2), data=number
            )
            for number, face in enumerate(faces)
        ]
        ids: list[int | None] = [None] * len(faces)
        for tracked in tracker.update(found, period=1):
            if tracked.last_detection in found:
                ids[tracked.last_detection.data] = tracked.id
        return ids

    return update


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--verbose", action="store_true", help="every clip's figures, too")
    options = parser.parse_args()
    makers = {"fervit, patience 1 s": fervit_tracker(1), "fervit, patience 5 s": fervit_tracker(5)}
    if find_spec("trackers"):
        makers |= {name: trackers_package(f"{name}Tracker") for name in ("OCSORT", "ByteTrack")}
    if find_spec("norfair"):
        makers["norfair"] = lambda: norfair_tracker()
    clips = make_clips(options.media)
    for name, make in makers.items():
        start_s = time.process_time()
        scores = {title: score(frames, make()) for title, frames in clips.items()}
        each_ms = 1000 * (time.process_time() - start_s) / sum(map(len, clips.values()))
        tracks, changes, mixed = (sum(found[k] for found in scores.values()) for k in range(3))
        print(f"{name}: {tracks} tracks, {changes} heads that changed track, {mixed} tracks of two, {each_ms:.2f} ms")
        if options.verbose:
            for title, found in scores.items():
                print(f"    {title:<32} {found[0]} tracks, {found[1]} changes, {found[2]} of two")


if __name__ == "__main__":
    main()
