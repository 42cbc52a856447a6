"""How the default detector's boxes sit inside FER2013's images, and what detect -> crop -> classify costs.

Usage: python benchmarks/crop_margin.py FER2013 [--model M.onnx] [--count 500] [--measure 300] [--roll DEG ...]

FER2013's images are all framed by OpenCV's face detector (48 px). Each is upscaled four times and pasted on
a grey canvas (`--canvas edge`: with its own edge repeated around it, as a photo would go on). The first part
measures, on training images, how large the image is and where its middle lies, in units of the detected box:
`crop_margin` and `crop_offset` are set from it. The second part classifies validation images (PublicTest) by the
bare image and by detect -> crop -> classify on the canvas, at several margins. The third turns the canvas, to see
what roll correction by landmarks is worth.
"""

import argparse
import dataclasses

import numpy as np
from PIL import Image

from fervit.data import load
from fervit.faces.detectors import make_detector
from fervit.inference.loading import open_classifier
from fervit.media.crops import crop_face, resize_crop

SCALE, PAD = 4, 120
CANVAS = "grey"


def on_canvas(image: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Return the image, four times as large, in the middle of a canvas, turned clockwise by `roll` degrees."""
    grey = image[..., 0]
    side = grey.shape[0] * SCALE
    large = np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC))
    if CANVAS == "edge":
        canvas = Image.fromarray(np.pad(large, PAD, mode="edge"))
    else:
        canvas = Image.fromarray(np.pad(large, PAD, constant_values=128))
    if roll:
        canvas = canvas.rotate(-roll, Image.Resampling.BICUBIC, fillcolor=int(large.mean()))
    return np.repeat(np.asarray(canvas)[:, :, None], 3, axis=2)


def best_face(faces):
    """Return the face nearest to the middle of the canvas; others are noise of the repeated edges."""
    return max(faces, key=lambda face: face.box.area, default=None)


def measure(images, detector) -> None:
    ratios, downs, rights, found = [], [], [], 0
    for image in images:
        canvas = on_canvas(image)
        face = best_face(detector.detect([canvas])[0])
        if face is None:
            continue
        found += 1
        box, middle = face.box, canvas.shape[0] / 2
        ratios.append((canvas.shape[0] - 2 * PAD) / max(box.width, box.height))
        downs.append((middle - (box.y1 + box.y2) / 2) / box.height)
        rights.append((middle - (box.x1 + box.x2) / 2) / box.height)
    print(f"{found} of {len(images)} training images have a face")
    for name, values in (("image side / box side", ratios), ("middle below", downs), ("middle to the right", rights)):
        low, half, high = np.percentile(values, [25, 50, 75])
        print(f"  {name:<24} median {half:+.3f} (quartiles {low:+.3f} {high:+.3f})")
    print(f"-> crop_margin {(np.median(ratios) - 1) / 2:+.3f}, crop_offset {np.median(downs):+.3f}")


def accuracy(classifier, crops, targets) -> tuple[float, np.ndarray]:
    hits = classifier.probs(crops).argmax(1) == targets
    return 100 * hits.mean(), hits


def compare(images, targets, detector, classifier, margins) -> None:
    direct, hits = accuracy(classifier, images, targets)
    canvases = [on_canvas(image) for image in images]
    faces = [best_face(found) for found in detector.detect(canvases)]
    have = np.array([face is not None for face in faces])
    print(f"{len(images)} PublicTest images: direct {direct:.1f} %; {have.sum()} have a face on the canvas,")
    print(f"  direct on these {100 * hits[have].mean():.1f} %")
    for margin, offset in margins:
        preprocess = dataclasses.replace(classifier.spec.preprocess, crop_margin=margin, crop_offset=offset)
        crops = [
            resize_crop(crop_face(canvas, face.box, preprocess), preprocess)
            for canvas, face in zip(canvases, faces, strict=True)
            if face is not None
        ]
        through, _ = accuracy(classifier, crops, targets[have])
        loss = through - 100 * hits[have].mean()
        print(f"  margin {margin:+.3f} offset {offset:+.3f}: {through:.1f} % of found, {loss:+.1f}")


def roll(images, targets, detector, classifier, degrees) -> None:
    for angle in degrees:
        canvases = [on_canvas(image, angle) for image in images]
        faces = [best_face(found) for found in detector.detect(canvases)]
        have = np.array([face is not None for face in faces])
        preprocess = classifier.spec.preprocess
        line = f"  turned by {angle:+.0f}: {have.sum()} found"
        for name, upright in (("as it is", False), ("turned upright", True)):
            crops = [
                crop_face(canvas, face.box, preprocess, face.landmarks if upright else None)
                for canvas, face in zip(canvases, faces, strict=True)
                if face is not None
            ]
            line += f", {name} {accuracy(classifier, crops, targets[have])[0]:.1f} %"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default=None)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--measure", type=int, default=300)
    parser.add_argument("--roll", type=float, nargs="*", default=[0, 10, 20, 30, -30])
    parser.add_argument("--margin", type=float, nargs="*", default=[-0.1, -0.06, -0.02, 0.02, 0.06])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--canvas", choices=["grey", "edge"], default="grey")
    args = parser.parse_args()
    global CANVAS
    CANVAS = args.canvas
    data, rng = load(args.data), np.random.default_rng(0)
    detector, classifier = make_detector(), open_classifier(args.model, threads=args.threads)
    training = data.split("train")
    measure(training.images[np.sort(rng.choice(len(training), args.measure, replace=False))], detector)
    public = data.split("public_test")
    chosen = np.sort(rng.choice(len(public), min(args.count, len(public)), replace=False))
    images, targets = public.images[chosen], public.targets[chosen]
    own = classifier.spec.preprocess
    margins = [(own.crop_margin, own.crop_offset), *((margin, own.crop_offset) for margin in args.margin)]
    compare(images, targets, detector, classifier, margins)
    roll(images[: args.count // 2], targets[: args.count // 2], detector, classifier, args.roll)


if __name__ == "__main__":
    main()
