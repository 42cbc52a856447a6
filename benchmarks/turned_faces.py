"""Photos turned by 45 to 270 degrees: faces found, and labels that agree with those of the upright photo.

Usage: python benchmarks/turned_faces.py PHOTO... [--rounds 15]

Also prints the time that finding the faces of each upright photo takes, on one thread.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from timing import seconds

from fervit.inference.loading import load
from fervit.media.images import read_image

ANGLES = (0, 45, 90, 135, 180, 270)
GREY = (128, 128, 128)


def turned(image: np.ndarray, degrees: int) -> np.ndarray:
    """Return an image turned clockwise, as large as it has to be for that."""
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(image, -degrees // 90))
    return np.asarray(Pillow.fromarray(image).rotate(-degrees, Pillow.Resampling.BICUBIC, expand=True, fillcolor=GREY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    recognizer = load(threads=1)
    images = [read_image(path) for path in args.photos]
    upright = [Counter(prediction.label for prediction in recognizer(image)) for image in images]
    for degrees in ANGLES:
        found = [Counter(prediction.label for prediction in recognizer(turned(image, degrees))) for image in images]
        same = sum((one & other).total() for one, other in zip(found, upright, strict=True))
        faces, total = sum(c.total() for c in found), sum(c.total() for c in upright)
        print(f"{degrees:3} degrees: {faces} of {total} faces found, {same} with the upright label")
    for path, image in zip(args.photos, images, strict=True):
        best = min(seconds(lambda image=image: recognizer.finder.find(image)) for _ in range(args.rounds))
        print(f"{path.name}: {best * 1000:.1f} ms")


if __name__ == "__main__":
    main()
