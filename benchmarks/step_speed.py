"""Training steps by attention form, precision and use of the cores: why fervit trains as it does on a CPU.

Usage: python benchmarks/step_speed.py [--width 192] [--patch 16] [--image-size 96] [--batch 128] [--rounds 3]
           [--bf16]
       python benchmarks/step_speed.py --arch mobilenet_v1 --batch 64
"""

import argparse
import itertools
import statistics
import time
from typing import Any

import torch
from transformers import ViTConfig, ViTForImageClassification

from fervit.labels import FER7
from fervit.models import FROM_SCRATCH, build_model
from fervit.training.parallel import Workers, prepare_for_chunks

STEPS, WARM_UP = 4, 2


def new_model(args, attention: str) -> Any:
    if args.arch != "vit":
        return build_model("scratch", FER7, args.image_size, arch=args.arch)[0]
    config = ViTConfig(
        hidden_size=args.width,
        num_attention_heads=args.width // 64,
        intermediate_size=4 * args.width,
        image_size=args.image_size,
        patch_size=args.patch,
        num_labels=7,
    )
    config._attn_implementation = attention
    return ViTForImageClassification(config)


def images_per_second(args, attention: str, bf16: bool, chunked: bool) -> float:
    model = new_model(args, attention).train()
    if chunked:
        prepare_for_chunks(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, y = torch.randn(args.batch, 3, args.image_size, args.image_size), torch.randint(0, 7, (args.batch,))

    def loss_of(chunk: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return torch.nn.functional.cross_entropy(model(pixel_values=chunk[0]).logits.float(), chunk[1])

    start = 0.0
    with Workers(torch.get_num_threads() if chunked else 1) as workers:
        for step in range(WARM_UP + STEPS):
            if step == WARM_UP:
                start = time.perf_counter()
            if chunked:
                workers.gradients(model, loss_of, (x, y))
            else:
                loss_of((x, y)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return args.batch * STEPS / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("width", 192), ("patch", 16), ("image-size", 96), ("batch", 128), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--arch", default="vit", choices=("vit", *FROM_SCRATCH))
    parser.add_argument("--bf16", action="store_true", help="Also in bfloat16; slow where the CPU has no unit for it.")
    args = parser.parse_args()
    attentions = ("sdpa", "eager") if args.arch == "vit" else ("",)
    forms = list(itertools.product(attentions, (False, True) if args.bf16 else (False,), (False, True)))
    speeds: dict[tuple[str, bool, bool], list[float]] = {form: [] for form in forms}
    for _ in range(args.rounds):
        for form in forms:
            speeds[form].append(images_per_second(args, *form))
    for form, values in speeds.items():
        ratios = [value / base for value, base in zip(values, speeds[forms[0]], strict=True)]
        attention, bf16, chunked = form
        print(
            f"{attention:5} {'bf16' if bf16 else 'fp32'} {'a chunk for every core' if chunked else 'whole batches':22} "
            f"{statistics.median(values):6.1f} images/s, {statistics.median(ratios):.2f} x the first "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
