"""`fervit ensemble`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import (
    DataLicence,
    Detect,
    DetectBy,
    DropLabels,
    LabelMap,
    Splits,
    command_line,
    detection,
    progress,
    require_torch,
)
from fervit.cli.training._run import stoppable
from fervit.errors import ConfigError
from fervit.formatting import text_table

if TYPE_CHECKING:
    from fervit.ensemble.results import Choice, ModelFigures


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command()(ensemble)


def ensemble(
    members: Annotated[list[Path], typer.Argument(help="Model folders, or tiny; two or more.", show_default=False)],
    data: Annotated[
        list[str],
        typer.Option(
            help="Data set: a file, a folder, a Hub id, or synthetic[:N]. May be repeated: members and weights are "
            "chosen on the public_test images of all.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the ensemble.", show_default=False)],
    weights: Annotated[
        str | None,
        typer.Option(help="Weight of each member: fitted (the best on public_test; the default) or uniform."),
    ] = None,
    select: Annotated[
        str | None, typer.Option(help="greedy: take members one by one, again and again, as long as they help.")
    ] = None,
    soup: Annotated[
        str | None,
        typer.Option(help="Average weights instead of predictions, of models of one shape: uniform or greedy."),
    ] = None,
    detect: Detect = False,
    detector: DetectBy = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    licence: DataLicence = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the ensemble in --out.")] = False,
) -> None:
    """Average models' predictions; the folder acts as a model wherever fervit takes one.

    Chosen on public_test; private_test is never read.
    """
    if soup is not None and (weights or select):
        raise ConfigError(
            "--soup averages models' weights, --weights and --select are about their predictions: give one of them"
        )
    wanted = detection(detect, detector)
    from fervit.folders import check_one_process

    check_one_process()
    require_torch("an ensemble")
    from fervit.data.loading import unweighted
    from fervit.data.mixtures.loading import load_mixture
    from fervit.data.photos.cutting import FaceCutter
    from fervit.ensemble.members import Output, check_members, members_spec, output_folder
    from fervit.ensemble.soups import check_kind
    from fervit.ensemble.soups import soup as average_weights
    from fervit.ensemble.voting import ensemble as average_predictions
    from fervit.ensemble.weights import Weighting
    from fervit.inference.model_files import find_folder
    from fervit.training.parallel import torch_threads

    if soup is not None:
        check_kind(soup)
    weighting = Weighting(weights, select)  # mistakes first, before the data is read
    members = [find_folder(member) for member in members]
    target = Output(out, overwrite, command_line())
    check_members(members, target)
    with stoppable(lambda: f"{out} is as it was"), output_folder(target), torch_threads(threads):
        detecting = FaceCutter.for_model(members_spec(members), detector or "auto") if wanted else False
        sources = [unweighted(source) for source in data]
        dataset = load_mixture(
            sources,
            label_map=label_map,
            drop_labels=drop_labels,
            splits=splits,
            licence=licence,
            detect=detecting,
        )
        with progress("running the members") as tick:
            if soup is not None:
                choice = average_weights(members, dataset, target, kind=soup, progress=tick)
            else:
                choice = average_predictions(members, dataset, target, weighting=weighting, progress=tick)
    typer.echo(as_text(choice))
    typer.echo(f"\nmodel folder: {out}")


def as_text(choice: "Choice") -> str:
    """Return what `fervit ensemble` prints."""
    rows = [
        (
            line.name,
            _weight(line),
            f"{100 * line.accuracy[0]:.2f} %",
            _ends(line.accuracy, 100, 2),
            f"{line.nll[0]:.4f}",
            _ends(line.nll, 1, 4),
        )
        for line in choice.lines
    ]
    header = ("member", "weight", "accuracy", "95 % interval", "NLL", "95 % interval")
    where = f"{len(choice.mix.probs):,} faces of {choice.dataset}, public_test"
    return "\n".join(
        [
            f"{where}; what is chosen or calibrated on them flatters there",
            "",
            text_table(header, rows),
            "",
            choice.verdict,
        ]
    )


def _weight(line: "ModelFigures") -> str:
    if line.weight is None:
        return ""
    return f"{line.weight:.3f}" if line.weight else "left out"


def _ends(figure: tuple[float, float, float], scale: float, digits: int) -> str:
    low, high = (scale * end for end in figure[1:])
    return f"{low:.{digits}f} to {high:.{digits}f}"
