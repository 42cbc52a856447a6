"""What the commands that train do alike: the cheap checks before a run, how it is stopped, and the text after it."""

import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Unpack

import typer

from fervit.cli._shared import bar, command_line, program, require_torch
from fervit.formatting import percent, text_table

if TYPE_CHECKING:
    from fervit.config import TrainConfig
    from fervit.data import Dataset, LoadKeywords
    from fervit.data.mixtures.mixture import Mixture
    from fervit.training.finetune import RunFigures
    from fervit.training.options import RunKeywords


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C's that asks a run to stop."""

    def __init__(self, number: int):
        self.number = number


@contextmanager
def stoppable_run(out: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Hold a run's folder; where a signal stops the run, say what is saved and which command goes on with it.

    The exit code is the shell's, 128 and the signal's number: 130 after Ctrl-C, 143 after SIGTERM. What is saved is the
    last checkpoint, as after a kill.

    Raises:
        ConfigError: see `fervit.folders.run_folder`.
    """
    from fervit.folders import run_folder

    before = _written(out)
    with (
        stoppable(lambda: _what_goes_on(out, _written(out) != before)),
        run_folder(out, resume=resume, overwrite=overwrite),
    ):
        yield


@contextmanager
def stoppable_seeds(out: Path, **how: "Unpack[RunKeywords]") -> Iterator[None]:
    """Refuse a folder that is in the way of runs over seeds; where a signal stops them, say which command goes on.

    Raises:
        ConfigError: see `fervit.folders.locked` and `fervit.folders.check_seeds_folder`.
    """
    from fervit.folders import SEEDS_FILE, check_seeds_folder, locked

    def what_goes_on() -> str:
        begun = (out / SEEDS_FILE).is_file()
        return f"epochs that were saved are kept; to go on: {_again(begun)}"

    check_seeds_folder(out, resume=how.get("resume", False), overwrite=how.get("overwrite", False))
    with stoppable(what_goes_on), locked(out):
        yield


@contextmanager
def stoppable(what_is_left: Callable[[], str]) -> Iterator[None]:
    """End with the shell's exit code for a signal, and with a line that says what is left of the work."""
    try:
        with _signals_raised():
            yield
    except KeyboardInterrupt as stop:
        number = signal.Signals(stop.number if isinstance(stop, Stopped) else signal.SIGINT)
        with suppress(OSError):  # the terminal may be gone
            typer.echo(f"fervit: stopped by {number.name}; {what_is_left()}", err=True)
        raise typer.Exit(128 + number) from None


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise `Stopped` where a signal would end the process without a word; a second one ends it."""

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)

    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        numbers = []
    taken = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]  # nohup ignores SIGHUP
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _written(out: Path) -> tuple[int, int] | None:
    """Return what changes when a run writes its `run.json`."""
    from fervit.folders import RUN_FILE

    with suppress(OSError):
        found = (out / RUN_FILE).stat()
        return found.st_ino, found.st_mtime_ns
    return None


def _again(begun: bool) -> str:
    """Return this command as it goes on with what it has begun, or as it starts again."""
    kept = [argument for argument in sys.argv[1:] if not (begun and argument in ("--overwrite", "--resume"))]
    return f"{program()} {shlex.join([*kept, *(['--resume'] if begun else [])])}"


def _what_goes_on(out: Path, begun: bool) -> str:
    """Return how far a run is saved, and the command that goes on with it."""
    command = _again(begun)
    if not begun:
        return f"it had not begun to train; to start again: {command}"
    from fervit.training.run_folder import saved_epochs

    saved = saved_epochs(out)
    done = f"{out} is saved up to epoch {saved:g}" if saved else "no epoch was saved yet"
    return f"{done}; to go on: {command}"


def find_inputs(
    config: "TrainConfig", data: Sequence[str], *, init: str | None, **options: "Unpack[LoadKeywords]"
) -> "tuple[Dataset | Mixture, str | Path]":
    """Load the data and find the starting weights, so that a mistake in them is reported before PyTorch is imported.

    Its import, which the progress bar needs, takes seconds. With `detect`, faces are cut out of photos with the
    configuration's margin.
    """
    from fervit.api import mixed
    from fervit.data.photos.cutting import cutter_for
    from fervit.inference.model_files import check_starting_weights, starting_weights

    require_torch("training")
    options["detect"] = cutter_for(options.get("detect", False), config.crop_margin)
    dataset = mixed(data, **options)
    weights = starting_weights(init or config.init)
    check_starting_weights(weights)
    return dataset, weights


@contextmanager
def shown_run(
    epochs: int, *, what: str = "training", seeds: bool = False, **options: "Unpack[RunKeywords]"
) -> "Iterator[RunKeywords]":
    """Show the progress of a run, or of one for each seed; yield its options with what shows it, and the command."""
    from fervit.training.progress import ProgressBar

    with ProgressBar(epochs, bar(note=True), what=what, seeds=seeds) as shown:
        yield {**options, "command": command_line(), "callbacks": [shown], "progress": shown.on_prediction}


def as_text(figures: "RunFigures", out: Path) -> str:
    """Return what a command prints of a finished run: its figures, what calibration did to them, and its folder."""
    sources = figures.get("sources", [])
    table = [
        (source["name"], f"{source['n']:,}", percent(source["accuracy"]), f"{source['macro_f1']:.3f}")
        for source in sources
    ]
    rows = [
        f"best epoch {figures['epoch']:g}: public_test accuracy {100 * figures['accuracy']:.2f} %, "
        f"macro-F1 {figures['macro_f1']:.3f} (n = {figures['n']})",
        *([text_table(("data set", "n", "accuracy", "macro-F1"), table)] if table else []),
        _calibration(figures),
        f"model folder: {out}",
    ]
    return "\n".join(rows)


def _calibration(figures: "RunFigures") -> str:
    """Return what calibration did: the line of the epoch shows the figures before it, the summary those after it."""
    if figures["calibration"] == "none":
        return "not calibrated"
    before, unseen = figures["before_calibration"], figures["cross_validated"]
    rows = [f"NLL {before['loss']:.3f} before, {figures['loss']:.3f} after, {unseen['loss']:.3f} cross-validated"]
    if figures["calibration"] == "bcts":  # a temperature alone changes no prediction
        texts = [percent(value) for value in (before["accuracy"], figures["accuracy"], unseen["accuracy"])]
        rows.insert(0, f"accuracy {texts[0]} before, {texts[1]} after, {texts[2]} cross-validated")
    return f"calibrated ({figures['calibration']}) on the same {figures['n']:,} images: {'; '.join(rows)}"
