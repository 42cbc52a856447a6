"""Cost of every architecture against the plain ViT: parameters, GFLOPs, images/s in training and in inference.

Usage: python benchmarks/archs.py [--init WEIGHTS | FOLDER] [--image-size N] [--rounds 5] [--batch 32]
           [--threads N] [--only ARCH ...]

Each architecture is as its bundled recipe builds it (input side, options), the plain ViT as `tiny` does. A training
step is forward, the architecture's own loss, backward and fused AdamW on resident random input, in float32; inference
is the exported model in ONNX Runtime on one thread. Architectures take turns, and a ratio is the median over the
rounds of what the architecture did over what the plain ViT did in the same round: single figures depend on what else
the machine does, ratios much less. GFLOPs are of one image's forward pass, a multiplication and an addition each
counted (torch.utils.flop_counter: matrix products and convolutions).
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from fervit.config.training import RECIPES, load_config
from fervit.export.onnx import export
from fervit.inference.model_files import shipped_checkpoint
from fervit.labels import FER7
from fervit.models import BUILDERS, build_model, save_checkpoint
from fervit.models.losses import soft_cross_entropy
from fervit.runtime.ort import onnxruntime_quietly
from fervit.types import ModelSpec

PLAIN = "vit"
RECIPE = {"vit": "tiny"}  # every other architecture's recipe has its name
WARM_UP, STEPS = 1, 3


@dataclasses.dataclass
class Contender:
    """An architecture as its recipe builds it, and what was measured of it."""

    arch: str
    side: int
    parameters: int
    gflops: float
    train: Callable[[], float]
    infer: Callable[[], float]
    trained: list[float] = dataclasses.field(default_factory=list)
    inferred: list[float] = dataclasses.field(default_factory=list)


def prepare(arch: str, init: str, image_size: int | None, batch: int, folder: Path) -> Contender:
    config = load_config(RECIPE.get(arch, arch))
    start = "scratch" if config.init == "scratch" else init
    if image_size and start == init:
        config = dataclasses.replace(config, image_size=image_size)
    torch.manual_seed(0)
    model, preprocess = build_model(start, FER7, config.image_size, arch=arch, options=config.model)
    save_checkpoint(model, ModelSpec(arch, preprocess, FER7), folder / arch)
    export(folder / arch, folder / f"{arch}.onnx")
    side = preprocess.image_size
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(pixel_values=torch.zeros(1, 3, side, side))
    return Contender(
        arch,
        side,
        sum(parameter.numel() for parameter in model.parameters()),
        counter.get_total_flops() / 1e9,
        trainer(model, side, batch),
        runner(folder / f"{arch}.onnx", side, batch),
    )


def trainer(model: Any, side: int, batch: int) -> Callable[[], float]:
    x, targets = torch.randn(batch, 3, side, side), torch.eye(len(FER7))[torch.arange(batch) % len(FER7)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        if hasattr(model, "training_loss"):
            loss = model.training_loss(x, targets)[0]
        else:
            loss = soft_cross_entropy(model(pixel_values=x).logits, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    return lambda: images_per_s(step, batch)


def runner(path: Path, side: int, batch: int) -> Callable[[], float]:
    onnxruntime = onnxruntime_quietly()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((batch, 3, side, side), dtype=np.float32)
    return lambda: images_per_s(lambda: session.run(None, {"pixel_values": x}), batch)


def images_per_s(step: Callable[[], Any], batch: int) -> float:
    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return STEPS * batch / (time.perf_counter() - start)


def ratio(ours: list[float], plain: list[float]) -> str:
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def report(contenders: list[Contender]) -> None:
    plain = next(c for c in contenders if c.arch == PLAIN)
    print("| arch | px | parameters | GFLOPs | train img/s | vs vit | ONNX img/s | vs vit |")
    print("|---|---|---|---|---|---|---|---|")
    for c in contenders:
        print(
            f"| {c.arch} | {c.side} | {c.parameters / 1e6:.2f} M | {c.gflops:.2f} "
            f"| {statistics.median(c.trained):.1f} | {ratio(c.trained, plain.trained)} "
            f"| {statistics.median(c.inferred):.1f} | {ratio(c.inferred, plain.inferred)} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--init", default=str(shipped_checkpoint()), help="weights of a ViT (default: the shipped one)")
    parser.add_argument("--image-size", type=int, help="px, of those that start from --init; default: the recipe's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of training; inference has one")
    parser.add_argument("--only", nargs="*", default=[arch for arch in BUILDERS], choices=list(BUILDERS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        contenders = []
        for arch in dict.fromkeys([PLAIN, *args.only]):
            if not (RECIPES / f"{RECIPE.get(arch, arch)}.toml").is_file():
                print(f"{arch}: no recipe of that name, left out")
                continue
            contenders.append(prepare(arch, args.init, args.image_size, args.batch, Path(folder)))
        for _ in range(args.rounds):
            for contender in contenders:
                contender.trained.append(contender.train())
                contender.inferred.append(contender.infer())
    print(
        f"batch {args.batch}, training on {args.threads} threads, {args.rounds} rounds of {STEPS} steps; median, range"
    )
    report(contenders)


if __name__ == "__main__":
    main()
