"""Faces/s of `Recognizer.images` on a folder against a bare loop: of 500 crops, or with --detect of 200 photos.

Usage: python benchmarks/predict_folder.py [--detect] [--model M.onnx] [--count N] [--rounds 5] [--threads 2]

Both decode every file, resize, normalise and classify in batches of 32 on as many threads. The bare
loop is the least code that does so: Pillow, numpy and one `session.run` per batch, one after another. With --detect
the files are JPEG photos of 640 x 480 with one face (scikit-image's astronaut, shifted), and the bare loop also calls
the same detector on each and cuts the faces out.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from timing import bare_session

from fervit.data.synthetic.dataset import synthesize
from fervit.faces.detectors import make_detector
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import default_model
from fervit.inference.recognizer import MAX_WORKERS, Recognizer
from fervit.media.crops import crop_face

BATCH = 32


def write_crops(folder: Path, count: int) -> list[Path]:
    paths = []
    for k, image in enumerate(synthesize(count).images):
        paths.append(folder / f"{k:05}.png")
        Image.fromarray(image[..., 0]).save(paths[-1])
    return paths


def write_photos(folder: Path, count: int) -> list[Path]:
    from skimage.data import astronaut

    large, rng, paths = Image.fromarray(astronaut()).resize((800, 600)), np.random.default_rng(0), []
    for k in range(count):
        x, y = (int(v) for v in rng.integers(0, 100, 2))
        paths.append(folder / f"{k:05}.jpg")
        large.crop((x, y, x + 640, y + 480)).save(paths[-1], quality=92)
    return paths


def bare_loop(session, spec, paths, detector) -> np.ndarray:
    """Return the logits of every face, in the order of the files; without a detector a file is a face."""
    side = spec.preprocess.image_size
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (spec.preprocess.mean, spec.preprocess.std))
    logits = []
    for start in range(0, len(paths), BATCH):
        batch = []
        for path in paths[start : start + BATCH]:
            with Image.open(path) as image:
                photo = image.convert("RGB")
            for crop in cut(photo, spec.preprocess, detector):
                small = crop.resize((side, side), Image.Resampling.BILINEAR)
                batch.append((np.asarray(small, np.float32).transpose(2, 0, 1) / 255 - mean) / std)
        logits.append(session.run(None, {"pixel_values": np.stack(batch)})[0])
    return np.concatenate(logits)


def cut(photo, preprocess, detector) -> list:
    if detector is None:
        return [photo]
    pixels = np.asarray(photo)
    [faces] = detector.detect([pixels])
    return [Image.fromarray(crop_face(pixels, face.box, preprocess, face.landmarks)) for face in faces]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--detect", action="store_true")
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    path = args.model or default_model()
    classifier = OnnxClassifier(path, threads=args.threads)
    count = args.count or (200 if args.detect else 500)
    detector = make_detector() if args.detect else None
    recognizer = Recognizer(classifier, detector or make_detector("none"), workers=min(MAX_WORKERS, args.threads))
    session = bare_session(path, args.threads)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        paths = (write_photos if args.detect else write_crops)(Path(folder), count)
        for k in range(args.rounds + 1):
            start = time.perf_counter()
            results = list(recognizer.images(paths, crop=not args.detect, batch_size=BATCH))
            ours = count / (time.perf_counter() - start)
            start = time.perf_counter()
            logits = bare_loop(session, classifier.spec, paths, detector)
            bare = count / (time.perf_counter() - start)
            labels = [classifier.spec.labels[i] for i in logits.argmax(1)]
            assert [p.label for r in results for p in r.predictions] == labels, "the two loops predict differently"
            if k:  # the first round warms up
                ratios.append(ours / bare)
                print(f"round {k}: fervit {ours:6.1f} files/s, bare {bare:6.1f} files/s, ratio {ours / bare:.3f}")
    what = "photos" if args.detect else "crops"
    print(
        f"{count} {what}, {len(logits)} faces, batch {BATCH}, {args.threads} threads: median ratio "
        f"{statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
