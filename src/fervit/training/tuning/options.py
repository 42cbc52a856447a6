"""How a search over a recipe's settings is carried out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from fervit.errors import ConfigError, is_count, is_number, quoted, unknown

if TYPE_CHECKING:
    from fervit.config.spaces import Value
    from fervit.training.tuning.rows import TrialRow

OBJECTIVES = ("macro_f1", "accuracy", "nll")
SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = ("hyperband", "median", "none")
TRIALS = 20  # where neither a number nor a grid is given


@dataclass(frozen=True)
class TuneOptions:
    """How a search over a recipe's settings is carried out.

    Attributes:
        trials: finished trials in the study at the end, those of earlier calls included; None is 20, or every
            combination of a grid.
        storage: the study's database as SQLAlchemy's URL, such as `sqlite:///runs/tune.db`; None is `tune.db` in the
            folder of the study.
        study: its name in the database.
        space: what varies, as a TOML file or a mapping (see `fervit.config.spaces`); None takes the file beside the
            recipe, or the one that fervit has for its kind of architecture.
        grid: the values of a sweep, as texts such as `lr=2e-5,5e-5` or by name, in place of a space.
        sampler: `tpe` (tree-structured Parzen estimator, Bergstra et al. 2011), `gp` (Gaussian process), `random`, or
            `grid`: every combination of a space whose settings have values or steps.
        pruner: what ends a trial early that lags behind after an epoch: `hyperband` (Li et al. 2018, arXiv 1603.06560),
            `median` or `none`; None is `none` for a grid, so that its rows are complete, and else `hyperband`.
        objective: of public_test: `macro_f1`, `accuracy` or `nll`.
        fraction: of the training images that every trial learns from, the same ones, stratified by label; 0..1.
        workers: processes that share the study on this machine.
        threads: CPU threads of all workers together; None is all cores.
        timeout_s: wall time after which no trial starts, and the one that runs is put aside for the next call; None is
            no limit.
        seed: of the sampler; `seed` of the recipe is that of every trial.
        command: the command line, for the records.
        progress: called with each trial that has finished.
    """

    trials: int | None = None
    storage: str | None = None
    study: str = "tune"
    space: "str | Path | Mapping[str, object] | None" = None
    grid: "Sequence[str] | Mapping[str, Sequence[Value]]" = ()
    sampler: str = "tpe"
    pruner: str | None = None
    objective: str = "macro_f1"
    fraction: float = 1.0
    workers: int = 1
    threads: int | None = None
    timeout_s: float | None = None
    seed: int = 0
    command: str = ""
    progress: "Callable[[TrialRow], None] | None" = None

    def __post_init__(self) -> None:
        for name, choices in (("sampler", SAMPLERS), ("objective", OBJECTIVES), ("pruner", PRUNERS)):
            value = getattr(self, name)
            if value not in choices and not (name == "pruner" and value is None):
                raise ConfigError(unknown(name, value, choices))
        for name in ("trials", "workers", "threads"):
            value = getattr(self, name)
            if not is_count(value) and not (name != "workers" and value is None):
                raise ConfigError(f"{name} must be a whole number from 1, got {quoted(value)}")
        if not is_count(self.seed, 0):
            raise ConfigError(f"seed must be a whole number from 0, got {quoted(self.seed)}")
        if not (is_number(self.fraction) and 0 < self.fraction <= 1):
            raise ConfigError(f"fraction must be above 0 and at most 1, got {quoted(self.fraction)}")
        if self.timeout_s is not None and not (is_number(self.timeout_s) and self.timeout_s > 0):
            raise ConfigError(f"timeout_s must be a number of seconds above 0, got {quoted(self.timeout_s)}")
        if not self.study or not self.study.isprintable():
            raise ConfigError(f"study must be a printable name, got {quoted(self.study)}")
        if self.grid and self.space is not None:
            raise ConfigError("--grid sweeps over its own values: leave --space away, or put the values there")

    @property
    def maximize(self) -> bool:
        """Whether a larger objective is better."""
        return self.objective != "nll"

    @property
    def is_grid(self) -> bool:
        """Whether combinations are gone through one after another, instead of drawn."""
        return bool(self.grid) or self.sampler == "grid"


class TuneKeywords(TypedDict, total=False):
    """`TuneOptions` as keywords of a function."""

    trials: int | None
    storage: str | None
    study: str
    space: "str | Path | Mapping[str, object] | None"
    grid: "Sequence[str] | Mapping[str, Sequence[Value]]"
    sampler: str
    pruner: str | None
    objective: str
    fraction: float
    workers: int
    threads: int | None
    timeout_s: float | None
    seed: int
    command: str
    progress: "Callable[[TrialRow], None] | None"
