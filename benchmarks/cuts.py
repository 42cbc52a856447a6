"""Cuts that are found and false ones, of fervit and of PySceneDetect's detectors, on made clips and a recording.

Usage: python benchmarks/cuts.py MEDIA [--keep FOLDER]

MEDIA is a folder with two recordings (`short_hamilton_clip.mp4`, `single_face.mp4`) and six photos (`PHOTOS` below).
Of these, clips of 640 x 360 are made: those on which the thresholds in `fervit.media.videos.cuts` were chosen, splices
and things that are no cuts (pans, shaking, flashes, zooms, light, fades); and five held-out ones, of random pieces
under other seeds, darkened and compressed ever more. PySceneDetect is compared where it is installed
(`pip install scenedetect==0.7.2`), with `min_scene_len=2` and its defaults otherwise. A gradual change counts neither
as found nor as false.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import fervit.media.video_writer
from fervit.media.video import read_frames
from fervit.media.video_writer import VideoWriter

WIDTH, HEIGHT, RATE = 640, 360, 30
PHOTOS = (
    *("biden.jpg", "multi_face.jpg", "two_people.jpg"),
    *("grayscale_portrait.jpg", "no-faces.jpg", "expression_happy.jpg"),
)
RECORDING, RECORDING_CUTS = "short_hamilton_clip.mp4", (20, 82, 211)  # seen by eye
Shot = list[np.ndarray]


@dataclass(frozen=True)
class Clip:
    """A video whose cuts are known; changes from `soft[0]` to `soft[1]` are gradual ones."""

    path: Path
    cuts: tuple[int, ...]
    soft: tuple[int, int] = (-1, -1)


class Maker:
    """Makes shots of photos and of the recordings; the order of the calls decides what is drawn."""

    def __init__(self, media: Path, seed: int):
        self.rng = np.random.default_rng(seed)
        self.photos = {name: Image.open(media / name).convert("RGB") for name in PHOTOS}
        self.film = [frame.image for frame in read_frames(media / RECORDING)]
        single = read_frames(media / "single_face.mp4")
        self.face = [np.asarray(Image.fromarray(frame.image).resize((WIDTH, HEIGHT))) for frame in single]

    def view(self, name: str, x: float, y: float, zoom: float) -> np.ndarray:
        photo = self.photos[name]
        width = min(photo.width, photo.height * WIDTH / HEIGHT) / zoom
        height = width * HEIGHT / WIDTH
        left = np.clip(x * photo.width - width / 2, 0, photo.width - width)
        top = np.clip(y * photo.height - height / 2, 0, photo.height - height)
        box = (left, top, left + width, top + height)
        return np.asarray(photo.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box, reducing_gap=2))

    def noisy(self, image: np.ndarray, noise: float) -> np.ndarray:
        return np.clip(image + self.rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)

    def still(self, name: str, count: int, x: float = 0.5, y: float = 0.4, zoom: float = 1.3) -> Shot:
        image = self.view(name, x, y, zoom).astype(float)
        return [self.noisy(image, 3) for _ in range(count)]

    def pan(self, name: str, count: int, speed: float) -> Shot:
        """Move over a photo by `speed` of the view's width a frame, and back."""
        photo, zoom, x, direction, shot = self.photos[name], 2.2, 0.25, 1, []
        width = min(1, (photo.height * WIDTH / HEIGHT) / photo.width) / zoom
        for _ in range(count):
            shot.append(self.noisy(self.view(name, x, 0.4, zoom), 2))
            x += direction * speed * width
            if x > 1 - width / 2 or x < width / 2:
                direction = -direction
                x += 2 * direction * speed * width
        return shot

    def shake(self, name: str, count: int, by: float, zoom: float = 1.8) -> Shot:
        draw = self.rng.normal
        return [self.view(name, 0.5 + draw(0, by), 0.4 + draw(0, by), zoom) for _ in range(count)]

    def zoom(self, name: str, count: int, rate: float) -> Shot:
        return [self.view(name, 0.5, 0.4, rate**k) for k in range(count)]

    def piece(self) -> Shot:
        """Return a random shot of 12 to 39 frames."""
        rng = self.rng
        count, kind, name = int(rng.integers(12, 40)), rng.integers(5), PHOTOS[rng.integers(len(PHOTOS))]
        if kind == 0:
            start = int(rng.integers(0, 230))
            return self.film[start : min(start + count, *[cut for cut in (*RECORDING_CUTS, 275) if cut > start])]
        if kind == 1:
            start = int(rng.integers(0, 40))
            return self.face[start : start + count]
        zoom, (x, y) = float(rng.uniform(1.2, 3)), rng.uniform(0.25, 0.75, 2)
        if kind == 2:
            across, down = rng.normal(0, 0.006, 2)
            return [self.view(name, x + across * k, y + down * k, zoom) for k in range(count)]
        if kind == 3:
            return self.shake(name, count, float(rng.uniform(0.001, 0.008)), zoom)
        return [self.view(name, x, y, zoom * 1.01**k) for k in range(count)]


