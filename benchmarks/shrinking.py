"""Photos shrunk for the face detector: by OpenCV, as fervit does it, against Pillow.

Usage: python benchmarks/shrinking.py [--megapixels 0.7 4.9 12] [--rounds 9]
"""

import argparse

import numpy as np
from PIL import Image as Pillow
from timing import seconds

from fervit.faces.base import MAX_SIDE_PX, shrink


def by_pillow(image: np.ndarray) -> np.ndarray:
    """Return an image whose longer side is `MAX_SIDE_PX`, by Pillow's fastest way that sees every pixel."""
    height, width = image.shape[:2]
    scale = MAX_SIDE_PX / max(height, width)
    size = round(width * scale), round(height * scale)
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BILINEAR, reducing_gap=2.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="*", default=[0.7, 4.9, 12.0])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    for size in args.megapixels:
        height = round((size * 1e6 * 3 / 4) ** 0.5)
        image = np.random.default_rng(0).integers(0, 256, (height, round(height * 4 / 3), 3), dtype=np.uint8)
        ours = min(seconds(lambda x=image: shrink(x, MAX_SIDE_PX)) for _ in range(args.rounds))
        pillow = min(seconds(lambda x=image: by_pillow(x)) for _ in range(args.rounds))
        print(f"{size:g} megapixels: OpenCV {ours * 1000:.1f} ms, Pillow {pillow * 1000:.1f} ms")


if __name__ == "__main__":
    main()
