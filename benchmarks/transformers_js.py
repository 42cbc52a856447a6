"""Probabilities of model folders in transformers.js, in Node, against fervit's: the largest difference for each crop.

Usage: python benchmarks/transformers_js.py MODEL... --modules FOLDER [--quantised]

FOLDER has `node_modules` with the package (`npm install @huggingface/transformers@4.3.2` there). Two random crops of
the model's input size, and one of 200 px, which transformers.js has to resize. Nothing is fetched. With
`--quantised`, its "q8" and ONNX Runtime run `onnx/model_quantized.onnx`, which `fervit push --data` makes, and the
folder must have it.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from fervit.export.javascript import unknown_kind, write_onnx
from fervit.inference.classifier import OnnxClassifier
from fervit.models import TorchClassifier
from fervit.weights.layout import CONFIG, ONNX_QUANTISED, PROCESSOR

OTHER_PX = 200
PROGRAM = """
import { pipeline, env } from "@huggingface/transformers";
const [models, dtype, ...images] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = models;
const classify = await pipeline("image-classification", "owner/name", { dtype });
const found = [];
for (const image of images) {
  const rows = await classify(image, { top_k: null });
  found.push(Object.fromEntries(rows.map(({ label, score }) => [label, score])));
}
console.log(JSON.stringify(found));
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--modules", type=Path, required=True, help="The folder with node_modules.")
    parser.add_argument("--quantised", action="store_true")
    args = parser.parse_args()
    for model in args.models:
        measure(model, args.modules.absolute(), quantised=args.quantised)


def measure(model: Path, modules: Path, *, quantised: bool) -> None:
    if why := unknown_kind(model):
        raise SystemExit(f"{model}: {why}")
    classifier = OnnxClassifier(model / ONNX_QUANTISED) if quantised else TorchClassifier(model)
    size = classifier.spec.preprocess.image_size
    crops = draw_crops(size, size, OTHER_PX)
    expected = classifier.probs([np.asarray(crop) for crop in crops])
    # Node looks for packages from the program's place on, so the program lies beside node_modules for a moment.
    with tempfile.TemporaryDirectory(dir=modules, prefix="fervit-") as name:
        scratch = Path(name)
        folder = scratch / "owner" / "name"
        folder.mkdir(parents=True)
        for file in (CONFIG, PROCESSOR):
            shutil.copy(model / file, folder)
        if quantised:
            (folder / ONNX_QUANTISED).parent.mkdir()
            shutil.copy(model / ONNX_QUANTISED, folder / ONNX_QUANTISED)
        else:
            write_onnx(model, folder, None)
        images = [scratch / f"{k}.png" for k in range(len(crops))]
        for crop, image in zip(crops, images, strict=True):
            crop.save(image)
        (scratch / "run.mjs").write_text(PROGRAM)
        command = ["node", str(scratch / "run.mjs"), f"{scratch}/", "q8" if quantised else "fp32", *map(str, images)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    for crop, row, probs in zip(crops, rows, expected, strict=True):
        difference = max(abs(row[label] - p) for label, p in zip(classifier.spec.labels, probs, strict=True))
        print(f"{model}: {crop.width} px, {len(row)} labels, differs by at most {difference:.2g}")


def draw_crops(*sides: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in sides]
    return [image.resize((side, side), Image.Resampling.BICUBIC) for image, side in zip(coarse, sides, strict=True)]


if __name__ == "__main__":
    main()
