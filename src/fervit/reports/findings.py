"""What a report says beyond its main figures, as sentences and table rows: thresholds, leaks, groups, robustness.

Parts that were not measured, or that an older report lacks, give nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from fervit.data.dataset import ALL, split_words
from fervit.evaluation.groups import Group
from fervit.evaluation.report import Report
from fervit.evaluation.robustness.results import Condition, Robustness, Subset
from fervit.evaluation.selective import OperatingPoint
from fervit.formatting import NONE, percent, percent_interval

SHOWN_PRECISION = 0.9
"""Of the thresholds, the one for this precision is put into words where there is one."""

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""A header and rows of text."""


@dataclass(frozen=True)
class GroupSection:
    """Figures of the groups of one column: its name, a table, and what follows in sentences."""

    column: str
    table: Table
    sentences: list[str]


def at_least(threshold: float) -> str:
    """Return a threshold with three digits, rounded up: what it accepts, the exact one accepts too."""
    return f"{min(1.0, ceil(1000 * threshold) / 1000):.3f}"


def threshold_table(report: Report) -> Table | None:
    """Return the threshold for each wanted precision, and what it accepts; None for an older report."""
    if not report.thresholds:
        return None
    rows: list[tuple[str, ...]] = []
    for wanted, point in report.thresholds.items():
        if point is None:
            rows.append((f"{100 * wanted:.0f} %", "out of reach", NONE, NONE, NONE))
        else:
            shown = (at_least(point.threshold), percent(point.coverage, 1), percent(point.precision, 1))
            rows.append((f"{100 * wanted:.0f} %", *shown, percent_interval(point.precision_ci95, 1)))
    return ("correct at least", "from confidence", "faces accepted", "correct of these", "95 % interval"), rows


def reached_points(report: Report) -> dict[float, OperatingPoint]:
    """Return the wanted precisions that a threshold reaches, with that threshold."""
    return {wanted: point for wanted, point in report.thresholds.items() if point is not None}


def selective_sentence(report: Report) -> str:
    """Return what rejecting unconfident predictions brings, in one or two sentences."""
    points = reached_points(report)
    if not points:
        return "No threshold on the confidence makes its predictions much more reliable."
    point = points.get(SHOWN_PRECISION, list(points.values())[-1])
    threshold = at_least(point.threshold)
    text = (
        f"Predictions with a confidence of {threshold} or more are correct {percent(point.precision, 1)} of the time; "
        f"these are {percent(point.coverage, 1)} of the faces (fervit predict --min-confidence {threshold})."
    )
    if report.split == "private_test":
        text += " Take the threshold from public_test: one that was chosen on the images it is judged by flatters."
    return text


def leak_sentences(report: Report) -> list[str]:
    """Return which images earlier splits have too, and how the model does on those of the train split."""
    result = []
    for split, count in report.seen_in.items():
        fraction = percent(count / report.count, 1)
        where = f"of {split}, or pixel for pixel in it" if report.split == ALL else f"pixel for pixel in {split} too"
        result.append(f"{count:,} of the {report.count:,} faces ({fraction}) are {where}.")
    rest = report.leak_free
    if rest is not None and 0 < rest.count < report.count:
        leaked, correct = report.count - rest.count, report.accuracy.correct - rest.correct
        result.append(
            f"On the {leaked:,} from train its accuracy is {percent(correct / leaked, 1)}, "
            f"on the others {percent(rest.value, 1)}."
        )
    return result


def group_sections(report: Report) -> list[GroupSection]:
    """Return a section for every column of groups."""
    labels = report.labels
    recalls = (f"recall {name}" for name in labels)
    header = ("group", "faces", "correct", "95 % interval", "macro-F1", "ECE", *recalls)
    result = []
    for part in report.groups:
        sentences = list(part.sentences)
        if part.missing:
            sentences.append(f"{part.missing:,} faces have no {part.column} and are left out.")
        result.append(GroupSection(part.column, (header, [_group_row(g, labels) for g in part.groups]), sentences))
    return result


def _group_row(group: Group, labels: Sequence[str]) -> tuple[str, ...]:
    if group.accuracy is None or group.macro_f1 is None or group.recall is None:
        return (group.name, f"{group.n:,}", "too few to say", *[NONE] * (3 + len(labels)))
    return (
        group.name,
        f"{group.n:,}",
        percent(group.accuracy.value, 1),
        percent_interval(group.accuracy.ci95, 1),
        f"{group.macro_f1:.3f}",
        percent(group.ece, 1),
        *(percent(group.recall[name], 0) for name in labels),
    )


def by_kind(conditions: Sequence[Condition]) -> dict[str, list[Condition]]:
    """Return the conditions of each kind, in the order of their severity."""
    result: dict[str, list[Condition]] = {}
    for condition in conditions:
        result.setdefault(condition.kind, []).append(condition)
    return result


def robustness_tables(report: Report) -> list[Table]:
    """Return what remains of the accuracy under each corruption, and the figures of named subsets."""
    found = report.robustness
    if found is None:
        return []
    tables: list[Table] = []
    conditions = (*found.conditions, *found.jitters)
    relative = found.relative_of(conditions)
    rows: list[tuple[str, ...]] = [
        (kind, *(percent(condition.accuracy, 0) for condition in of_kind), percent(relative.get(kind), 1))
        for kind, of_kind in by_kind(conditions).items()
    ]
    if rows:
        tables.append((("correct at severity", "1", "2", "3", "4", "5", "of clean"), rows))
    lines = [row[:-1] for subset in found.subsets for row in subset_rows(subset)]
    if lines:
        tables.append((SUBSET_HEADER[:-1], lines))
    return tables


SUBSET_HEADER = ("subset", "faces", "correct", "95 % interval", "macro-F1", "ECE", "FER+ majority")


def subset_rows(subset: Subset) -> list[tuple[str, ...]]:
    """Return the cells below `SUBSET_HEADER` of the images of a subset and of the others."""
    return [
        (
            name,
            f"{figures.accuracy.count:,}",
            percent(figures.accuracy.value, 1),
            percent_interval(figures.accuracy.ci95, 1),
            f"{figures.macro_f1:.3f}",
            percent(figures.ece, 1),
            percent(figures.accuracy_votes, 1),
        )
        for name, figures in ((subset.name, subset.inside), (f"not {subset.name}", subset.outside))
        if figures is not None
    ]


def robustness_sentence(report: Report, found: Robustness) -> str:
    """Return the summary of a robustness run, and where it comes from."""
    text = f"Measured on {found.model} on {found.dataset}, {split_words(found.split)}. {found.summary}"
    if found.model != report.model:
        text += f" Beware: that is another model than {report.model}."
    return text
