"""`tune`: the best settings for a recipe, by trials that are chosen on public_test; private_test is never read."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fervit.config.spaces import (
    Space,
    Value,
    combinations,
    contains,
    find_space,
    read_grid,
    read_space,
    to_json,
    value_of,
)
from fervit.config.training import TrainConfig
from fervit.data.dataset import PUBLIC_TEST, TRAIN, Dataset
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.errors import ConfigError, quoted
from fervit.files import cannot_write
from fervit.training.run_folder import write_json
from fervit.training.targets import make_targets, training_rows
from fervit.training.tuning.options import TRIALS, TuneKeywords, TuneOptions
from fervit.training.tuning.outcome import TuneResult, write_outcome
from fervit.training.tuning.rows import START, finished, row_of
from fervit.training.tuning.search import Search, work
from fervit.training.tuning.storage import (
    ABOUT,
    check_same_study,
    claiming,
    database_explained,
    open_storage,
    open_study,
    quiet_optuna,
    require_optuna,
)
from fervit.training.tuning.subset import with_fewer_training_images
from fervit.training.tuning.trial import Task
from fervit.training.tuning.workers import work_in_processes

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study

STUDY_FILE = "study.json"  # what tells the folder of a search from any other


def tune(
    config: TrainConfig,
    dataset: Dataset | Mixture,
    out: str | Path,
    *,
    recipe: str,
    init: str | Path | None = None,
    **options: Unpack[TuneKeywords],
) -> TuneResult:
    """Search for the settings of a recipe with the best figures on public_test; private_test is never read.

    The first trial is the recipe as it is, where its values lie in the space. A search that was stopped goes on with
    the same call, a trial that was interrupted from its last checkpoint; several processes may share one.

    Args:
        config: the settings that do not vary.
        dataset: with the splits train and public_test.
        out: the folder of the study: each trial's run, `best.toml`, `trials.csv`, `summary.md` and two pictures.
        recipe: its name or file, for the space beside it and for the records.
        init: starting weights of all trials; None takes the configuration's.
        **options: see `TuneOptions`.

    Raises:
        ConfigError: an option, the space or the database is wrong, the study was made with something else, or no trial
            could be trained.
        DataError: the data set has no train or no public_test split.
        MissingExtra: Optuna is not installed.
    """
    require_optuna()
    out, how = Path(out), TuneOptions(**options)
    if init is not None:
        config = dataclasses.replace(config, init=str(init))
    space = _space_of(how, recipe, config)
    rows = combinations(space) if how.is_grid else []
    how = dataclasses.replace(
        how,
        trials=min(how.trials or len(rows), len(rows)) if rows else how.trials or TRIALS,
        storage=how.storage or f"sqlite:///{out / 'tune.db'}",
        threads=_threads_each(how),
    )
    _check_trainable(dataset, config)
    about = _about(how, recipe, config, dataset, space)
    dataset = with_fewer_training_images(dataset, how.fraction)
    task = Task(config, dataset, out, how.objective, how.command, how.threads)
    search = Search(task, space, how, None if how.timeout_s is None else time.time() + how.timeout_s)
    _check_folder(out, _record(search))
    with quiet_optuna(), database_explained(search.storage), open_storage(search.storage) as storage:
        study = _opened(storage, search, about, rows)
        with _shown(study, search) as look:
            if how.workers == 1:
                work(search)
            else:
                work_in_processes(search, look)
        return write_outcome(study, search, about)


def _space_of(how: TuneOptions, recipe: str, config: TrainConfig) -> Space:
    if how.grid:
        return read_grid(how.grid, config)
    return read_space(find_space(recipe, config) if how.space is None else how.space, config)


def _threads_each(how: TuneOptions) -> int:
    """Return the threads of each worker: its part of those that are given, or of all cores."""
    import torch

    return max(1, (how.threads or torch.get_num_threads()) // how.workers)


def _check_trainable(dataset: Dataset | Mixture, config: TrainConfig) -> None:
    """Refuse, before the first trial, data that the recipe itself cannot learn from."""
    dataset.split(PUBLIC_TEST)
    train_set = dataset.split(TRAIN)
    training_rows(train_set, config)
    make_targets(train_set, config)


def _about(
    how: TuneOptions, recipe: str, config: TrainConfig, dataset: Dataset | Mixture, space: Space
) -> dict[str, object]:
    """Return what decides a study's results, as JSON: a study goes on only with the same."""
    votes = [part.votes for part in as_mixture(dataset).parts if part.votes is not None]
    about = {
        "recipe": Path(recipe).name,
        "data": dataset.name,
        "data_hash": dataset.data_hash,
        "votes": hashlib.sha256(b"".join(one.tobytes() for one in votes)).hexdigest() if votes else None,
        "labels": list(dataset.labels),
        "objective": how.objective,
        "fraction": how.fraction,
        "space": to_json(space),
        "settings": dataclasses.asdict(config),
    }
    plain: dict[str, object] = json.loads(json.dumps(about))
    return plain


