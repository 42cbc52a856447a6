"""The folder of a run: claimed without clobbering, described by `run.json`, resumable, safe on a full disk."""

import errno
import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from fervit import __version__
from fervit.data.dataset import Dataset
from fervit.errors import ConfigError, reason
from fervit.files import replacing
from fervit.training.options import RunOptions

CHECKPOINTS = "checkpoints"
RUN_FILE = "run.json"
# What a process that was killed while it wrote the first run.json leaves behind: `replacing`'s file, and the name that
# earlier versions of fervit gave it.
UNFINISHED = (".run-*.json", ".run.json.part")
PACKAGES = ("torch", "transformers", "numpy")

Settings = Mapping[str, Any]
"""A configuration as `dataclasses.asdict` gives it: values, or tables of values, by name."""


class Source(TypedDict):
    """One of several data sets: its name, its hash, and how many of its images were learnt from."""

    name: str
    hash: str
    n_train: int


class DataRecord(TypedDict, total=False):
    """What `run.json` says of the data.

    Attributes:
        name: of the data set, or of all of them.
        hash: of its content.
        n_train: images that were learnt from.
        n_val: images that were validated on.
        votes: hash of the FER+ votes, where there are any.
        grey: whether all images have one channel.
        sources: the data sets of pre-training.
    """

    name: str
    hash: str
    n_train: int
    n_val: int
    votes: str
    grey: bool
    sources: list[Source]


class RunRecord(TypedDict, total=False):
    """What `run.json` says of a run; a teacher is there where it had one, the last three when it has ended."""

    command: str
    config: Settings
    init: str
    data: DataRecord
    versions: dict[str, str]
    git: str | None
    threads: int
    device: str
    teacher: Mapping[str, str]
    seconds: float
    public_test: Mapping[str, object]
    pretraining: Mapping[str, object]


def claim(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make `out` ready, never clobbering an earlier run by accident.

    Raises:
        ConfigError: as `check_out` says, or it cannot be made.
    """
    check_out(out, resume=resume, overwrite=overwrite)
    if overwrite and (out / RUN_FILE).is_file():
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create {out}: {reason(error)}") from error


def check_out(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that a run cannot go into; nothing is changed.

    Raises:
        ConfigError: it is a file, or already holds something and neither flag was given, or something that is no run
            of fervit.
    """
    if resume and overwrite:
        raise ConfigError("--resume goes on with a run and --overwrite deletes it: give one of them")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; --out takes a folder")
    if out.is_dir() and not all(_is_unfinished(path) for path in out.iterdir()):
        if not (resume or overwrite):
            raise ConfigError(f"{out} is not empty: --resume goes on with it, --overwrite deletes it first")
        if not (out / RUN_FILE).is_file():
            raise ConfigError(f"{out} holds no run of fervit (no run.json), so it stays as it is: take another folder")


def _is_unfinished(path: Path) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in UNFINISHED)


def describe_data(dataset: Dataset, *, n_train: int, n_val: int) -> DataRecord:
    """Return what `run.json` says of a data set, with the numbers of images in its two splits."""
    data: DataRecord = {"name": dataset.name, "hash": dataset.data_hash, "n_train": n_train, "n_val": n_val}
    if dataset.votes is not None:
        data["votes"] = hashlib.sha256(dataset.votes.tobytes()).hexdigest()
    return data


def describe(config: Settings, data: DataRecord, *, init: str, command: str) -> RunRecord:
    """Return what `run.json` says of a run before it starts."""
    import torch

    return {
        "command": command,
        "config": dict(config),
        "init": Path(init).name if Path(init).is_file() else init,
        "data": data,
        "versions": {"fervit": __version__}
        | {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "git": _git_revision(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def check_same(out: Path, run: RunRecord, defaults: Settings) -> None:
    """Refuse to continue a run that was started with other settings, data or starting weights.

    Args:
        out: the run's folder.
        run: what `describe` returns for it now.
        defaults: of every setting; a run from before a setting existed was made with its default.

    Raises:
        ConfigError: the run was started with others; the message names what differs.
    """
    path = out / RUN_FILE
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    old, new = (_identity(values, defaults) for values in (before, run))
    other = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if other:
        raise ConfigError(f"{out} was started with another {', '.join(other)}: give the same, or take a new --out")


def _identity(run: RunRecord, defaults: Settings) -> dict[str, object]:
    """Return what decides a run's result, by name: settings, starting weights, data, votes and teacher."""
    data = {"data": run["data"]["hash"], "votes": run["data"].get("votes")}
    settings = dict(defaults) | dict(run["config"])
    for name, table in defaults.items():
        if isinstance(table, Mapping):
            settings[name] = {**table, **settings[name]}
    return settings | {"init": run["init"], **data, "teacher": run.get("teacher")}


@contextmanager
def open_run(out: Path, run: RunRecord, defaults: Settings, options: RunOptions) -> Iterator[None]:
    """Make the folder of a run ready, write its `run.json`, and explain a full disk while the run writes to it.

    Args:
        out: the run's folder.
        run: what `describe` returns for it.
        defaults: of every setting, see `check_same`.
        options: whether to resume or to overwrite an earlier run.

    Raises:
        ConfigError: see `claim`, `check_same` and `full_disk_explained`.
    """
    claim(out, resume=options.resume, overwrite=options.overwrite)
    if options.resume:
        check_same(out, run, defaults)
    with full_disk_explained(out):
        write_json(out / RUN_FILE, run)
        yield


def last_checkpoint(out: Path) -> str | None:
    """Return the newest complete checkpoint; one that was cut short while saving has no whole trainer_state.json."""
    states = out.glob(f"{CHECKPOINTS}/checkpoint-*/trainer_state.json")
    complete = [path.parent for path in states if _is_json(path)]
    return str(max(complete, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if complete else None


@contextmanager
def full_disk_explained(out: Path) -> Iterator[None]:
    """Turn a write that failed for want of space into a `ConfigError` that says how to continue."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if _disk_is_full(error, out):
            raise ConfigError(f"the disk is full while saving to {out}; free some space and add --resume") from error
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all: on a full disk, what was there stays."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _disk_is_full(error: Exception, out: Path) -> bool:
    """Return whether a write failed for want of space; torch's own writer does not say why it failed."""
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        return True
    return "inline_container" in str(error) and shutil.disk_usage(out).free < 2**26


def _git_revision() -> str | None:
    """Return the revision of a checkout that fervit runs from, or None."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
