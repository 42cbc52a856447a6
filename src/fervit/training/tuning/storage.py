"""The study's database, and the lock under which the processes of one folder take their trials."""

import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fervit.errors import ConfigError, MissingExtra, quoted, reason
from fervit.files import as_path, cannot_write
from fervit.folders import FolderInUse, locked

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.study import Study

ABOUT = "fervit"  # the attribute of a study that says what it was made with
SQLITE_WAIT_S = 60  # for another process that writes
CLAIM_WAIT_S = 120  # for another process that takes a trial, which takes parts of a second
SQLITE = re.compile(r"sqlite(\+\w+)?:///(?P<path>[^?]+)")


def require_optuna() -> None:
    """Raise `MissingExtra` when Optuna is not installed."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise MissingExtra("tuning", "tune")


@contextmanager
def open_storage(url: str) -> "Iterator[RDBStorage]":
    """Open a study's database, and close it at the end; for SQLite, the file and its folder are made.

    Raises:
        ConfigError: it is no database URL, or the database cannot be opened or written.
    """
    import optuna
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    if "://" not in url:
        hint = f"did you mean sqlite:///{url}? " if url.endswith((".db", ".sqlite", ".sqlite3")) else ""
        raise ConfigError(f"--storage takes a database URL such as sqlite:///runs/tune.db, got {quoted(url)}; {hint}")
    arguments = {}
    if url.startswith("sqlite"):
        found = SQLITE.fullmatch(url)
        if found is None:
            raise ConfigError(
                f"--storage needs the path of a file after sqlite:///, as in sqlite:///runs/tune.db; got {quoted(url)}"
            )
        _make_folder_of(as_path(found["path"], "a database", ConfigError))
        arguments = {"connect_args": {"timeout": SQLITE_WAIT_S}}
    try:
        with quiet_optuna():
            storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
    except ArgumentError as error:
        raise ConfigError(
            f"--storage takes a database URL such as sqlite:///runs/tune.db, got {quoted(url)}"
        ) from error
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"cannot open the database {quoted(url)}: {_cause(error)}") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _make_folder_of(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):  # SQLite opens what it cannot write to, and fails later
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


def _cause(error: BaseException) -> str:
    """Return the words of the database itself: SQLAlchemy wraps them."""
    original = getattr(error, "orig", None) or error
    while original.__cause__ is not None:
        original = original.__cause__
    return reason(original)


@contextmanager
def database_explained(url: str) -> Iterator[None]:
    """Turn a database that fails while it is used, such as on a full disk, into a `ConfigError`."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise ConfigError(f"cannot use the database {quoted(url)}: {_cause(error)}") from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log lines and its warnings of experimental features from the terminal."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", message="The reported value is ignored")  # of a resumed trial's epoch
            yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(
    storage: "RDBStorage",
    name: str,
    *,
    maximize: bool,
    sampler: "BaseSampler | None" = None,
    pruner: "BasePruner | None" = None,
) -> "Study":
    """Open a study, or make it."""
    import optuna

    return optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        direction="maximize" if maximize else "minimize",
        sampler=sampler,
        pruner=pruner,
    )


def id_of(storage: "RDBStorage", study: "Study", number: int) -> int:
    """Return the database's id of a trial."""
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study.study_name), number)


def put_back(storage: "RDBStorage", study: "Study", number: int) -> None:
    """Put a trial that runs back in the queue: whoever asks next takes it up with the same settings."""
    import optuna

    storage.set_trial_state_values(id_of(storage, study, number), optuna.trial.TrialState.WAITING)


def check_same_study(storage: "RDBStorage", name: str, about: Mapping[str, object], where: str) -> None:
    """Refuse a study that was made with something else.

    Raises:
        ConfigError: the study exists and is no fervit study, or differs; the message names what differs.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return
    before = storage.get_study_user_attrs(study_id).get(ABOUT)
    if before is None:
        if not storage.get_all_trials(study_id, deepcopy=False, states=None):
            return  # made by a process that was killed before it wrote anything
        raise ConfigError(f"study {quoted(name)} in {where} is not one of fervit's: take another --study")
    assert isinstance(before, dict), before
    other = sorted(_differing(before, about))
    if other:
        raise ConfigError(
            f"study {quoted(name)} in {where} was made with another {', '.join(other)}: give the same, or take "
            "another --study or --storage"
        )


def _differing(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for key in {*old, *new}:
        before, now = old.get(key), new.get(key)
        if key in ("settings", "model", "augment") and isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differing(before, now, prefix if key == "settings" else f"{key}.")
        elif before != now:
            yield prefix + key


@contextmanager
def claiming(out: Path) -> Iterator[None]:
    """Hold the study's folder while a trial is taken or finished; wait for another process that holds it.

    Raises:
        ConfigError: it cannot be written to, or is held for minutes, by a run that was started in it.
    """
    end = time.monotonic() + CLAIM_WAIT_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(out))
                break
            except FolderInUse:
                if time.monotonic() > end:
                    raise
            time.sleep(0.02)
        yield
