"""`fervit data`: inspect, download and synth."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fervit.data.audit import Inspection


def register(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Inspect, download or draw data sets.")
    group.command()(inspect)
    group.command()(download)
    group.command()(synth)
    app.add_typer(group, name="data")


def inspect(
    data: Annotated[str, typer.Argument(help="Data set: a file, a folder, a Hub id, or synthetic[:N].")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures and pairs.csv; default: inspect-<name>.")
    ] = None,
    json_: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Write the report as JSON; - is the terminal."),
    ] = None,
    near: Annotated[bool, typer.Option(help="Also search near duplicates among all pairs.")] = True,
) -> None:
    """Count labels; find unreadable, blank and repeated pictures, leaks between splits, label conflicts."""
    from fervit.data import load
    from fervit.data.audit import inspect as run
    from fervit.data.sheet import dataset_sheet, plot_distribution
    from fervit.errors import DataError, MissingExtra

    dataset = load(data)
    report = run(dataset, near=near)
    folder = out or Path(f"inspect-{_slug(dataset.name)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        dataset_sheet(dataset).save(folder / "contact_sheet.png")
        present = [k for k, counts in enumerate(report.counts) if counts.any()]
        plot_distribution(report.counts[present], dataset.labels, dataset.split_names, folder / "distribution.png")
        _write_pairs(report, folder / "pairs.csv")
        if json_ and json_ != "-":
            Path(json_).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    except ImportError as error:
        raise MissingExtra("drawing the distribution", "train") from error
    except OSError as error:
        raise DataError(f"cannot write {error.filename or folder} ({error.strerror or error})") from error
    typer.echo(json.dumps(report.to_dict(), indent=2) if json_ == "-" else _summary(report))
    typer.echo(f"written: {folder}/contact_sheet.png, distribution.png, pairs.csv", err=json_ == "-")


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
        check_out(out, overwrite=overwrite)  # first: not after 60 MB
    source, dataset = run(name, hub=hub, data_hash=hash_)
    if out is not None:
        save(dataset, out, overwrite=overwrite)
    typer.echo(
        f"{name}: {len(dataset):,} pictures, counts per split and label as published\n"
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
        except (OSError, ValueError) as error:  # ValueError: a suffix that Pillow does not know
            raise DataError(f"cannot write {sheet} ({error})") from error
        typer.echo(f"{sheet}: contact sheet")


def _slug(name: str) -> str:
    stem = Path(name).stem if Path(name).suffix in (".csv", ".parquet", ".pq") else name
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in stem).strip(".") or "data"


def _write_pairs(report: "Inspection", path: Path) -> None:
    columns = ["row", "split", "label", "source"]
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "correlation", *columns, *(f"other_{name}" for name in columns)])
        for kind, correlation, first, second in report.pairs():
            left, right = report.describe(first), report.describe(second)
            cells = [side[name] for side in (left, right) for name in columns]
            writer.writerow([kind, f"{correlation:.4f}", *cells])


def _summary(report: "Inspection") -> str:
    dataset = report.dataset
    height, width, channels = dataset.images.shape[1:]
    width_of = [max(len(label), 6) for label in dataset.labels]
    head = " ".join(f"{label:>{w}}" for label, w in zip(dataset.labels, width_of, strict=True))
    lines = [
        f"{dataset.name}: {len(dataset):,} pictures, {height} x {width} {'grey' if channels == 1 else 'RGB'}",
        f"content hash: {dataset.data_hash}",
        f"{'':12} {head} {'total':>7}",
    ]
    for split, counts in zip(dataset.split_names, report.counts[report.counts.any(axis=1)], strict=True):
        cells = " ".join(f"{n:>{w}}" for n, w in zip(counts.tolist(), width_of, strict=True))
        lines.append(f"{split:12} {cells} {counts.sum():>7}")
    lines.append(f"unreadable: {len(dataset.skipped)}; blank: {len(report.blank)}; unique: {report.unique:,}")
    repeats = ", ".join(f"{n} in {split}" for split, n in report.duplicates_within.items())
    lines.append(f"exact duplicates within a split: {repeats}")
    near = report.near_leaks
    for (later, earlier), count in report.leaks.items():
        more = f", and {near[later, earlier]} more nearly" if near else ""
        lines.append(f"leak: {count} {later} pictures also stand in {earlier}{more}")
    images = sum(len(rows) for rows in report.conflicts)
    lines.append(f"conflicting labels: {len(report.conflicts)} groups of identical pictures ({images} pictures)")
    if report.near_pairs is not None:
        lines.append(f"near duplicates: {len(report.near_pairs)} pairs")
    return "\n".join(lines)
