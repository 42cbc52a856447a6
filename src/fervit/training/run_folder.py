"""What a run keeps in its folder: record, figures, checkpoints; who holds the folder is up to `fervit.folders`."""

import csv
import dataclasses
import errno
import json
import logging
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from fervit import __version__
from fervit.config.architectures import SCRATCH
from fervit.errors import ConfigError, ModelError
from fervit.files import replacing, undo_replacing
from fervit.folders import RUN_FILE, clear_run, recover, run_folder
from fervit.inference.model_files import folder_licences
from fervit.licences import Licence, say_non_commercial, union
from fervit.training.options import RunOptions

CHECKPOINTS = "checkpoints"
SAVING = ".saving-"  # what the name of a folder begins with in which a checkpoint is being written
BEST = "best"  # the weights of the best epoch so far
METRICS_FILE = "metrics.csv"
RESUME_FILE = "resume.safetensors"  # of a checkpoint: the weights, and their average
# What a checkpoint is resumed from; trainer_state.json is written last, so without it the others may be cut short.
CHECKPOINT_FILES = ("trainer_state.json", RESUME_FILE, "optimizer.pt", "scheduler.pt", "rng_state.pth")
PACKAGES = ("torch", "transformers", "numpy")

logger = logging.getLogger(__name__)

Settings = Mapping[str, Any]
"""A configuration as `dataclasses.asdict` gives it: values, or tables of values, by name."""


class Source(TypedDict, total=False):
    """One of the data sets.

    Attributes:
        name: the data set's.
        hash: of its content.
        licence: of its images, as `Dataset.licence`.
        weight: how often its images are drawn relative to their number.
        n_train: images that were learnt from.
        n_val: images that were validated on.
        classes: images that were learnt from, by label.
        leaks: images that were left out since an evaluation split has them, see `TrainConfig.drop_leaks`; missing where
            these were not looked for.
    """

    name: str
    hash: str
    licence: str
    weight: float
    n_train: int
    n_val: int
    classes: dict[str, int]
    leaks: int


class DataRecord(TypedDict, total=False):
    """What `run.json` says of the data.

    Attributes:
        name: of the data set, or of all of them.
        hash: of its content.
        n_train: images that were learnt from.
        n_val: images that were validated on.
        votes: hash of the FER+ votes, where there are any.
        grey: whether all images have one channel.
        sources: each of the data sets.
    """

    name: str
    hash: str
    n_train: int
    n_val: int
    votes: str
    grey: bool
    sources: list[Source]


class RunRecord(TypedDict, total=False):
    """What `run.json` says of a run; a teacher is there where it had one, the last three when it has ended.

    `trained_on` are the licences of the data, of the starting weights and of the teacher, as `ModelSpec` has them.
    """

    command: str
    config: Settings
    init: str
    data: DataRecord
    versions: dict[str, str]
    git: str | None
    threads: int
    device: str
    teacher: Mapping[str, str]
    trained_on: list[dict[str, Any]]
    seconds: float
    public_test: Mapping[str, object]
    pretraining: Mapping[str, object]


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


def note_licences(run: RunRecord, out: Path, *learnt_from: Iterable[Licence]) -> tuple[Licence, ...]:
    """Return the licences of what a run's model learns from, and note them in its record.

    Where they exclude commercial use, a warning is logged.

    Args:
        run: the record.
        out: the run's folder.
        learnt_from: the licences of the starting weights, of the data and of the teacher.
    """
    licences = union(*learnt_from)
    run["trained_on"] = [dataclasses.asdict(licence) for licence in licences]
    say_non_commercial(out.name, licences)
    return licences


