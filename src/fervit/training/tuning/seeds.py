"""One recipe over several seeds: how far its figures on public_test differ by chance."""

import dataclasses
import json
import re
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from fervit.config.training import TrainConfig
from fervit.data.dataset import PUBLIC_TEST, TRAIN, Dataset
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.errors import ConfigError, is_count, quoted
from fervit.files import cannot_write
from fervit.folders import RUN_FILE, SEEDS_FILE, check_seeds_folder, clear_run, locked
from fervit.formatting import markdown_table
from fervit.inference.model_files import starting_weights
from fervit.training.finetune import RunFigures, train
from fervit.training.mixed.record import describe_data
from fervit.training.options import RunKeywords
from fervit.training.run_folder import check_same, describe, write_json, write_whole

MARKDOWN_FILE = "seeds.md"
FOLDER = re.compile(r"seed-\d+")


@dataclass(frozen=True)
class Spread:
    """A figure over several seeds.

    Attributes:
        values: one for each seed, in order.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float:
        """Their sample standard deviation (divided by the number of seeds minus 1)."""
        return statistics.stdev(self.values)

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest."""
        return max(self.values)

    def to_dict(self) -> dict[str, float | list[float]]:
        """Return the JSON object."""
        return {"mean": self.mean, "sd": self.sd, "low": self.low, "high": self.high, "values": list(self.values)}


@dataclass(frozen=True)
class SeedFigures:
    """What one recipe reaches on public_test over several seeds; the models are calibrated on the same images.

    Attributes:
        seeds: in order.
        accuracy: 0..1.
        macro_f1: 0..1.
        nll: mean negative log-likelihood, in nats.
        count: validation images.
        out: the folder, with a run `seed-N` for each seed, `seeds.json` and `seeds.md`.
    """

    seeds: tuple[int, ...]
    accuracy: Spread
    macro_f1: Spread
    nll: Spread
    count: int
    out: Path

    def to_dict(self) -> dict[str, object]:
        """Return the JSON object."""
        return {
            "split": PUBLIC_TEST,
            "n": self.count,
            "seeds": list(self.seeds),
            "accuracy": self.accuracy.to_dict(),
            "macro_f1": self.macro_f1.to_dict(),
            "nll": self.nll.to_dict(),
        }

    def to_markdown(self) -> str:
        """Return the figures as a Markdown table of one line: mean, standard deviation and range of each."""
        name = f"{self.out.name}, seeds {self.seeds[0]} to {self.seeds[-1]}"
        cells = [
            name,
            _text(self.accuracy, factor=100, digits=2, unit=" %"),
            _text(self.macro_f1, digits=4),
            _text(self.nll, digits=4),
        ]
        return markdown_table([f"{PUBLIC_TEST} (n = {self.count:,})", "accuracy", "macro-F1", "NLL"], [cells])


def _text(spread: Spread, *, digits: int, factor: float = 1, unit: str = "") -> str:
    mean, sd, low, high = (
        f"{factor * value:.{digits}f}" for value in (spread.mean, spread.sd, spread.low, spread.high)
    )
    return f"{mean} ± {sd}{unit} ({low} to {high})"


def train_seeds(
    config: TrainConfig,
    dataset: Dataset | Mixture,
    out: str | Path,
    *,
    seeds: int,
    init: str | Path | None = None,
    **options: Unpack[RunKeywords],
) -> SeedFigures:
    """Train with the configuration's seed and those after it, each run in a folder `seed-N` of `out`.

    With `resume`, finished runs are kept and the one that was stopped goes on.

    Args:
        config: the settings of every run; `seed` is the first.
        dataset: as for `finetune.train`.
        out: the folder of all runs.
        seeds: how many, 2 or more.
        init: starting weights, as for `finetune.train`.
        **options: see `RunOptions`.

    Raises:
        ConfigError: fewer than 2 seeds, `out` is in the way, or as `finetune.train`.
        DataError: as `finetune.train`.
        ModelError: as `finetune.train`.
    """
    check_seeds(seeds)
    out = Path(out)
    resume, overwrite = options.get("resume", False), options.get("overwrite", False)
    configs = [dataclasses.replace(config, seed=config.seed + k) for k in range(seeds)]
    check_seeds_folder(out, resume=resume, overwrite=overwrite)
    with locked(out):
        if overwrite:
            _clear(out)
        write_json(out / SEEDS_FILE, {"seeds": [one.seed for one in configs], "command": options.get("command", "")})
        kept = options | {"overwrite": False}
        results = [_run(one, dataset, out / f"seed-{one.seed}", init, kept) for one in configs]
        figures = _figures_of(configs, results, out)
        about = {"command": options.get("command", ""), "config": dataclasses.asdict(config)}
        write_json(out / SEEDS_FILE, {**figures.to_dict(), **about})
        write_whole(out / MARKDOWN_FILE, figures.to_markdown() + "\n")
    return figures


def check_seeds(seeds: object) -> None:
    """Refuse a number of seeds that says nothing about chance.

    Raises:
        ConfigError: it is no whole number from 2.
    """
    if not is_count(seeds, 2):
        raise ConfigError(f"expected 2 or more seeds, got {quoted(seeds)}: with one, train without --seeds")


def _clear(out: Path) -> None:
    """Delete the runs of earlier seeds; other files stay."""
    try:
        for folder in out.iterdir() if out.is_dir() else ():
            if FOLDER.fullmatch(folder.name) and (folder / RUN_FILE).is_file():
                with locked(folder):
                    clear_run(folder)
                shutil.rmtree(folder, ignore_errors=True)
        for name in (SEEDS_FILE, MARKDOWN_FILE):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error


def _run(
    config: TrainConfig, dataset: Dataset | Mixture, out: Path, init: str | Path | None, options: RunKeywords
) -> RunFigures:
    """Train with one seed, or return the figures of its finished run."""
    if options.get("resume") and (found := _finished(out)) is not None:
        data = as_mixture(dataset)
        record = describe_data(data, np.ones(len(data.split(TRAIN)), bool), None)
        weights = str(starting_weights(init or config.init))
        run = describe(dataclasses.asdict(config), record, init=weights, command="")
        check_same(out, run, dataclasses.asdict(TrainConfig(model=type(config.model)())))
        return found
    return train(config, dataset, out, init=init, **options)


def _finished(out: Path) -> RunFigures | None:
    """Return the figures of a run that has ended; None where it has not, or cannot be read."""
    try:
        figures: RunFigures | None = json.loads((out / RUN_FILE).read_text(encoding="utf-8")).get(PUBLIC_TEST)
    except (OSError, ValueError):
        return None
    return figures


def _figures_of(configs: Sequence[TrainConfig], results: Sequence[RunFigures], out: Path) -> SeedFigures:
    return SeedFigures(
        seeds=tuple(config.seed for config in configs),
        accuracy=Spread(tuple(result["accuracy"] for result in results)),
        macro_f1=Spread(tuple(result["macro_f1"] for result in results)),
        nll=Spread(tuple(result["loss"] for result in results)),
        count=results[0]["n"],
        out=out,
    )
