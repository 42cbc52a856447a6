"""An exported Poker Face ViT against a plain ViT of the same size, in one run: what the separator costs.

Random weights; time does not depend on them. Both sessions take turns, and the ratio is that of the medians.

Usage: python benchmarks/pf_vit.py [--width 192] [--depth 12] [--image-size 96] [--batch 32] [--rounds 30] [--threads 1]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from timing import bare_session
from transformers import ViTConfig, ViTForImageClassification

from fervit.export.onnx import export
from fervit.labels import FER7
from fervit.models import build_model, save_checkpoint
from fervit.types import INPUT, OUTPUT, ModelSpec, Preprocess


def export_both(args, folder: Path) -> dict[str, Path]:
    """Write a plain ViT and the Poker Face ViT around it, as folders and as ONNX files."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=args.width,
        num_hidden_layers=args.depth,
        num_attention_heads=args.width // 64,
        intermediate_size=4 * args.width,
        image_size=args.image_size,
        patch_size=16,
        num_labels=len(FER7),
    )
    preprocess = Preprocess(args.image_size, (0.5,) * 3, (0.5,) * 3)
    save_checkpoint(ViTForImageClassification(config), ModelSpec("vit", preprocess), folder / "vit")
    model, preprocess = build_model(folder / "vit", FER7, args.image_size, arch="pf_vit")
    save_checkpoint(model, ModelSpec("pf_vit", preprocess), folder / "pf_vit")
    for name in ("vit", "pf_vit"):
        export(folder / name, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in ("vit", "pf_vit")}


def measure(files: dict[str, Path], batch: np.ndarray, args) -> dict[str, list[float]]:
    """Return seconds a batch, the models taking turns."""
    sessions = {name: bare_session(path, args.threads) for name, path in files.items()}
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for k in range(args.rounds + 2):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run([OUTPUT], {INPUT: batch})
            if k >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    defaults = {"width": 192, "depth": 12, "image-size": 96, "batch": 32, "rounds": 30, "threads": 1}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    batch = np.random.default_rng(0).standard_normal((args.batch, 3, args.image_size, args.image_size), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = export_both(args, Path(folder))
        sizes = {name: path.stat().st_size for name, path in files.items()}
        seconds = measure(files, batch, args)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    best = {name: min(values) for name, values in seconds.items()}
    for name in files:
        print(f"{name:7}{1000 * middle[name] / args.batch:7.2f} ms/face  {sizes[name] / 1e6:6.2f} MB")
    print(
        f"pf_vit / vit: time {middle['pf_vit'] / middle['vit']:.3f} (fastest rounds "
        f"{best['pf_vit'] / best['vit']:.3f}), file {sizes['pf_vit'] / sizes['vit']:.3f}"
    )


if __name__ == "__main__":
    main()
