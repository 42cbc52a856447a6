"""One model in 32 and in 8 bits, on ONNX Runtime and on OpenVINO, in turns.

Usage: python benchmarks/runtimes.py [MODEL ...] [--threads N] [--batches 1 32] [--rounds 15]

MODEL is a file or a shipped model's name; the default: mobilenet and mobilenet_int8. A ratio is the median over the
rounds of the time of the first line, the first model on ONNX Runtime, over the line's own. The models must have one
input of one size.
"""

import argparse
import statistics

import numpy as np
from timing import seconds

from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import find_model
from fervit.runtime.sessions import RUNTIMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["mobilenet", "mobilenet_int8"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    classifiers = {
        f"{model} on {runtime}": OnnxClassifier(find_model(model), threads=args.threads, runtime=runtime)
        for model in args.models
        for runtime in RUNTIMES
    }
    side = next(iter(classifiers.values())).spec.preprocess.image_size
    for count in args.batches:
        x = np.random.default_rng(0).normal(size=(count, 3, side, side)).astype(np.float32)
        times: dict[str, list[float]] = {name: [] for name in classifiers}
        for k in range(args.rounds + 2):
            for name, classifier in classifiers.items():
                taken = seconds(lambda classifier=classifier, x=x: classifier.logits(x))
                if k > 1:  # the first ones warm up
                    times[name].append(taken)
        first = next(iter(times.values()))
        for name, own in times.items():
            ratios = [before / taken for before, taken in zip(first, own, strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            each = 1000 * statistics.median(own) / count
            print(f"batches of {count}: {each:5.2f} ms a face, {statistics.median(ratios):.2f}x ({spread})  {name}")


if __name__ == "__main__":
    main()
