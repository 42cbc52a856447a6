"""Trials as rows: what is known of each, and which is the best."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from fervit.config.spaces import Value

START = "start"  # attribute of the trial that is the recipe as it is
REASON = "reason"  # attribute of a trial: why it failed or ended early
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class TrialRow:
    """A trial that has ended.

    Attributes:
        number: from 0.
        state: `complete`, `pruned` (it lagged behind) or `failed`.
        value: the objective; of a pruned trial, its last epoch's before calibration; None where there was none.
        settings: what was varied, by the (dotted) name of the setting.
        accuracy: of the run's model on public_test, calibrated, 0..1; None unless complete, as the following.
        macro_f1: 0..1.
        nll: mean negative log-likelihood in nats.
        epoch: the best one, whose weights were kept.
        seconds: that its epochs took.
        reason: why it failed or ended early; "" for a complete one.
    """

    number: int
    state: str
    value: float | None
    settings: "Mapping[str, Value]" = field(default_factory=dict)
    accuracy: float | None = None
    macro_f1: float | None = None
    nll: float | None = None
    epoch: float | None = None
    seconds: float | None = None
    reason: str = ""


def row_of(trial: "FrozenTrial") -> TrialRow:
    """Return a trial that has ended as a row."""
    value = trial.value
    if value is None and trial.intermediate_values:
        value = trial.intermediate_values[max(trial.intermediate_values)]
    attributes = trial.user_attrs
    figures = {name: attributes.get(name) for name in ("accuracy", "macro_f1", "nll", "epoch", "seconds")}
    return TrialRow(
        trial.number, STATES[trial.state.name], value, dict(trial.params), **figures, reason=attributes.get(REASON, "")
    )


def in_state(study: "Study", name: str) -> "list[FrozenTrial]":
    """Return the trials that are `RUNNING`, `WAITING`, `COMPLETE`, `PRUNED` or `FAIL`."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == name]


def finished(study: "Study") -> "list[FrozenTrial]":
    """Return the trials that have ended: complete, pruned or failed."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def best_of(study: "Study") -> "FrozenTrial | None":
    """Return the complete trial with the best objective, the earlier of equal ones; None before the first."""
    sign = 1 if study.direction.name == "MAXIMIZE" else -1
    return max(in_state(study, "COMPLETE"), key=lambda trial: sign * float(trial.value or 0.0), default=None)
