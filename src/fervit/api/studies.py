"""Many runs of one recipe, as functions: what `fervit tune` and `fervit train --seeds` do."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fervit.api import checked_weights, configured, mixed
from fervit.errors import ConfigError
from fervit.files import as_path

if TYPE_CHECKING:
    from fervit.config import TrainConfig
    from fervit.data.mixtures.loading import Sources
    from fervit.training.options import RunKeywords
    from fervit.training.tuning.options import TuneKeywords
    from fervit.training.tuning.outcome import TuneResult
    from fervit.training.tuning.seeds import SeedFigures


def tune(
    recipe: "str | Path | TrainConfig",
    data: "Sources",
    out: str | Path,
    *,
    init: str | Path | None = None,
    votes: str | Path | None = None,
    settings: Sequence[str] = (),
    **options: "Unpack[TuneKeywords]",
) -> "TuneResult":
    """Search for the settings of a recipe with the best figures on public_test; private_test is never read.

    The same call goes on with a search that was stopped, and several processes may share one.

    >>> import fervit
    >>> fervit.tune("tiny", "fer2013.csv", "runs/tune", trials=20, fraction=0.2).best.value  # doctest: +SKIP

    Args:
        recipe: as for `train`; with a `TrainConfig`, the space is the one for its kind of architecture unless given.
        data: as for `train`.
        out: the folder of the study: each trial's run, `best.toml`, `trials.csv`, `summary.md` and two figures.
        init: starting weights of all trials, as for `train`.
        votes: as for `train`.
        settings: `key=value` texts, as those of `--set`, over the recipe's values.
        **options: the fields of `fervit.training.tuning.options.TuneOptions`, such as `trials`, `space`, `objective`
            and `workers`; with several of these, a script needs `if __name__ == "__main__":`.

    Returns:
        The best trial, all trials, the importance of the settings and the best configuration.

    Raises:
        FervitError: as `train`; an option, the space or the database is wrong; the study was made with other data or
            settings, or has more trials; or no trial could be trained.
        MissingExtra: Optuna is not installed.
    """
    config, out = configured(recipe, settings), as_path(out, "the folder of a study", ConfigError)
    dataset = mixed(data, votes=votes)
    checked_weights(init, config)
    from fervit.training.tuning.study import tune as run

    name = str(recipe) if isinstance(recipe, str | Path) else config.arch
    return run(config, dataset, out, recipe=name, init=init, **options)


def train_seeds(
    recipe: "str | Path | TrainConfig",
    data: "Sources",
    out: str | Path,
    *,
    seeds: int = 3,
    init: str | Path | None = None,
    votes: str | Path | None = None,
    **options: "Unpack[RunKeywords]",
) -> "SeedFigures":
    """Train a recipe with several seeds, and say how far its figures on public_test differ by chance.

    >>> import fervit
    >>> fervit.train_seeds("tiny", "fer2013.csv", "runs/seeds").accuracy.sd  # doctest: +SKIP

    Args:
        recipe: as for `train`; its `seed` is the first, and the others follow it.
        data: as for `train`.
        out: the folder of all runs: a run `seed-N` for each, `seeds.json` and `seeds.md`.
        seeds: how many, 2 or more.
        init: starting weights, as for `train`.
        votes: as for `train`.
        **options: as those of `train`; with `resume`, finished runs are kept.

    Returns:
        Mean, sample standard deviation and range of accuracy and macro-F1 (0..1) and NLL (nats) on public_test.

    Raises:
        FervitError: as `train`; or there are fewer than 2 seeds.
    """
    config, out = configured(recipe), as_path(out, "the folder of the runs", ConfigError)
    dataset = mixed(data, votes=votes)
    init = checked_weights(init, config)
    from fervit.training.tuning.seeds import train_seeds as run

    return run(config, dataset, out, seeds=seeds, init=init, **options)
