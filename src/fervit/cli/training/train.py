"""`fervit train`, `fervit export` and `fervit recipes`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fervit.cli._shared import command_line
from fervit.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import TrainerCallback


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(train)
    app.command()(export)
    app.command()(recipes)


def train(
    data: Annotated[str, typer.Option(help="Data set: a file, a folder, a Hub id, or synthetic[:N].")],
    out: Annotated[Path, typer.Option(help="Folder for the run; becomes a Hugging Face model folder.")],
    recipe: Annotated[str, typer.Option(help="Name of a carried recipe, or a .toml file.")] = "paper",
    init: Annotated[
        str | None,
        typer.Option(help="Starting weights: Hub id, model folder, safetensors file, `shipped`, or `scratch`."),
    ] = None,
    votes: Annotated[Path | None, typer.Option(help="FER+ votes to learn from (csv or parquet).")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a recipe's value: key=value. May be repeated.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run in --out first.")] = False,
) -> None:
    """Fine-tune a Vision Transformer; chooses the best epoch on public_test, never reads private_test."""
    from fervit.config.training import load_config

    config = load_config(recipe, set_ or ())  # first: a misspelt key should not wait for torch
    run_training(
        config,
        data,
        out,
        init=init,
        votes=votes,
        threads=threads,
        resume=resume,
        overwrite=overwrite,
        command=command_line(),
    )


def run_training(
    config: Any,
    data: str,
    out: Path,
    *,
    init: str | None,
    votes: Path | None = None,
    teacher: Path | None = None,
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: str,
) -> dict[str, Any]:
    """Train with a progress bar and print what came out; shared by `train`, `distill` and `demo`."""
    from fervit.data import load
    from fervit.inference.model_files import starting_weights

    require_torch("training")
    dataset = load(data, votes=votes)
    init = str(starting_weights(init or config.init))
    check_init(init)  # before torch, whose import takes seconds
    import torch

    from fervit.training.finetune import train as run
    from fervit.training.run_folder import check_out

    check_out(out, resume=resume, overwrite=overwrite)  # before a teacher is asked, which takes minutes

    if threads:
        torch.set_num_threads(threads)
    figures = run(
        config,
        dataset,
        out,
        init=init,
        teacher=None if teacher is None else _ask(teacher, dataset, config, threads),
        resume=resume,
        overwrite=overwrite,
        command=command,
        callbacks=[progress_bar(config.epochs)],
    )
    typer.echo(
        f"best epoch {figures['epoch']:g}: public_test accuracy {100 * figures['accuracy']:.2f} %, "
        f"macro-F1 {figures['macro_f1']:.3f} (n = {figures['n']})\nmodel folder: {out}"
    )
    return figures


def _ask(path: Path, dataset: Any, config: Any, threads: int | None) -> Any:
    """Return the teacher for `fervit.training.train`: its answers, or itself where it is to be asked all along."""
    from fervit.cli._shared import progress
    from fervit.inference.loading import open_classifier
    from fervit.inference.model_files import find_folder, find_model, model_hash
    from fervit.training.finetune import Teacher
    from fervit.training.teachers import LiveTeacher, cached_soft_targets

    if not config.teacher_views:
        from fervit.models import load_checkpoint

        path = find_folder(path)
        if path.is_file():
            raise ConfigError(f"teacher_views=0 asks the teacher all along, for which {path} must be a model folder")
        live = LiveTeacher(*load_checkpoint(path), dataset.labels, temperature=config.teacher_temperature)
        return Teacher(live, {"name": path.name, "hash": model_hash(path)})
    path = find_model(path)
    classifier = open_classifier(path, threads=threads)
    digest = model_hash(path)
    with progress("asking the teacher") as tick:
        probs = cached_soft_targets(classifier, digest, dataset, config, progress=tick)
    return Teacher(probs, {"name": path.name, "hash": digest})


def check_init(init: str) -> None:
    """Refuse starting weights that are neither a file, a folder, a Hub id nor `scratch`, or that are a pickle."""
    from fervit.config.architectures import SCRATCH
    from fervit.errors import ModelError
    from fervit.files import is_pickle

    path = Path(init)
    if init == SCRATCH:
        return
    if is_pickle(path):
        raise ModelError(f"{init} is a pickle, which can run code when read; convert it to safetensors")
    if not path.exists() and (init.count("/") != 1 or path.suffix == ".safetensors"):
        raise ModelError(f"no weights at {init} (expected a safetensors file, a model folder or a Hub id owner/name)")


def require_torch(feature: str) -> None:
    """Raise `MissingExtra` when the training packages are not installed."""
    from importlib.util import find_spec

    from fervit.errors import MissingExtra

    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingExtra(feature, "train")


def progress_bar(epochs: int, *, what: str = "training") -> "TrainerCallback":
    """Return a callback that shows steps and loss, and a line for every epoch."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from transformers import TrainerCallback

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    task = progress.add_task(what, total=None, note="")

    class ProgressBar(TrainerCallback):
        """Shows steps and loss; prints the validation accuracy of every epoch, or its loss where that is all."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.update(task, total=state.max_steps, completed=state.global_step)
            progress.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.update(task, completed=state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                progress.update(task, note=f"loss {float(logs['loss']):.3f}")
            if logs and "epoch_loss" in logs:
                progress.console.print(f"epoch {state.epoch:g}/{epochs}: loss {logs['epoch_loss']:.4f}")

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            progress.console.print(
                f"epoch {metrics['epoch']:g}/{epochs}: public_test accuracy {100 * metrics['eval_accuracy']:.2f} %, "
                f"macro-F1 {metrics['eval_macro_f1']:.3f}, loss {metrics['eval_loss']:.3f}"
            )

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.stop()

    return ProgressBar()


def export(
    model: Annotated[Path, typer.Argument(help="A model folder; with --int8 also an exported ONNX file.")],
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, or with --int8 also OpenVINO's .xml.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits; refused when it loses accuracy or is not faster.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="For --int8: data set to calibrate on (train) and to judge on (public_test).")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads while --int8 measures; default: all cores.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Export a model folder to ONNX and check that both give the same answers."""
    if int8:
        _export_int8(model, out, data, threads, overwrite=overwrite)
        return
    if data is not None or threads is not None:
        raise ConfigError("--data and --threads belong to --int8")
    require_torch("export")
    from fervit.export.onnx import export as run
    from fervit.inference.model_files import find_folder

    largest = run(find_folder(model), out, overwrite=overwrite)
    size = out.stat().st_size / 1e6
    typer.echo(f"{out}: {size:.1f} MB; largest difference in probability from {model}: {largest:.1e}")


