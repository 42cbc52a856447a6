"""`fervit data`: inspect, split, crop, download, synth and convert."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fervit.cli._shared import (
    DATA,
    STDOUT,
    DataLicence,
    Detect,
    DetectBy,
    Detector,
    DropLabels,
    LabelMap,
    Splits,
    check_target,
    detection,
    progress,
    write_json,
)

if TYPE_CHECKING:
    from fervit.data.conversion.convert import Converted


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Inspect, divide, crop, download, draw or convert data sets.")
    group.command()(inspect)
    group.command()(split)
    group.command()(crop)
    group.command()(download)
    group.command()(synth)
    group.command()(convert)
    app.add_typer(group, name="data")


def inspect(
    data: Annotated[str, typer.Argument(help=DATA)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the images and pairs.csv; default: inspect-<name>.")
    ] = None,
    json_: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Write the report as JSON; - is the terminal."),
    ] = None,
    detect: Detect = False,
    detector: DetectBy = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    near: Annotated[bool, typer.Option(help="Also search near duplicates among all pairs.")] = True,
) -> None:
    """Count labels; find unreadable, blank and repeated images, leaks between splits, label conflicts."""
    wanted = detection(detect, detector)
    from fervit.data import load
    from fervit.data.audit import inspect as run
    from fervit.data.inspection_report import summary, write_inspection

    check_target("--json", json_)
    dataset = load(data, label_map=label_map, drop_labels=drop_labels, splits=splits, detect=wanted)
    report = run(dataset, near=near)
    folder = out or Path(f"inspect-{_slug(dataset.name)}")
    write_inspection(report, folder)
    if json_:
        write_json(json_, report.to_dict())
    if json_ != STDOUT:
        typer.echo(summary(report))
    typer.echo(f"written: {folder}/contact_sheet.png, distribution.png, pairs.csv", err=json_ == STDOUT)


def split(
    data: Annotated[str, typer.Argument(help=DATA)],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A .csv file, a line for each image, for --splits; or a .parquet file with the images, for --data.",
            show_default=False,
        ),
    ],
    fractions: Annotated[
        str | None,
        typer.Option(
            metavar="80/10/10",
            help="Divide all images anew, in parts for train, public_test and private_test. Without it, the source's "
            "own splits stay, and only what it lacks is drawn.",
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|folder|REGEX",
            help="Keep on one side what has the same value in a column of the csv or parquet file, lies in the same "
            "folder, or has the same text in the brackets of a regular expression on its name: '(S[0-9]+)_'.",
        ),
    ] = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
) -> None:
    """Divide a data set by label, with people, groups and near duplicates on one side, and write the splits down."""
    from fervit.data import split_data
    from fervit.data.inspection_report import counts_table

    dataset = split_data(
        data,
        out,
        overwrite=overwrite,
        fractions=fractions,
        group_by=group_by,
        label_map=label_map,
        drop_labels=drop_labels,
    )
    typer.echo(counts_table(dataset))
    use = ["--data", data, "--splits", str(out)] if out.suffix.lower() == ".csv" else ["--data", str(out)]
    typer.echo(f"written: {out}; use it with {shlex.join(use)}")


def crop(
    photos: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="A folder of photos, in folders by label or not; or a list: a .csv with a column of file names (and "
            "of labels, and of splits), or a .txt of paths.",
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the crops, in the photos' tree, and for crops.csv.")],
    detector: Detector = "auto",
    margin: Annotated[
        float | None, typer.Option(help="Fraction of the face's box to add on every side; default: that of recipes.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Cut all anew, replacing earlier crops.")] = False,
) -> None:
    """Cut the largest face out of each photo into a PNG file, as `fervit predict` cuts it; OUT is then a data set.

    Repeat the command to go on with a run that was ended. crops.csv has a row for each photo: box, score, faces found,
    or why it could not be read.
    """
    from fervit.data.photos.crop_folder import crop_photos

    with progress("cutting faces") as tick:
        framing = {} if margin is None else {"margin": margin}
        counts = crop_photos(photos, out, detector=detector, overwrite=overwrite, progress=tick, **framing)
    typer.echo(f"{counts}\nwritten: {out}/crops.csv\nuse: --data {out}")


def download(
    name: Annotated[str, typer.Argument(help="fer2013")],
    out: Annotated[Path | None, typer.Option(help="Also write it here: a .csv or .parquet file, or a folder.")] = None,
    hub: Annotated[str | None, typer.Option(help="Take it from this Hugging Face Hub id, not from Kaggle.")] = None,
    hash_: Annotated[
        str | None, typer.Option("--hash", help="Content hash that must come out (or its beginning).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
) -> None:
    """Download FER2013 from Kaggle or the Hub and check its counts; research use only, see its terms."""
    from fervit.data import check_out, save
    from fervit.data.download import download as run

    if out is not None:
        check_out(out, overwrite=overwrite)  # before 60 MB are downloaded
    source, dataset = run(name, hub=hub, data_hash=hash_)
    if out is not None:
        save(dataset, out, overwrite=overwrite)
    typer.echo(
        f"{name}: {len(dataset):,} images, counts per split and label as published\n"
        f"content hash: {dataset.data_hash}\nuse: --data {out or source}"
    )


def synth(
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file, or a folder.")],
    count: Annotated[int, typer.Option(min=1, help="Number of faces.")] = 2100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is random.")] = 0,
    sheet: Annotated[Path | None, typer.Option(help="Also draw a contact sheet: a PNG file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
) -> None:
    """Draw synthetic faces in FER2013's own forms."""
    from fervit.data import check_out, load, save
    from fervit.data.sheet import dataset_sheet
    from fervit.errors import DataError

    check_out(out, overwrite=overwrite)
    dataset = load(f"synthetic:{count}:{seed}")
    save(dataset, out, overwrite=overwrite)
    typer.echo(f"{out}: {len(dataset):,} synthetic faces, content hash {dataset.data_hash}")
    if sheet is not None:
        try:
            dataset_sheet(dataset).save(sheet)
        except (OSError, ValueError) as error:  # ValueError: a suffix that Pillow does not support
            raise DataError(f"cannot write {sheet} ({error})") from error
        typer.echo(f"{sheet}: contact sheet")


