"""Images/s of fervit's training loop against a bare forward/backward/step loop on resident tensors.

Usage: python benchmarks/training_loop.py [--init WEIGHTS.safetensors | FOLDER] [--image-size 96] [--rounds 5]

Both use the same model, batch, precision and fused AdamW. fervit's loop also gathers the batch, augments it by
the paper's recipe (blur, brightness), clips gradients, schedules the learning rate, logs and drives callbacks; on a
CPU it gives every core a chunk of the batch, where the bare loop leaves the cores to PyTorch.
The two run in turn in one process; the ratio is taken round by round.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import torch
from timing import StepClock, random_faces, rate

from fervit.config.training import load_config
from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.pretrained import quiet_transformers
from fervit.training.resident import use_bf16
from fervit.training.targets import make_targets
from fervit.training.trainer import FervitTrainer, TrainingData
from fervit.types import ModelSpec

WARM_UP = 3


def ours(model, preprocess, config, dataset, folder) -> float:
    clock = StepClock()
    data = TrainingData(dataset, make_targets(dataset, config), dataset)
    trainer = FervitTrainer(model, config, ModelSpec("vit", preprocess), data, folder, [clock])
    trainer.args.eval_strategy = trainer.args.save_strategy = "no"
    with quiet_transformers():
        trainer.train()
    return rate(clock.times, config.batch_size, WARM_UP)


def bare(model, preprocess, config, steps) -> float:
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, fused=True)
    side = preprocess.image_size
    x, y = torch.randn(config.batch_size, 3, side, side), torch.randint(0, 7, (config.batch_size,))
    times = []
    for _ in range(steps):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_bf16(config.precision)):
            logits = model(pixel_values=x).logits
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
    return rate(times, config.batch_size, WARM_UP)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--init", required=True)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    config = dataclasses.replace(load_config("paper"), image_size=args.image_size, epochs=1, batch_size=args.batch)
    dataset = random_faces(config.batch_size * args.steps)
    ratios = []
    for k in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            model, preprocess = build_model(args.init, FER7, args.image_size)
            a = ours(model, preprocess, config, dataset, Path(folder))
        model, preprocess = build_model(args.init, FER7, args.image_size)
        b = bare(model.train(), preprocess, config, args.steps)
        ratios.append(a / b)
        print(f"round {k + 1}: fervit {a:6.1f} images/s, bare {b:6.1f} images/s, ratio {a / b:.3f}", flush=True)
    print(
        f"ViT at {args.image_size} px, batch {config.batch_size}, {torch.get_num_threads()} threads, "
        f"{'bf16' if use_bf16(config.precision) else 'fp32'}: median ratio {statistics.median(ratios):.3f} "
        f"(min {min(ratios):.3f}, max {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