def _opened(storage: "RDBStorage", search: Search, about: dict[str, object], rows: list[dict[str, Value]]) -> "Study":
    """Open the study, write its folder's record, and queue what is to be tried first.

    Raises:
        ConfigError: the study differs or has more trials, or the folder cannot be written.
    """
    how, out, config = search.options, search.task.out, search.task.config
    with claiming(out):
        check_same_study(storage, how.study, about, search.storage.rpartition("/")[2])
        study = open_study(storage, how.study, maximize=how.maximize)
        done = len(finished(study))
        if done > search.trials:
            raise ConfigError(
                f"study {quoted(how.study)} has {done} finished trials, and --trials {search.trials} counts all of "
                f"them: give {done} or more"
            )
        study.set_user_attr(ABOUT, about)
        try:
            write_json(out / STUDY_FILE, _record(search))
        except OSError as error:
            raise cannot_write(out, error) from error
        if not how.is_grid and contains(search.space, config):
            rows = [{key: value_of(config, key) for key in search.space}]
        for row in rows:  # again with each call: a process may have been killed here
            study.enqueue_trial(row, user_attrs={} if how.is_grid else {START: True}, skip_if_exists=True)
    return study


def _record(search: Search) -> dict[str, str]:
    """Return what a folder's `study.json` says: which study's trials it holds."""
    return {"storage": _where(search.storage), "study": search.options.study}


def _where(storage: str) -> str:
    """Return a database URL without what is secret in it, and with a file's whole path."""
    scheme, _, path = storage.partition(":///")
    if scheme.startswith("sqlite") and path:
        return f"{scheme}:///{Path(path).absolute()}"
    return f"{storage.partition('://')[0]}://{storage.rpartition('@')[2].rpartition('://')[2]}"


def _check_folder(out: Path, record: dict[str, str]) -> None:
    """Refuse a folder that holds something else than this study.

    Raises:
        ConfigError: it is a file, holds something else, or another study.
    """
    try:
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file; --out takes a folder")
        if (out / STUDY_FILE).is_file():
            if json.loads((out / STUDY_FILE).read_text(encoding="utf-8")) != record:
                raise ConfigError(f"{out} holds the trials of another study: take another --out")
            return
        names = {path.name for path in out.iterdir()} if out.exists() else set()
    except (OSError, ValueError) as error:
        raise cannot_write(out, error) from error
    others = sorted(name for name in names if not name.startswith((".lock", ".study-", "tune.db")))
    if others:
        raise ConfigError(f"{out} holds no study of fervit ({others[0]}), so it stays as it is: take another --out")


@contextmanager
def _shown(study: "Study", search: Search) -> Iterator[Callable[[], None]]:
    """Yield a function that reports trials which have finished since its last call, those of other processes too."""
    seen = {trial.number for trial in finished(study)}

    def look() -> None:
        for trial in finished(study):
            if trial.number not in seen:
                seen.add(trial.number)
                if search.options.progress is not None:
                    search.options.progress(row_of(trial))

    yield look
