"""What tests of training have in common: a quick configuration, and a run that is interrupted."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fervit.config.training import TrainConfig, config_from_dict
from tests.helpers import QUICK


def quick_config(**values: Any) -> TrainConfig:
    """Return a configuration for small models and few images; `values` as in a recipe."""
    return config_from_dict(QUICK | values)


class StopAfterEpoch(TrainerCallback):
    """Interrupts a run as Ctrl-C would, once the checkpoint of an epoch is written."""

    def __init__(self, epoch: int = 1):
        self.epoch = epoch

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        if round(state.epoch or 0) >= self.epoch:
            raise KeyboardInterrupt
