"""Faces/s of `Recognizer.images(crop=True)` on a folder of 500 crops against a bare ONNX Runtime loop.

Usage: python benchmarks/predict_folder.py [--model M.onnx] [--count 500] [--rounds 5] [--threads 2]

Both decode every file, resize, normalise and classify in batches of 32 with the same session settings. The bare
loop is the least code that does so: Pillow, numpy and one `session.run` per batch, one after another.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from fervit.data.synth import synthesize
from fervit.detect import make_detector
from fervit.recognizer import Recognizer
from fervit.runtime import OnnxClassifier, default_model

BATCH = 32


def write_crops(folder: Path, count: int) -> list[Path]:
    paths = []
    for k, image in enumerate(synthesize(count).images):
        paths.append(folder / f"{k:05}.png")
        Image.fromarray(image[..., 0]).save(paths[-1])
    return paths


def bare_loop(session, spec, paths) -> np.ndarray:
    side = spec.preprocess.image_size
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (spec.preprocess.mean, spec.preprocess.std))
    logits = []
    for start in range(0, len(paths), BATCH):
        batch = []
        for path in paths[start : start + BATCH]:
            with Image.open(path) as image:
                small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            batch.append((np.asarray(small, np.float32).transpose(2, 0, 1) / 255 - mean) / std)
        logits.append(session.run(None, {"pixel_values": np.stack(batch)})[0])
    return np.concatenate(logits)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    path = args.model or default_model()
    classifier = OnnxClassifier(path, threads=args.threads)
    recognizer = Recognizer(classifier, make_detector("none"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        paths = write_crops(Path(folder), args.count)
        for k in range(args.rounds + 1):
            start = time.perf_counter()
            results = list(recognizer.images(paths, crop=True, batch_size=BATCH))
            ours = args.count / (time.perf_counter() - start)
            start = time.perf_counter()
            logits = bare_loop(session, classifier.spec, paths)
            bare = args.count / (time.perf_counter() - start)
            labels = [classifier.spec.labels[i] for i in logits.argmax(1)]
            assert [r.predictions[0].label for r in results] == labels, "the two loops answer differently"
            if k:  # the first round warms up
                ratios.append(ours / bare)
                print(f"round {k}: fervit {ours:6.1f} faces/s, bare {bare:6.1f} faces/s, ratio {ours / bare:.3f}")
    print(
        f"{args.count} crops, batch {BATCH}, {args.threads} threads: median ratio {statistics.median(ratios):.3f} "
        f"(min {min(ratios):.3f}, max {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
