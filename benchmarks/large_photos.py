"""Large photos: read as large as their faces need against read whole, and how far the results differ.

Usage: python benchmarks/large_photos.py PHOTO.jpg... [--rounds 5]

Photos are enlarged to a longer side of 4,032 px in memory, with a little noise, and stored as JPEG of quality 90. The
same photo stored at quality 89 shows what differences nobody would see.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from timing import seconds

import fervit
from fervit.faces.finder import FoundFaces
from fervit.media.images import read_image

SIDE = 4032


def as_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Return a JPEG of the quality."""
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def enlarged(path: Path) -> np.ndarray:
    """Return a photo with a longer side of `SIDE` px, with noise as a camera's."""
    image = Pillow.open(path).convert("RGB")
    scale = SIDE / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    large = np.asarray(image.resize(size, Pillow.Resampling.LANCZOS)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 3, (*large.shape[:2], 1)).astype(np.float32)
    return (large + noise).clip(0, 255).astype(np.uint8)


def differences(
    whole: FoundFaces, other: FoundFaces, probs: tuple[np.ndarray, np.ndarray]
) -> list[tuple[float, float]]:
    """Return for each face how far its box (px) and its probabilities are from those of the nearest other face."""
    rows = []
    for face, row in zip(whole.faces, probs[0], strict=True):
        nearest = max(range(len(other.faces)), key=lambda k, box=face.box: box.iou(other.faces[k].box), default=None)
        if nearest is not None:
            pairs = zip(face.box.to_list(), other.faces[nearest].box.to_list(), strict=True)
            rows.append((max(abs(a - b) for a, b in pairs), float(np.abs(row - probs[1][nearest]).max())))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    recognizer = fervit.load(threads=1)
    finder, classify = recognizer.finder, recognizer.classifier.probs
    ratios, counts = [], 0
    found: dict[str, list[tuple[float, float]]] = {"decoded as needed": [], "stored at quality 89": []}
    for path in args.photos:
        data = as_jpeg(enlarged(path), 90)
        whole, reduced = finder.find(read_image(data)), finder.find_in(data)
        again = finder.find(read_image(as_jpeg(read_image(data), 89)))
        probs = classify(whole.crops)
        for name, other in (("decoded as needed", reduced), ("stored at quality 89", again)):
            found[name] += differences(whole, other, (probs, classify(other.crops)))
            counts += name == "decoded as needed" and len(other.faces) != len(whole.faces)
        ours = min(seconds(lambda d=data: finder.find_in(d)) for _ in range(args.rounds))
        before = min(seconds(lambda d=data: finder.find(read_image(d))) for _ in range(args.rounds))
        ratios.append(before / ours)
        sides = ", ".join(f"{max(face.box.width, face.box.height):.0f}" for face in whole.faces) or "none"
        times = f"{1000 * before:.0f} ms whole, {1000 * ours:.0f} ms as needed, {ratios[-1]:.1f}x"
        print(f"{path.name}: faces of {sides} px; {times}")
    print(f"median {np.median(ratios):.2f}x; photos with another number of faces: {counts} of {len(args.photos)}")
    for name, rows in found.items():
        boxes, probabilities = np.array(rows).T
        print(
            f"{name}: boxes differ by {np.median(boxes):.1f} px (median), {boxes.max():.1f} (most); probabilities by "
            f"{np.median(probabilities):.4f}, {np.quantile(probabilities, 0.9):.4f} (nine of ten), "
            f"{probabilities.max():.4f}"
        )


if __name__ == "__main__":
    main()
