"""Images/s of masked-autoencoder pre-training against those of fine-tuning the same ViT, both through fervit's loops.

Usage: python benchmarks/pretraining.py --init WEIGHTS.safetensors [--image-size 96] [--decoder-width 128]

Pre-training runs the encoder over a quarter of the patches and a decoder over all of them;
fine-tuning follows recipe `tiny`, without its weight average and votes. The two run in turn in one process; the ratio
is taken round by round.
"""

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path

import torch
from timing import StepClock, random_faces, rate

from fervit.config.pretraining import PretrainConfig
from fervit.config.training import load_config
from fervit.labels import FER7
from fervit.models import build_model
from fervit.models.pretrained import quiet_transformers
from fervit.training.pretraining.mae import build_autoencoder
from fervit.training.pretraining.run import PretrainTrainer
from fervit.training.targets import make_targets
from fervit.training.trainer import FervitTrainer, TrainingData
from fervit.types import ModelSpec

WARM_UP = 2


def rate_of(trainer, clock, batch) -> float:
    trainer.args.eval_strategy = trainer.args.save_strategy = "no"
    with quiet_transformers():
        trainer.train()
    return rate(clock.times, batch, WARM_UP)


def pretraining(init, args, dataset, folder) -> float:
    changes = {"image_size": args.image_size, "batch_size": args.batch, "epochs": 1}
    config, clock = PretrainConfig(**changes, decoder_width=args.decoder_width), StepClock()
    model, preprocess = build_autoencoder(init, config)
    return rate_of(PretrainTrainer(model, config, preprocess, [dataset], folder, [clock]), clock, args.batch)


def fine_tuning(init, args, dataset, folder) -> float:
    changes = {"image_size": args.image_size, "batch_size": args.batch, "epochs": 1}
    config, clock = dataclasses.replace(load_config("tiny"), votes_weight=0.0, ema_decay=0.0, **changes), StepClock()
    model, preprocess = build_model(init, FER7, args.image_size)
    data = TrainingData(dataset, make_targets(dataset, config), dataset)
    spec = ModelSpec("vit", preprocess)
    return rate_of(FervitTrainer(model, config, spec, data, folder, [clock]), clock, args.batch)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--init", required=True)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--decoder-width", type=int, default=PretrainConfig.decoder_width)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()
    dataset, ratios = random_faces(args.batch * args.steps), []
    for k in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            a = pretraining(args.init, args, dataset, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            b = fine_tuning(args.init, args, dataset, Path(folder))
        ratios.append(a / b)
        print(f"round {k + 1}: pre-training {a:6.1f}, fine-tuning {b:6.1f} images/s, ratio {a / b:.2f}", flush=True)
    print(
        f"ViT at {args.image_size} px, decoder of width {args.decoder_width}, batch {args.batch}, "
        f"{torch.get_num_threads()} threads: median ratio {statistics.median(ratios):.2f} "
        f"(min {min(ratios):.2f}, max {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
