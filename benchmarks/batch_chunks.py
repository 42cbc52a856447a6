"""ONNX Runtime's own threads against a chunk of the batch for every thread, which is how fervit runs a model.

Usage: python benchmarks/batch_chunks.py [--model M.onnx] [--threads N] [--batches 1 8 32] [--rounds 20]

The two take turns on the same random faces; a ratio is the median over the rounds of the time with ONNX Runtime's own
threads over that with chunks, so above 1 chunks are faster.
"""

import argparse
import os
import statistics
from pathlib import Path

import numpy as np
from timing import bare_session, seconds

from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import default_model
from fervit.types import INPUT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    path = args.model or default_model()
    whole = bare_session(path, args.threads)
    chunked = OnnxClassifier(path, threads=args.threads)
    side = chunked.spec.preprocess.image_size
    for count in args.batches:
        x = np.random.default_rng(0).normal(size=(count, 3, side, side)).astype(np.float32)
        ratios, own = [], []
        for k in range(args.rounds + 2):
            theirs, ours = (
                seconds(lambda x=x: whole.run(None, {INPUT: x})),
                seconds(lambda x=x: chunked.logits(x)),
            )
            if k > 1:  # the first ones warm up
                ratios.append(theirs / ours)
                own.append(ours)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"batch {count}: {1000 * statistics.median(own):.1f} ms, {statistics.median(ratios):.2f}x ({spread})")


if __name__ == "__main__":
    main()
