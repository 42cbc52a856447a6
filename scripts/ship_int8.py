"""Turn a shipped model into a shipped 8-bit one, with its card.

Usage: python scripts/ship_int8.py mobilenet --data fer2013.parquet [--threads 1]

Writes src/fervit/assets/NAME_int8.onnx, if it passes the gate of `fervit export --int8`, and the card in
src/fervit/assets/NAME_int8. Reads private_test once, at the very end, for the card.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import onnx
from ship import KEPT

from fervit.data import PRIVATE_TEST, PUBLIC_TEST, Dataset, load
from fervit.evaluation.measurement import evaluate
from fervit.evaluation.prediction import predict_dataset
from fervit.export.quantise import quantise
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import ASSETS, find_model
from fervit.types import METADATA_KEY

CARD = """# {name}

[{model}](../{model}/README.md) in 8 bits: the same network, with the same labels, preprocessing, uses, limits and
licence (Apache-2.0); read its card. A quarter of the size, and faster on CPUs with 8-bit dot-product instructions
(AVX-512 VNNI, AVX-VNNI):

```sh
fervit predict photo.jpg --model {name}
```

| measured on fer2013.parquet, 3,589 faces each | 32 bits | 8 bits | predictions that differ |
| --- | ---: | ---: | ---: |
{rows}

Measured at export, on one machine with VNNI: {report}.

Matrix products and convolutions with weights have 8-bit activations and 7-bit weights, rounded so that each layer's
outputs change least (GPTQ, Frantar et al. 2022, arXiv 2210.17323); the first layer and the head stay in 32 bits.
Ranges and rounding are computed on 304 training faces.

```sh
python scripts/ship_int8.py {model} --data fer2013.parquet
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    name = f"{args.model}_int8"
    out = ASSETS / f"{name}.onnx"
    dataset = load(args.data)
    report = quantise(find_model(args.model), out, dataset, threads=args.threads)

    exact, small = OnnxClassifier(find_model(args.model)), OnnxClassifier(out)
    figures = {s: evaluate(small, dataset, split=s).to_dict() for s in (PUBLIC_TEST, PRIVATE_TEST)}
    metrics = {split: {key: figure[key] for key in KEPT} for split, figure in figures.items()}
    _set_spec(out, dataclasses.replace(small.spec, name=name, metrics=metrics).to_json())
    rows = "\n".join(row for split in figures for row in _rows(exact, small, dataset, split, figures[split]))
    (ASSETS / name).mkdir(exist_ok=True)
    card = CARD.format(name=name, model=args.model, rows=rows, report=report)
    (ASSETS / name / "README.md").write_text(card, encoding="utf-8")
    print(card)


def _rows(
    exact: OnnxClassifier, small: OnnxClassifier, dataset: Dataset, split: str, figures: dict[str, Any]
) -> list[str]:
    part = dataset.split(split)
    before = exact.spec.metrics[split]
    low, high = figures["accuracy_ci95"]
    differ = (predict_dataset(exact, part).argmax(axis=1) != predict_dataset(small, part).argmax(axis=1)).mean()
    return [
        f"| {split}, accuracy (95 % interval) | {100 * before['accuracy']:.2f} % "
        f"| {100 * figures['accuracy']:.2f} % ({100 * low:.2f} to {100 * high:.2f}) | {100 * differ:.1f} % |",
        *(
            f"| {split}, {title} | {before[key]:.4f} | {figures[key]:.4f} | |"
            for key, title in (
                ("accuracy_leak_free", "accuracy without images that are also in train"),
                ("macro_f1", "macro F1"),
                ("ece", "expected calibration error"),
            )
        ),
    ]


def _set_spec(path: Path, text: str) -> None:
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {METADATA_KEY: text})
    onnx.save(proto, path)


if __name__ == "__main__":
    main()
