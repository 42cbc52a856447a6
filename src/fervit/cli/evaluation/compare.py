"""`fervit compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import STDOUT, check_split, check_target, limit_torch, progress, write_json
from fervit.errors import ConfigError, unknown
from fervit.formatting import text_table

if TYPE_CHECKING:
    from fervit.evaluation.comparison import Comparison


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(compare)


def compare(
    a: Annotated[Path, typer.Argument(help="Model folder or exported .onnx file.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The other model.", show_default=False)],
    data: Annotated[
        str, typer.Option(help="Data set: a file, a folder, a Hub id, or synthetic[:N].", show_default=False)
    ],
    split: Annotated[
        str, typer.Option(help="train, public_test or private_test. Choose between models on public_test.")
    ] = "public_test",
    tta: Annotated[str | None, typer.Option(help="Test-time augmentation of both: flip, five_crops, ...")] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object; - is stdout.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces classified at once.")] = 64,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
) -> None:
    """Say whether one of two models is better, or whether chance explains the difference.

    McNemar's test and a paired bootstrap on the same faces.
    """
    check_split(split)
    check_target("--json", json)
    from fervit.evaluation.tta import TTA

    if tta is not None and tta not in TTA:
        raise ConfigError(unknown("test-time augmentation", tta, TTA))
    from fervit.data import load

    dataset = load(data)
    dataset.split(split)
    from fervit.evaluation.comparison import compare as run
    from fervit.inference.loading import open_classifier

    first, second = open_classifier(a, threads=threads), open_classifier(b, threads=threads)
    limit_torch([a, b], threads)
    same = first.spec.name == second.spec.name
    names = (str(a), str(b)) if same and a != b else None
    with progress("comparing") as tick:
        result = run(first, second, dataset, split=split, names=names, tta=tta, batch_size=batch_size, progress=tick)
    if json != STDOUT:
        typer.echo(as_text(result))
    if json is not None:
        write_json(json, result.to_dict())


def as_text(result: "Comparison") -> str:
    """Return what `fervit compare` prints."""
    a, b = result.names
    accuracy, f1 = result.accuracy, result.macro_f1
    rows = [
        (
            "accuracy",
            *(f"{100 * value:.2f} %" for value in accuracy),
            f"{100 * (accuracy[1] - accuracy[0]):+.2f}",
            "{:+.2f} to {:+.2f}".format(*(100 * end for end in result.accuracy_ci95)),
        ),
        (
            "macro-F1",
            *(f"{value:.3f}" for value in f1),
            f"{f1[1] - f1[0]:+.3f}",
            "{:+.3f} to {:+.3f}".format(*result.macro_f1_ci95),
        ),
    ]
    test = "exact binomial" if result.test.exact else "chi-square with continuity correction"
    return "\n".join(
        [
            f"{result.count:,} faces of {result.dataset}, {result.split}",
            "",
            text_table(("figure", f"A: {a}", f"B: {b}", "B - A", "95 % interval"), rows),
            "",
            f"right: both {result.both:,}, only A {result.only[0]:,}, only B {result.only[1]:,}, "
            f"neither {result.neither:,}; the same answer for {100 * result.agreement:.1f} %",
            f"McNemar's test ({test}): p = {result.test.p:.3g}",
            "",
            result.verdict,
        ]
    )
