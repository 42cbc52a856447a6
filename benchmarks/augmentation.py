"""What each degradation of `training/degradation/` costs, beside a training step of the MobileNet at 112 px.

Usage: python benchmarks/augmentation.py [--batch 64] [--prob 0.2] [--rounds 15] [--steps 3]

On one thread, in CPU time, so that other processes disturb little. Grey faces of 48 px and colour faces of 100 px, as
FER2013 and RAF-DB have them; every setting on by itself with the probability `--prob`, then all together, as medians
over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from fervit.config.augmentation import DEGRADATIONS, AugmentConfig
from fervit.config.training import load_config
from fervit.labels import FER7
from fervit.models import build_model
from fervit.training.augment import Augmenter
from fervit.types import Preprocess

SIZE = 112
MEAN = STD = (0.5, 0.5, 0.5)


def milliseconds(call: Callable[[], object], rounds: int) -> float:
    """Return the median CPU time of a call."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times)


def augmentation_ms(images: torch.Tensor, rounds: int, **settings: float) -> float:
    """Return what the augmentation of a batch takes with these settings."""
    augmenter = Augmenter(AugmentConfig(**settings), Preprocess(SIZE, MEAN, STD))
    targets = torch.zeros(len(images), 7)
    torch.manual_seed(0)
    return milliseconds(lambda: augmenter(images, targets), rounds)


def step_ms(batch: int, rounds: int) -> float:
    """Return what a step of the MobileNet takes: forward, backward, AdamW."""
    model = build_model("scratch", FER7, SIZE, arch="mobilenet_v1")[0].train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, y = torch.randn(batch, 3, SIZE, SIZE), torch.randint(0, 7, (batch,))

    def step() -> None:
        torch.nn.functional.cross_entropy(model(pixel_values=x).logits, y).backward()
        optimizer.step()
        optimizer.zero_grad()

    return milliseconds(step, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--prob", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sources = {"48 px grey": (1, 48), "100 px colour": (3, 100)}
    batches = [torch.randint(0, 256, (args.batch, c, n, n), dtype=torch.uint8) for c, n in sources.values()]
    usual = load_config("mobilenet_gpu").augment
    kept = {name: getattr(usual, name) for name in ("flip_prob", "rotate_deg", "scale_min", "shift", "brightness")}
    everything = dict.fromkeys(DEGRADATIONS, args.prob)
    print(f"ms for a batch of {args.batch}, probability {args.prob} | " + " | ".join(sources))
    rows = {name: {name: args.prob} for name in DEGRADATIONS} | {"all of these": everything}
    for name, settings in rows.items():
        cost = [augmentation_ms(x, args.rounds, **settings) - augmentation_ms(x, args.rounds) for x in batches]
        print(f"{name:14} | " + " | ".join(f"{ms:6.1f}" for ms in cost))
    before = [augmentation_ms(images, args.rounds, **kept) for images in batches]
    after = [augmentation_ms(images, args.rounds, **kept, **everything) for images in batches]
    step = step_ms(args.batch, args.steps)
    print(
        "usual augmentation without, with all of these | "
        + " | ".join(f"{a:.1f}, {b:.1f}" for a, b in zip(before, after, strict=True))
    )
    print(
        f"step of the MobileNet: {step:.0f} ms; all of these: "
        + ", ".join(f"{100 * (b - a) / step:.1f} % ({name})" for name, a, b in zip(sources, before, after, strict=True))
    )


if __name__ == "__main__":
    main()
