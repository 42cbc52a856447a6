"""The trainer over resident images: its precision and its log."""

import csv
import json
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fervit.training.trainer
from fervit.models import load_checkpoint
from fervit.training import train
from fervit.training.resident import BF16_INSTRUCTIONS, use_bf16
from tests.helpers import faces
from tests.helpers.training import StopAfterEpoch, quick_config


@pytest.mark.parametrize("instruction", [*BF16_INSTRUCTIONS, None])
def test_bf16_is_taken_where_the_cpu_multiplies_it_faster(
    instruction: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in BF16_INSTRUCTIONS:
        assert isinstance(getattr(torch.cpu, name)(), bool)  # torch still names it so
        monkeypatch.setattr(torch.cpu, name, partial(eq, name, instruction))
    assert use_bf16("auto") == (instruction is not None)
    assert use_bf16("bf16") and not use_bf16("fp32")


@pytest.mark.slow
def test_the_log_has_the_mean_loss_of_each_epoch(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    step = fervit.training.trainer.FervitTrainer.training_step

    def spy(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        losses.append(float(step(self, *args, **kwargs)))
        return torch.tensor(losses[-1])

    monkeypatch.setattr(fervit.training.trainer.FervitTrainer, "training_step", spy)
    train(quick_config(epochs=2), faces(), tmp_path / "run", init=weights)
    table = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    logged = [float(row["train_loss"]) for row in csv.DictReader(table)]
    assert logged == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])], abs=1e-5)


@pytest.mark.slow
def test_the_seconds_of_a_resumed_run_are_those_of_all_its_epochs(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(quick_config(), faces(), tmp_path / "run", init=weights, callbacks=[StopAfterEpoch()])
    train(quick_config(), faces(), tmp_path / "run", init=weights, resume=True)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        epochs = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert len(epochs) == 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seconds"] == pytest.approx(sum(epochs))


@pytest.mark.slow
def test_bf16_trains_too(tmp_path: Path, weights: Path) -> None:
    figures = train(quick_config(epochs=20, lr=3e-3, precision="bf16"), faces(112), tmp_path / "run", init=weights)
    assert figures["accuracy"] > 0.5
    assert torch.float32 == next(load_checkpoint(tmp_path / "run")[0].parameters()).dtype
