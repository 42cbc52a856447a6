"""What an inspection found, for people: a summary, charts, and a table of the pairs of duplicates."""

import csv
from pathlib import Path

import numpy as np

from fervit.data.audit import Inspection
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.sheet import dataset_sheet, plot_distribution
from fervit.errors import DataError, MissingExtra, reason
from fervit.formatting import text_table


def summary(report: Inspection) -> str:
    """Return the counts and every kind of fault in a few lines of text."""
    dataset = report.dataset
    height, width, channels = dataset.images.shape[1:]
    lines = [
        f"{dataset.name}: {len(dataset):,} images, {height} x {width} {'grey' if channels == 1 else 'RGB'}",
        f"content hash: {dataset.data_hash}",
        *(f"licence of {licence}" for licence in dataset.licences),
        counts_table(dataset),
        f"unreadable: {len(dataset.skipped)}; blank: {len(report.blank)}; unique: {report.unique:,}",
        "exact duplicates within a split: "
        + ", ".join(f"{count} in {split}" for split, count in report.duplicates_within.items()),
    ]
    near = report.near_leaks
    for (later, earlier), count in report.leaks.items():
        more = f", and {near[later, earlier]} more nearly" if near else ""
        lines.append(f"leak: {count} {later} images are also in {earlier}{more}")
    images = sum(len(rows) for rows in report.conflicts)
    lines.append(f"conflicting labels: {len(report.conflicts)} groups of identical images ({images} images)")
    if report.near_pairs is not None:
        lines.append(f"near duplicates: {len(report.near_pairs)} pairs")
    return "\n".join(lines)


def counts_table(dataset: Dataset) -> str:
    """Return the number of images of each split and label as a table."""
    counts = np.zeros((len(SPLITS), len(dataset.labels)), np.int64)
    np.add.at(counts, (dataset.split_ids, dataset.targets), 1)
    rows = [
        [split, *map(str, own.tolist()), str(own.sum())] for split, own in zip(SPLITS, counts, strict=True) if own.any()
    ]
    return text_table(["split", *dataset.labels, "total"], rows)


def write_inspection(report: Inspection, folder: Path) -> None:
    """Write `contact_sheet.png`, `distribution.png` and `pairs.csv`.

    Raises:
        DataError: the folder cannot be written.
        MissingExtra: matplotlib is not installed.
    """
    dataset = report.dataset
    present = report.counts.any(axis=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        dataset_sheet(dataset).save(folder / "contact_sheet.png")
        plot_distribution(report.counts[present], dataset.labels, dataset.split_names, folder / "distribution.png")
        _write_pairs(report, folder / "pairs.csv")
    except ImportError as error:
        raise MissingExtra("drawing the distribution", "train") from error
    except OSError as error:
        raise DataError(f"cannot write {error.filename or folder} ({reason(error)})") from error


def _write_pairs(report: Inspection, path: Path) -> None:
    columns = ["row", "split", "label", "source"]
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(["kind", "correlation", *columns, *(f"other_{name}" for name in columns)])
        for kind, correlation, first, second in report.pairs():
            cells = [*report.describe(first).values(), *report.describe(second).values()]
            writer.writerow([kind, f"{correlation:.4f}", *cells])
