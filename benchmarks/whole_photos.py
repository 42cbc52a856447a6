"""What training on whole photos costs that `fervit predict` cuts: a model with and without `--detect`.

Usage: python benchmarks/whole_photos.py [--count 210] [--epochs 6] [--out runs/whole_photos]
       python benchmarks/whole_photos.py --memory 160    # time and peak memory of cutting photos of 12 megapixels

Photos of 1600 x 1200 px are made of drawn faces of 250 to 450 px on random backgrounds; the recipe `tiny`, from the
shipped weights, is trained on them twice, and both models are measured on both splits with and without `--detect`.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import fervit
from fervit.config import load_config
from fervit.data import load
from fervit.formatting import percent, text_table

SIZE, LARGE_SIZE = (1600, 1200), (4000, 3000)
DIFFERENT = 8  # photos, of which the many of `--memory` are copies
FOLDERS = ("train", "val", "test")


def photo(face: np.ndarray, seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a photo with a face `(48, 48)` at a random place."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(60, 200, (9, 12, 3)).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    side = int(rng.integers(250, 450))
    large = Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")
    image.paste(large, (int(rng.integers(0, size[0] - side)), int(rng.integers(0, size[1] - side))))
    return image


def write(folder: Path, count: int) -> None:
    faces = load(f"synthetic:{count}")
    for row in range(len(faces)):
        label = faces.labels[faces.targets[row]]
        path = folder / FOLDERS[faces.split_ids[row]] / label / f"{row:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(faces.images[row, :, :, 0], row).save(path, quality=90)


def measure_memory(folder: Path, count: int) -> None:
    faces = load("synthetic:35")
    for row in range(count):
        path = folder / "train" / faces.labels[row % 7] / f"{row:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if row < DIFFERENT:
            photo(faces.images[row, :, :, 0], row, LARGE_SIZE).save(path, quality=92)
        else:
            first = row % DIFFERENT
            path.write_bytes((folder / "train" / faces.labels[first % 7] / f"{first:04d}.jpg").read_bytes())
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    load(folder, detect=True)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{count} photos: {seconds:.1f} s, peak memory {peak / 1e6:.2f} GB ({before / 1e6:.2f} GB before)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=210)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("runs/whole_photos"))
    parser.add_argument("--memory", type=int, metavar="N", help="only measure memory, on N photos")
    options = parser.parse_args()
    if options.memory:
        with tempfile.TemporaryDirectory() as folder:
            measure_memory(Path(folder) / "photos", options.memory)
        return
    photos = options.out / "photos"
    write(photos, options.count)
    config = load_config("tiny", ["votes_weight=0.0", f"epochs={options.epochs}"])
    rows = []
    for detect in (False, True):
        run = options.out / ("detect" if detect else "plain")
        fervit.train(config, load(photos, detect=detect), run, init="shipped", overwrite=True)
        for split in ("train", "public_test"):
            measured = [fervit.evaluate(run, str(photos), split=split, detect=each) for each in (False, True)]
            rows.append((run.name, split, str(measured[0].count), *(percent(each.accuracy.value) for each in measured)))
    print(text_table(("trained", "split", "photos", "accuracy as photos", "accuracy with --detect"), rows))


if __name__ == "__main__":
    main()
