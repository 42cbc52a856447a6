"""Training steps of a ViT by precision and attention form, in one run: why fervit trains as it does on a CPU.

Usage: python benchmarks/step_speed.py [--width 192] [--patch 16] [--image-size 96] [--batch 128] [--rounds 3]
"""

import argparse
import statistics
import time

import torch
from transformers import ViTConfig, ViTForImageClassification

STEPS, WARM_UP = 4, 2


def images_per_second(args, attention: str, bf16: bool) -> float:
    config = ViTConfig(
        hidden_size=args.width,
        num_attention_heads=args.width // 64,
        intermediate_size=4 * args.width,
        image_size=args.image_size,
        patch_size=args.patch,
        num_labels=7,
    )
    config._attn_implementation = attention
    model = ViTForImageClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, y = torch.randn(args.batch, 3, args.image_size, args.image_size), torch.randint(0, 7, (args.batch,))
    start = 0.0
    for step in range(WARM_UP + STEPS):
        if step == WARM_UP:
            start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(model(pixel_values=x).logits.float(), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return args.batch * STEPS / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("width", 192), ("patch", 16), ("image-size", 96), ("batch", 128), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    forms = [(attention, bf16) for attention in ("sdpa", "eager") for bf16 in (False, True)]
    speeds: dict[tuple[str, bool], list[float]] = {form: [] for form in forms}
    for _ in range(args.rounds):
        for form in forms:
            speeds[form].append(images_per_second(args, *form))
    base = statistics.median(speeds["sdpa", False])
    for (attention, bf16), values in speeds.items():
        middle = statistics.median(values)
        print(f"{attention:6}{'bf16' if bf16 else 'fp32'}: {middle:6.1f} images/s, {middle / base:.2f} x sdpa fp32")


if __name__ == "__main__":
    main()
