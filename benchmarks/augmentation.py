"""What each degradation of `training/degradation/` costs, beside a training step of the MobileNet at 112 px.

Usage: python benchmarks/augmentation.py [--batch 64] [--prob 0.2] [--rounds 25] [--steps 3]

On one thread, in CPU time, so that other processes disturb little. Grey faces of 48 px and colour faces of 100 px, as
FER2013 and RAF-DB have them, augmented with flip, rotation, scale and shift; every degradation by itself with the
probability `--prob`, then all together: the median over the rounds of the time that it adds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from fervit.config.augmentation import DEGRADATIONS
from fervit.config.training import config_from_dict
from fervit.labels import FER7
from fervit.models import build_model
from fervit.training.augment import Augmenter
from fervit.types import Preprocess

SIZE = 112
MEAN = STD = (0.5, 0.5, 0.5)
USUAL = {"flip_prob": 0.5, "rotate_deg": 15.0, "scale_min": 0.75, "shift": 0.1}


def augmenter(settings: dict[str, float]) -> Augmenter:
    return Augmenter(config_from_dict({"augment": USUAL | settings}).augment, Preprocess(SIZE, MEAN, STD))


def milliseconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    call()
    return 1e3 * (time.process_time() - start)


def added_ms(images: torch.Tensor, rounds: int, settings: dict[str, float]) -> float:
    """Return the median of what settings add to the augmentation of a batch, with and without taking turns."""
    targets = torch.zeros(len(images), 7)
    plain, degraded = augmenter({}), augmenter(settings)
    added = []
    for k in range(rounds + 2):
        torch.manual_seed(k)
        before = milliseconds(lambda: plain(images, targets))
        added.append(milliseconds(lambda: degraded(images, targets)) - before)
    return statistics.median(added[2:])


def step_ms(batch: int, rounds: int) -> float:
    """Return the median of a step of the MobileNet: forward, backward, AdamW."""
    model = build_model("scratch", FER7, SIZE, arch="mobilenet_v1")[0].train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, y = torch.randn(batch, 3, SIZE, SIZE), torch.randint(0, 7, (batch,))

    def step() -> None:
        torch.nn.functional.cross_entropy(model(pixel_values=x).logits, y).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return statistics.median(milliseconds(step) for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--prob", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sources = {"48 px grey": (1, 48), "100 px colour": (3, 100)}
    batches = [torch.randint(0, 256, (args.batch, c, n, n), dtype=torch.uint8) for c, n in sources.values()]
    print(f"ms added to a batch of {args.batch}, probability {args.prob}")
    print(" " * 15 + "".join(f"{name:>15}" for name in sources))
    rows = {name: {name: args.prob} for name in DEGRADATIONS} | {"all": dict.fromkeys(DEGRADATIONS, args.prob)}
    for name, settings in rows.items():
        added = [added_ms(images, args.rounds, settings) for images in batches]
        print(f"{name:15}" + "".join(f"{ms:15.1f}" for ms in added))
    step = step_ms(args.batch, args.steps)
    print(f"{'of a step':15}" + "".join(f"{100 * ms / step:13.1f} %" for ms in added) + f"   (a step: {step:.0f} ms)")


if __name__ == "__main__":
    main()