def _export_int8(model: Path, out: Path, data: str | None, threads: int | None, *, overwrite: bool) -> None:
    """Export with 32 bits to a file that is dropped again, and quantise that."""
    import tempfile

    if data is None:
        raise ConfigError("--int8 needs --data: it is calibrated on training faces and judged on public_test")
    from fervit.inference.model_files import find_model

    model = find_model(model)
    if not model.exists():
        raise ModelError(f"no model at {model}")
    if out.resolve() == model.resolve():
        raise ConfigError(f"--out {out} is the model itself: name another file, or the exact weights are lost")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; add --overwrite to replace it")
    from fervit.data import load
    from fervit.export.quantise import check_int8, quantise

    check_int8(out)
    dataset = load(data)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as scratch:
            exact = model
            if model.is_dir():
                require_torch("export")
                from fervit.export.onnx import export as run

                exact = Path(scratch) / "model.onnx"
                run(model, exact)
            report = quantise(exact, out, dataset, threads=threads)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}") from error
    parts = [part for part in (out, out.with_suffix(".bin")) if part.exists() and (part == out or out.suffix == ".xml")]
    typer.echo(f"{out}: {sum(part.stat().st_size for part in parts) / 1e6:.1f} MB; {report}")


def recipes() -> None:
    """List the carried recipes with their lab notes."""
    from fervit.config.training import RECIPES, recipe_names

    for name in recipe_names():
        lines = (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
        notes = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
        typer.echo(f"{name}: {notes[0] if notes else ''}")
        for note in notes[1:]:
            typer.echo(f"    {note}")
