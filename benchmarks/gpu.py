"""Faces per second of one model on every device that is here, by batch, and end to end from JPEG files.

Usage: python benchmarks/gpu.py [MODEL ...] [--devices cpu cuda] [--batches 1 8 32 128 256] [--photos 64] [--rounds 5]

MODEL is a file, a model folder or a shipped model's name; the default: mobilenet. Without --devices: the CPU, and the
first NVIDIA GPU where there is one that can be used. A line for each model, device and batch: faces classified a
second from crops in memory, preprocessing on the CPU included (the classifier), and without it (the network alone; for
ONNX files). A GPU's figures of the network alone include the copies to the device and back. Then photos a second from
JPEG files with one face each: decoded, searched, cropped and classified, as `fervit predict` does. Ratios are to the
first device, the median over rounds that take the devices in turns.
"""

import argparse
import functools
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from timing import seconds

from fervit.data.synthetic.dataset import synthesize
from fervit.errors import FervitError
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.loading import load
from fervit.media.crops import preprocess_batch
from fervit.media.images import write_image

CROP_PX = 112


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["mobilenet"])
    parser.add_argument("--devices", nargs="*")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8, 32, 128, 256])
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--detector", default="auto")
    args = parser.parse_args()
    for model in args.models:
        measure(model, args.devices or usable_devices(model), args)


def usable_devices(model: str) -> list[str]:
    """Return the CPU, and the first GPU where it can be used; else say why not."""
    try:
        load(model, device="cuda")
    except FervitError as error:
        print(f"cuda is left out: {error}", file=sys.stderr)
        return ["cpu"]
    return ["cpu", "cuda"]


def measure(model, devices, args):
    recognizers = {device: load(model, device=device, detector=args.detector) for device in devices}
    for device, recognizer in recognizers.items():
        used = getattr(recognizer.classifier, "device", "?")
        print(f"{model} on {device}: {type(recognizer.classifier).__name__}, {used}")
    for size in args.batches:
        crops = np.random.default_rng(0).integers(0, 256, (size, CROP_PX, CROP_PX, 3), dtype=np.uint8)
        whole, alone = {}, {}
        for device, recognizer in recognizers.items():
            classifier = recognizer.classifier
            whole[device] = functools.partial(classifier.probs, crops, batch_size=size)
            if isinstance(classifier, OnnxClassifier):
                batches = [preprocess_batch(crops, preprocess) for preprocess in classifier.spec.inputs.values()]
                alone[device] = functools.partial(classifier.logits, *batches)
        report(f"{model}, batch {size}, classifier", whole, size, "faces/s", args.rounds)
        report(f"{model}, batch {size}, network alone", alone, size, "faces/s", args.rounds)
    if args.photos:
        with tempfile.TemporaryDirectory() as folder:
            paths, size = photos(Path(folder), args.photos), max(args.batches)
            work = {d: functools.partial(count_faces, r, paths, size) for d, r in recognizers.items()}
            found = {device: run() for device, run in work.items()}
            print(f"faces found in {len(paths)} photos: {found}")
            report(f"{model}, JPEG to prediction, batch {size}", work, len(paths), "photos/s", args.rounds)


def photos(folder: Path, count: int) -> list[Path]:
    """Write photos of 1.2 megapixels with one synthetic face each."""
    faces, paths = synthesize(count, size_px=320), [folder / f"{k}.jpg" for k in range(count)]
    for face, path in zip(faces.images, paths, strict=True):
        photo = np.full((960, 1280, 3), 128, np.uint8)
        photo[200:520, 400:720] = face
        write_image(path, photo)
    return paths


def count_faces(recognizer, paths, batch_size):
    return sum(len(result.predictions) for result in recognizer.images(paths, batch_size=batch_size))


def report(what, work, count, unit, rounds):
    times = {device: [] for device in work}
    for k in range(rounds + 1):
        for device, run in work.items():
            taken = seconds(run)
            if k:  # the first one warms up
                times[device].append(taken)
    first = next(iter(times.values()), [])
    for device, own in times.items():
        ratios = [before / taken for before, taken in zip(first, own, strict=True)]
        spread = f"{statistics.median(ratios):.2f}x, {min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{what} on {device}: {count / statistics.median(own):,.0f} {unit} ({spread})")


if __name__ == "__main__":
    main()
