"""Turn a finished run, or a soup of runs, into a shipped model: weights, card and log, all from one folder.

Usage: python scripts/ship.py RUN --data fer2013.parquet --base "what it started from" [--name tiny] [--models]
       python scripts/ship.py SOUP --member RUN ... --data fer2013.parquet --base "what was averaged" ...

Writes src/fervit/assets/NAME/ (fp16 safetensors, card), src/fervit/assets/NAME.onnx (exported from those same weights)
and docs/runs/NAME/ (run.json, metrics.csv; of a soup soup.json, and those of its members that are no shipped models,
each in a folder of its own). With --models the folder is models/NAME/, which is in the repository
beside the package; the package then has the ONNX file and the card where `fervit.inference.model_files` has the name.
Reads private_test once, at the very end, for the card.
"""

import argparse
import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

from fervit.data import PRIVATE_TEST, PUBLIC_TEST, load
from fervit.ensemble.members import SOUP_FILE
from fervit.evaluation.measurement import evaluate
from fervit.evaluation.report import Report
from fervit.export.onnx import export
from fervit.inference.classifier import OnnxClassifier
from fervit.inference.model_files import ASSETS, SHIPPED_MODELS
from fervit.licences import recognised, union
from fervit.models import load_checkpoint, save_checkpoint
from fervit.reports.card import Origin, model_card
from fervit.training.finetune import card_of
from fervit.training.run_folder import RunRecord
from fervit.types import ModelSpec

LICENCE = "Apache-2.0"  # the weights', like the code's; NOTICE names what they were made from
BASE = (
    "fervit's earlier `tiny`, fine-tuned for 27 epochs on the same data (docs/runs/earlier) from a ViT-Ti/16 pre-"
    "trained on ImageNet-21k, then ImageNet-1k (augreg, arXiv 2106.10270, Apache-2.0; the file is identified by its "
    "behaviour: it classifies photos correctly at mean = std = 0.5); distilled from a soft-voting ensemble of a "
    "MobileNet and two Inception-ResNets (docs/runs/mobilenet_first, inception, inception_128)"
)
KEPT = ("accuracy", "accuracy_ci95", "accuracy_leak_free", "macro_f1", "balanced_accuracy", "ece", "n", "n_leak_free")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", default="tiny")
    parser.add_argument("--base", default=BASE, help="What the run started from, in words for the card.")
    parser.add_argument("--licence", default=LICENCE, help="The weights' licence.")
    parser.add_argument("--member", type=Path, action="append", default=[], help="A run that the soup has in it.")
    parser.add_argument("--models", action="store_true", help="Write models/NAME, not the package's assets.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        onnx = (ASSETS if args.name in SHIPPED_MODELS else Path(scratch)) / f"{args.name}.onnx"
        folder = (Path("models") if args.models else ASSETS) / args.name
        ship(args, folder, onnx)
        if folder.parent != onnx.parent == ASSETS:
            (ASSETS / args.name).mkdir(exist_ok=True)
            shutil.copy(folder / "README.md", ASSETS / args.name)


def ship(args: argparse.Namespace, folder: Path, onnx: Path) -> None:
    """Write the weights into `folder`, its ONNX form into `onnx`, then the card and the log."""
    shutil.rmtree(folder, ignore_errors=True)

    model, spec = load_checkpoint(args.run)
    runs = [json.loads((run / "run.json").read_text(encoding="utf-8")) for run in args.member or [args.run]]
    learnt = [recognised("", source["hash"], ()) for run in runs for source in run["data"].get("sources", ())]
    trained_on = union(spec.trained_on, *learnt)  # a run from before there were licences noted the hashes
    spec = dataclasses.replace(spec, name=args.name, licence=args.licence, trained_on=trained_on, metrics={})
    save_checkpoint(model, spec, folder, half=True)
    export(folder, onnx, overwrite=True)

    dataset = load(args.data)
    reports = {s: evaluate(OnnxClassifier(onnx), dataset, split=s) for s in (PUBLIC_TEST, PRIVATE_TEST)}
    rows = {split: report.to_dict() for split, report in reports.items()}
    figures = {split: {key: row[key] for key in KEPT} for split, row in rows.items()}
    model, spec = load_checkpoint(folder)
    spec = dataclasses.replace(spec, metrics=figures)
    save_checkpoint(model, spec, folder, half=True)
    export(folder, onnx, overwrite=True)
    (folder / "README.md").write_text(_card(args, spec, runs[0], reports[PRIVATE_TEST]), encoding="utf-8")
    _log(args, runs)
    print(json.dumps(figures, indent=2))


def _card(args: argparse.Namespace, spec: ModelSpec, run: RunRecord, report: Report) -> str:
    """Return the card of a run, or that of a soup."""
    if not args.member:
        return card_of(spec, run | {"init": args.base}, report)
    soup = json.loads((args.run / SOUP_FILE).read_text(encoding="utf-8"))
    return model_card(spec, report=report, origin=Origin(run["data"]["name"], args.base, command=soup["command"]))


def _log(args: argparse.Namespace, runs: list[RunRecord]) -> None:
    """Copy what tells how the model was made into docs/runs/NAME."""
    log = Path("docs/runs") / args.name
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir(parents=True)
    if args.member:
        shutil.copy(args.run / SOUP_FILE, log)
    for source, run in zip(args.member or [args.run], runs, strict=True):
        target = log / source.name if args.member else log
        target.mkdir(exist_ok=True)
        run["init"] = Path(run["init"]).name  # nobody else has this machine's folders
        shutil.copy(source / "metrics.csv", target)
        (target / "run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
