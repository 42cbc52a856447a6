"""What keeps an 8-bit model near the 32-bit one: the steps of `fervit.export.int8`, left out in turn.

Usage: python benchmarks/int8_rounding.py fer2013.parquet [--model mobilenet] [--files OTHER.onnx OTHER.xml ...]

Every line: the mean Kullback-Leibler divergence of the 8-bit predictions from the 32-bit ones on public_test, the
fraction of predictions that differ, and the accuracy. `--files` are 8-bit files of the same model, made otherwise.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np

from fervit.data import PUBLIC_TEST, TRAIN, load
from fervit.evaluation.prediction import predict_dataset
from fervit.export import int8, quantise
from fervit.export.quantise import calibration_batches
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import find_model

NEAREST = patch.object(int8, "_round", lambda *arguments: None)
EARLY = patch.object(int8, "_is_depthwise", lambda node: False)
STEPS = {
    "each weight to nearest, the early depthwise convolution too": (NEAREST, EARLY),
    "each weight to nearest": (NEAREST,),
    "rounded for the outputs, the early depthwise convolution too": (EARLY,),
    "rounded for the outputs: what is written": (),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="mobilenet")
    parser.add_argument("--files", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    dataset = load(args.data)
    validation = dataset.split(PUBLIC_TEST)
    model = find_model(args.model)
    exact = OnnxClassifier(model, runtime="onnxruntime")
    expected = predict_dataset(exact, validation)

    def show(name: str, path: Path) -> None:
        probs = predict_dataset(OnnxClassifier(path, runtime=quantise.RUNTIME_OF[path.suffix]), validation)
        divergence = (expected * np.log(expected / np.maximum(probs, 1e-12))).sum(axis=1).mean()
        differ = (probs.argmax(axis=1) != expected.argmax(axis=1)).mean()
        accuracy = (probs.argmax(axis=1) == validation.targets).mean()
        print(f"KL {divergence:.5f}, {100 * differ:.2f} % differ, {100 * accuracy:.2f} %  {name}", flush=True)

    batches = calibration_batches(exact.spec, dataset.split(TRAIN))
    with tempfile.TemporaryDirectory() as scratch:
        for name, patches in STEPS.items():
            with ExitStack() as stack:
                for change in patches:
                    stack.enter_context(change)
                int8.write_int8(model, Path(scratch) / "int8.onnx", exact.spec, batches)
            show(name, Path(scratch) / "int8.onnx")
    for path in args.files:
        show(str(path), path)


if __name__ == "__main__":
    main()
