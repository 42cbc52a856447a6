"""A case of the randomised test: everything about it follows from its number."""

import random
from dataclasses import dataclass

from tests.helpers.fuzzing.damage import damaged
from tests.helpers.fuzzing.images import MAKERS, large
from tests.helpers.fuzzing.videos import video

VIDEOS = 0.25  # of all cases
LARGE = 0.01  # of all cases
ENDINGS = (".jpg", ".JPG", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".ppm", ".avif", ".heic", ".mp4", ".avi",
           ".webm", ".mkv", ".ts", ".txt", ".svg", ".eps", ".m3u8", ".concat", "")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A file to read.

    Attributes:
        seed: the number of the case.
        kind: a format of `images.MAKERS`, `large`, or a video's usual suffix.
        name: the file's name, whose ending may be another format's.
        data: its bytes.
        what: how it was made, for people.
    """

    seed: int
    kind: str
    name: str
    data: bytes
    what: str

    @property
    def is_video(self) -> bool:
        """Whether the file was a video before it was damaged."""
        return self.kind.startswith(".")


def make_case(seed: int) -> Case:
    """Return the case of a number."""
    rng = random.Random(seed)
    if rng.random() < VIDEOS:
        data, suffix, what = video(rng)
        kind = suffix
    elif rng.random() < LARGE / (1 - VIDEOS):
        kind = "large"
        data, suffix, what = large(rng)
    else:
        kind = rng.choice(list(MAKERS))
        data, suffix, what = MAKERS[kind](rng)
    data, names = damaged(rng, kind, data)
    name = f"case-{seed}{rng.choice(ENDINGS) if rng.random() < 0.15 else suffix}"
    return Case(seed, kind, name, data, f"{what}; {', '.join(names) or 'sound'}; named {name}, {len(data)} bytes")
