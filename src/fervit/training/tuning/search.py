"""The loop of a search's worker: take a trial, run it, write down how it ended; several processes share a study."""

import logging
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fervit.config.spaces import Choices, Range, Space
from fervit.folders import FolderInUse, locked
from fervit.training.tuning.options import PRUNERS, TuneOptions
from fervit.training.tuning.rows import REASON, best_of, finished, in_state, row_of
from fervit.training.tuning.storage import (
    claiming,
    database_explained,
    id_of,
    open_storage,
    open_study,
    put_back,
    quiet_optuna,
)
from fervit.training.tuning.trial import OutOfTime, Task, failure_of, folder_of, run_trial, trim

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import Trial

MOST_RESTARTS = 3  # of a trial whose process was killed: it may itself be what uses up the memory
RESTARTS = "restarts"  # attribute of a trial

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """What a worker needs to take part in a search.

    Attributes:
        task: what all trials have in common.
        space: what varies.
        options: how it is carried out, with the number of trials and the storage set.
        deadline: in seconds since the epoch; None without a limit.
    """

    task: Task
    space: Space
    options: TuneOptions
    deadline: float | None

    @property
    def trials(self) -> int:
        """How many trials are finished at the end."""
        assert self.options.trials is not None
        return self.options.trials

    @property
    def storage(self) -> str:
        """The database."""
        assert self.options.storage is not None
        return self.options.storage


def work(search: Search, worker: int = 0) -> None:
    """Run trials until as many are finished or taken as the search wants, or its time is over.

    Raises:
        ConfigError: the database or a folder cannot be written, or the disk is full.
        FervitError: something else that concerns every trial.
    """
    with quiet_optuna(), database_explained(search.storage), open_storage(search.storage) as storage:
        study = _own_study(storage, search, worker)
        while search.deadline is None or time.time() < search.deadline:
            with ExitStack() as held:
                with claiming(search.task.out):
                    reclaim(storage, study, search)
                    if len(finished(study)) + len(in_state(study, "RUNNING")) >= search.trials:
                        return
                    trial = study.ask(distributions(search.space))
                    held.enter_context(locked(folder_of(search.task.out, trial.number)))
                _carry_out(storage, study, trial, search)
            _report(study, trial.number, search)


def reclaim(storage: "RDBStorage", study: "Study", search: Search) -> None:
    """Put trials whose process was killed back in the queue: they go on in their folder, from the last checkpoint.

    Only those of this folder: another machine's are not known to be dead. The folder of the study must be held.
    """
    import optuna

    for trial in in_state(study, "RUNNING"):
        folder = folder_of(search.task.out, trial.number)
        try:
            with locked(folder):
                pass
        except FolderInUse:
            continue
        restarts = int(trial.user_attrs.get(RESTARTS, 0)) + 1
        trial_id = id_of(storage, study, trial.number)
        if restarts > MOST_RESTARTS:
            storage.set_trial_user_attr(trial_id, REASON, f"its process was killed {restarts} times")
            storage.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)
            continue
        storage.set_trial_user_attr(trial_id, RESTARTS, restarts)
        put_back(storage, study, trial.number)
        logger.warning("trial %d was interrupted and goes on", trial.number)


def distributions(space: Space) -> "dict[str, BaseDistribution]":
    """Return a space as Optuna has it."""
    return {key: _distribution(one) for key, one in space.items()}


def _distribution(one: Range | Choices) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, Choices):
        return CategoricalDistribution(one.values)
    if isinstance(one.low, int) and isinstance(one.high, int):
        return IntDistribution(one.low, one.high, log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)


def _own_study(storage: "RDBStorage", search: Search, worker: int) -> "Study":
    options = search.options
    study = open_study(storage, options.study, maximize=options.maximize, pruner=_pruner(search))
    # Each process, and each call that goes on with a study, draws numbers of its own; the first one repeats itself.
    study.sampler = _sampler(options, seed=options.seed + 1000 * worker + len(study.get_trials(deepcopy=False)))
    return study


def _sampler(options: TuneOptions, seed: int) -> "BaseSampler":
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    first = max(3, min(10, (options.trials or 0) // 3))  # drawn at random, before there is anything to learn from
    if options.sampler == "gp":
        return GPSampler(seed=seed, n_startup_trials=first)
    if options.sampler == "tpe":
        return TPESampler(seed=seed, n_startup_trials=first, constant_liar=True)
    return RandomSampler(seed=seed)


def _pruner(search: Search) -> "BasePruner":
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    name = search.options.pruner or ("none" if search.options.is_grid else "hyperband")
    assert name in PRUNERS, name
    if name == "median":
        return MedianPruner(n_startup_trials=3)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=most_epochs(search))
    return NopPruner()


def most_epochs(search: Search) -> int:
    """Return the epochs of the longest trial."""
    varied = search.space.get("epochs")
    if isinstance(varied, Choices):
        return max(int(value) for value in varied.values)
    return search.task.config.epochs if varied is None else int(varied.high)


def _carry_out(storage: "RDBStorage", study: "Study", trial: "Trial", search: Search) -> None:
    """Run a trial and write down how it ended; where the search itself is stopped, put it back in the queue."""
    import optuna

    state = optuna.trial.TrialState
    try:
        value = run_trial(trial, search.task, search.deadline)
    except OutOfTime:
        put_back(storage, study, trial.number)
        logger.warning("time is over: trial %d is put aside and goes on with the next call", trial.number)
        return
    except optuna.TrialPruned as pruned:
        trial.set_user_attr(REASON, str(pruned))
        study.tell(trial, state=state.PRUNED)
    except BaseException as error:
        if not isinstance(error, Exception) or (why := failure_of(error)) is None:
            with suppress(Exception):  # the database may be what failed
                put_back(storage, study, trial.number)
            raise
        trial.set_user_attr(REASON, why)
        study.tell(trial, state=state.FAIL)
    else:
        study.tell(trial, value)
    _trim_all(study, search)


def _trim_all(study: "Study", search: Search) -> None:
    """Delete the checkpoints of finished trials, and the models of all but the best one."""
    with claiming(search.task.out):
        best = best_of(study)
        for trial in finished(study):
            keep = best is not None and trial.number == best.number
            trim(folder_of(search.task.out, trial.number), keep_model=keep)


def _report(study: "Study", number: int, search: Search) -> None:
    trial = study.get_trials(deepcopy=False)[number]
    if search.options.progress is not None and trial.state.is_finished():
        search.options.progress(row_of(trial))