def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[FORM:]SOURCE[@WEIGHT]...",
            help="Data sets: files, folders, Hub ids or synthetic[:N].",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The .parquet file to write.", show_default=False)],
    votes: Annotated[Path | None, typer.Option(help="FER+ votes to write with FER2013's images.")] = None,
    label_map: LabelMap = None,
    drop_labels: DropLabels = None,
    splits: Splits = None,
    licence: DataLicence = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
) -> None:
    """Write data sets as one parquet file: images as they are, labels, votes, source, split, subject, licence.

    `--data FILE` then reads all of them again, each with images of its own size.
    """
    from fervit.data.conversion.convert import convert as run

    with progress("writing") as tick:
        converted = run(
            sources,
            out,
            overwrite=overwrite,
            progress=tick,
            votes=votes,
            label_map=label_map,
            drop_labels=drop_labels,
            splits=splits,
            licence=licence,
        )
    typer.echo(describe_converted(converted))


def describe_converted(converted: "Converted") -> str:
    """Return what `fervit data convert` prints: a line for each data set, then the licences."""
    from fervit.formatting import file_size, text_table

    counts = converted.counts
    rows = [(name, f"{count:,}") for name, count in counts.items()]
    total = f"{converted.path}: {sum(counts.values()):,} images, {file_size(converted.size)}"
    return "\n".join(
        [total, text_table(("source", "images"), rows), *(f"licence of {each}" for each in converted.licences)]
    )


def _slug(name: str) -> str:
    stem = Path(name).stem if Path(name).suffix in (".csv", ".parquet", ".pq") else name
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem).strip(".") or "data"