def weights_licences(init: str | Path) -> tuple[Licence, ...]:
    """Return the licences of what starting weights were trained on; those on the Hub are in its cache by now.

    Raises:
        ModelError: the weights name licences that are none.
    """
    if Path(init).exists() or str(init) == SCRATCH:
        return folder_licences(init)
    from fervit.weights.hub import find_folder

    try:
        folder = find_folder(str(init))
    except ModelError:  # no folder of a model: one of the forms that only an architecture's builder reads
        return ()
    return folder_licences(folder)


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
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        old, new = (_identity(values, defaults) for values in (before, run))
    except (ValueError, LookupError, TypeError) as error:
        raise damaged(path, "it is no whole record of a run") from error
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
        ConfigError: see `folders.run_folder`, `check_same`, `check_whole` and `full_disk_explained`.
    """
    with run_folder(out, resume=options.resume, overwrite=options.overwrite), full_disk_explained(out):
        if options.overwrite:
            clear_run(out)
        else:
            recover(out)
        if options.resume:
            check_same(out, run, defaults)
            check_whole(out)
        write_json(out / RUN_FILE, run)
        yield


def check_whole(out: Path) -> None:
    """Refuse to go on with a run whose files were damaged since, before hours are spent on it.

    Raises:
        ConfigError: `metrics.csv` or the best weights are cut short, or epochs were trained and no whole checkpoint
            is left of them.
    """
    undo_replacing(out / BEST)  # of a process that was killed meanwhile
    for unfinished in out.glob(f"{CHECKPOINTS}/{SAVING}*"):
        shutil.rmtree(unfinished)
    if (out / BEST).is_dir():
        for name in ("config.json", "preprocessor_config.json", "figures.json", "model.safetensors"):
            if (problem := _problem_of(out / BEST / name)) is not None:
                raise damaged(out / BEST / name, problem)
    rows = read_rows(out)
    # With one epoch, its checkpoint was cut short while it was saved: the run starts again, and nothing else is lost.
    if len(rows) > 1 and last_checkpoint(out) is None:
        raise ConfigError(
            f"{out / CHECKPOINTS} holds no whole checkpoint of the {len(rows)} epochs in {METRICS_FILE}, so the run "
            "cannot go on: --overwrite starts it anew"
        )


def damaged(path: Path, problem: str) -> ConfigError:
    """Build the error for a file of a run that cannot be read any more."""
    return ConfigError(f"{path} is damaged ({problem}), so the run cannot go on: --overwrite starts it anew")


def last_checkpoint(out: Path) -> str | None:
    """Return the newest checkpoint that is whole; one that was cut short, while it was saved or later, is passed over.

    Where one is passed over that had been saved, a warning is logged.
    """
    folders = [path for path in out.glob(f"{CHECKPOINTS}/checkpoint-*") if path.name.rsplit("-", 1)[1].isdecimal()]
    for folder in sorted(folders, key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True):
        problems = {name: _problem_of(folder / name) for name in CHECKPOINT_FILES}
        bad = [f"{name} ({problem})" for name, problem in problems.items() if problem is not None]
        if not bad:
            return str(folder)
        if problems["trainer_state.json"] is None:
            logger.warning("%s is passed over: %s", folder, ", ".join(bad))
    return None


def saved_epochs(out: Path) -> float:
    """Return after how many epochs the newest whole checkpoint was saved; 0 where there is none."""
    folder = last_checkpoint(out)
    if folder is None:
        return 0.0
    return float(json.loads((Path(folder) / "trainer_state.json").read_text(encoding="utf-8")).get("epoch") or 0)


def read_rows(out: Path) -> list[dict[str, str]]:
    """Return the rows of a run's `metrics.csv`; none before its first epoch.

    Raises:
        ConfigError: the file is cut short or holds something else.
    """
    path = out / METRICS_FILE
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        rows = list(csv.DictReader(text.splitlines(), restkey="more", strict=True))
        for value in (value for row in rows for value in row.values()):
            float(value)  # a missing one is None
    except (ValueError, TypeError, csv.Error) as error:
        raise damaged(path, "cut short") from error
    if not rows or "step" not in rows[0] or not text.endswith("\n"):
        raise damaged(path, "cut short")
    return rows


def seconds_of(out: Path) -> float:
    """Return how long a run's epochs took, those before it was resumed included."""
    return round(sum(float(row["seconds"]) for row in read_rows(out)), 1)


def _problem_of(path: Path) -> str | None:
    """Return what is wrong with a JSON, safetensors or torch file; None where it is whole."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return "missing"
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np"):  # compares the file's size with what its header says
                pass
        else:  # torch.save writes a zip archive, whose table of contents stands at its end
            zipfile.ZipFile(path).close()
    except (ValueError, OSError, SafetensorError, zipfile.BadZipFile):
        return "cut short"
    return None


@contextmanager
def full_disk_explained(out: Path) -> Iterator[None]:
    """Turn a write that failed for want of space into a `ConfigError` that says how to continue."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError, ConfigError) as error:
        cause = error.__cause__ if isinstance(error, ConfigError) else error  # `cannot_write` names the disk's error so
        if isinstance(cause, Exception) and _disk_is_full(cause, out):
            raise ConfigError(f"the disk is full while saving to {out}; free some space and add --resume") from error
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all: on a full disk, what was there stays."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


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
