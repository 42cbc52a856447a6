"""Settings: recipes of training and pre-training, and the options of every architecture. No numpy, no torch."""

from fervit.config.augmentation import AugmentConfig
from fervit.config.training import TrainConfig, load_config

__all__ = ["AugmentConfig", "TrainConfig", "load_config"]
