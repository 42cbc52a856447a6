"""Training speed on two data sets of different size and channels, against the first alone, on one thread.

    python benchmarks/mixture_speed.py fer2013.parquet rafdb_train.parquet --recipe mobilenet_v1 --init models/mobilenet
    python benchmarks/mixture_speed.py fer2013.parquet rafdb_train.parquet --recipe tiny --init shipped

Steps of both runs take turns, and their CPU time is compared, so that other work on the machine changes little.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from fervit.config.training import TrainConfig, load_config
from fervit.data.mixtures.loading import load_mixture
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.inference.model_files import starting_weights
from fervit.models import build_model
from fervit.training.mixed.data import TrainingData
from fervit.training.targets import make_targets
from fervit.training.trainer import FervitTrainer
from fervit.types import ModelSpec

WARM_UP = 2


def trainer_of(data: Mixture, config: TrainConfig, init: str, out: Path) -> FervitTrainer:
    """Return a trainer that is ready to take a step."""
    model, preprocess = build_model(
        starting_weights(init), data.labels, config.image_size, arch=config.arch, options=config.model
    )
    spec = ModelSpec(arch=str(model.config.model_type), preprocess=preprocess, labels=data.labels)
    train = data.split("train")
    validation = data.split("public_test").take(np.arange(1))
    trainer = FervitTrainer(model, config, spec, TrainingData(train, make_targets(train, config), validation), out)
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def step_time(trainer: FervitTrainer, rows: np.ndarray) -> float:
    """Take a step; return its CPU time in seconds."""
    start = time.process_time()
    trainer.training_step(trainer.model, {"rows": torch.from_numpy(rows), "host_rows": rows})
    assert trainer.optimizer is not None
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return time.process_time() - start


def main() -> None:
    """Print the images per second of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--recipe", default="mobilenet_v1")
    parser.add_argument("--init", default="models/mobilenet")
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(options.recipe, ["image_size=96", "batch_size=64", "votes_weight=0"])
    mixed = as_mixture(load_mixture([options.first, options.second]))
    alone = Mixture(mixed.parts[:1], (1.0,))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            "alone": trainer_of(alone, config, options.init, Path(folder) / "alone"),
            "mixed": trainer_of(mixed, config, options.init, Path(folder) / "mixed"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        for _ in range(WARM_UP + options.steps):
            for name, trainer in trainers.items():
                seconds[name].append(step_time(trainer, rng.integers(0, len(trainer.images), config.batch_size)))
    speed = {name: config.batch_size / statistics.median(times[WARM_UP:]) for name, times in seconds.items()}
    print(", ".join(f"{name} {value:.1f} images/s" for name, value in speed.items()), end="; ")
    print(f"mixed / alone {speed['mixed'] / speed['alone']:.3f}")


if __name__ == "__main__":
    main()