def flashes(shot: Shot, at: tuple[int, ...], gain: float, span: int = 1) -> Shot:
    shot = list(shot)
    for start in at:
        for k in range(start, start + span):
            shot[k] = np.clip(shot[k].astype(float) * gain + 60, 0, 255).astype(np.uint8)
    return shot


def fade_out(shot: Shot, count: int = 20, black: int = 5) -> Shot:
    fading = [(image * (1 - (k + 1) / count)).astype(np.uint8) for k, image in enumerate(shot[-count:])]
    return shot[:-count] + fading + [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * black


def fade_in(shot: Shot, count: int = 20) -> Shot:
    return [(image * ((k + 1) / count)).astype(np.uint8) for k, image in enumerate(shot[:count])] + shot[count:]


def dissolve(first: Shot, second: Shot, count: int = 20) -> Shot:
    weights = [(k + 1) / (count + 1) for k in range(count)]
    pairs = zip(weights, first[-count:], second[:count], strict=True)
    mixed = [((1 - w) * before.astype(float) + w * after).astype(np.uint8) for w, before, after in pairs]
    return first[:-count] + mixed + second[count:]


def write(path: Path, shots: list[Shot], quality: int = 20, soft: tuple[int, int] | None = None) -> Clip:
    """Write shots as a clip; where `soft` is given, it has no cuts."""
    fervit.media.video_writer.ENCODER_OPTIONS["libx264"] = {"preset": "veryfast", "crf": str(quality)}
    with VideoWriter(path, rate=RATE) as sink:
        for index, image in enumerate(image for shot in shots for image in shot):
            sink.write(image, index / RATE)
    if soft is not None:
        return Clip(path, (), soft)
    return Clip(path, tuple(int(cut) for cut in np.cumsum([len(shot) for shot in shots])[:-1]))


def chosen_on(media: Path, folder: Path) -> list[Clip]:
    """Make the clips on which the thresholds were chosen; the recording is one of them."""
    make = Maker(media, 0)
    film, face, still, pan, shake = make.film, make.face, make.still, make.pan, make.shake
    clips = [Clip(media / RECORDING, RECORDING_CUTS)]

    def save(name: str, *shots: Shot, soft: tuple[int, int] | None = None) -> None:
        clips.append(write(folder / f"{name}.mp4", list(shots), soft=soft))

    long = [film[90:130], face[:40], still("biden.jpg", 30), still("multi_face.jpg", 30), film[215:260], face[40:]]
    long += [still("two_people.jpg", 20), still("grayscale_portrait.jpg", 20), still("no-faces.jpg", 20), film[20:80]]
    save("splice_long", *long)
    short = [film[90:98], face[:8], film[215:223], still("biden.jpg", 6), film[150:156], face[50:58]]
    short += [still("two_people.jpg", 5), film[0:10], still("multi_face.jpg", 4), film[30:36], face[20:30]]
    save("splice_short", *short)
    views = [("multi_face.jpg", 0.3, 0.4, 2.2), ("multi_face.jpg", 0.7, 0.4, 2.2), ("multi_face.jpg", 0.5, 0.5, 1.2)]
    views += [("two_people.jpg", 0.3, 0.4, 2.0), ("two_people.jpg", 0.7, 0.4, 2.0)]
    views += [("biden.jpg", 0.5, 0.3, 1.0), ("biden.jpg", 0.5, 0.3, 2.2)]
    save("reframed", *[still(name, 25, x, y, zoom) for name, x, y, zoom in views])
    moving = [pan("multi_face.jpg", 40, 0.02), shake("biden.jpg", 30, 0.004), pan("two_people.jpg", 40, 0.05)]
    moving += [film[150:190], shake("two_people.jpg", 30, 0.006), pan("grayscale_portrait.jpg", 30, 0.03)]
    save("moving_cuts", *moving)
    save("pan_slow", pan("multi_face.jpg", 90, 0.01))
    save("pan_fast", pan("multi_face.jpg", 90, 0.08))
    save("pan_whip", pan("two_people.jpg", 60, 0.16))
    save("pan_fast_biden", pan("biden.jpg", 90, 0.1))
    save("shake", shake("two_people.jpg", 90, 0.008))
    save("shake_hard", shake("multi_face.jpg", 90, 0.02))
    save("flash", flashes(face, (10, 25, 40, 60), 1.8))
    save("flash_double", flashes(film[90:200], (10, 30, 31, 60, 90), 2.5, 2))
    save("flash_still", flashes(still("multi_face.jpg", 60), (10, 30, 45), 3.0))
    save("zoom", make.zoom("biden.jpg", 60, 1.02))
    save("zoom_fast", make.zoom("two_people.jpg", 20, 1.08))
    dimmed = [np.clip(f * (0.35 if k // 15 % 2 else 1.0), 0, 255).astype(np.uint8) for k, f in enumerate(face)]
    save("lights", dimmed)
    save("single", face)
    columns = np.arange(WIDTH)[None, :, None]
    hands = [abs(k % 40 - 20) / 20 * WIDTH * 0.9 for k in range(len(face))]
    save("hand", [np.where(columns > hand, f, 90).astype(np.uint8) for hand, f in zip(hands, face, strict=True)])
    faded = fade_out(film[90:140])
    save("fade_black", faded, fade_in(face[:50]), soft=(len(faded) - 8, len(faded) + 4))
    save("dissolve", dissolve(film[90:150], face[:60]), soft=(40, 60))
    save("fade_same", fade_out(face[:40]), fade_in(face[40:]), soft=(-1, -1))
    return clips


def held_out(media: Path, folder: Path) -> list[Clip]:
    """Make five clips of 21 random shots."""
    make, clips = Maker(media, 77), []
    for number in range(5):
        shots = [shot for shot in (make.piece() for _ in range(21)) if len(shot) > 3]
        gain = make.rng.uniform(0.4, 1)
        dark = [[(image * gain).astype(np.uint8) for image in shot] for shot in shots]
        clips.append(write(folder / f"held{number}.mp4", dark, quality=20 + 4 * number))
    return clips


def ours(path: Path) -> set[int]:
    return {frame.index for frame in read_frames(path, cuts=True) if frame.cut}


def theirs(name: str) -> Callable[[Path], set[int]]:
    import scenedetect

    def find(path: Path) -> set[int]:
        manager = scenedetect.SceneManager()
        manager.add_detector(getattr(scenedetect, name)(min_scene_len=2))
        manager.detect_scenes(scenedetect.open_video(str(path)))
        return {scene[0].frame_num for scene in manager.get_scene_list()[1:]}

    return find


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--keep", type=Path, default=None, help="a new folder for the clips")
    options = parser.parse_args()
    finders = {"fervit": ours}
    if find_spec("scenedetect"):
        names = ("AdaptiveDetector", "ContentDetector", "HashDetector", "HistogramDetector")
        finders |= {name: theirs(name) for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        sets = {"chosen on": chosen_on(options.media, folder), "held out": held_out(options.media, folder)}
        for title, clips in sets.items():
            count = sum(len(clip.cuts) for clip in clips)
            for name, find in finders.items():
                start_s, hits, false = time.process_time(), 0, 0
                for clip in clips:
                    found = find(clip.path)
                    hits += len(found & set(clip.cuts))
                    false += sum(not clip.soft[0] <= cut <= clip.soft[1] for cut in found - set(clip.cuts))
                cpu_s = time.process_time() - start_s
                print(f"{title}: {name} found {hits} of {count}, {false} false, {cpu_s:.1f} s of CPU time")


if __name__ == "__main__":
    main()
