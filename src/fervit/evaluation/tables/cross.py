"""A table of several models on several data sets: `evaluate_table()` returns an `EvaluationTable`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

from fervit.data.dataset import split_words
from fervit.evaluation.intervals import Interval, Proportion
from fervit.evaluation.measurement import evaluate_part
from fervit.evaluation.prediction import PredictOptions
from fervit.evaluation.report import Report
from fervit.evaluation.report_json import ReportJson
from fervit.evaluation.tables.setup import Setup, find_parts, ticks
from fervit.formatting import csv_table, latex_table, markdown_table, percent, percent_interval

HEADER = (
    *("model", "data", "faces", "accuracy", "95 % interval", "macro-F1", "95 % interval", "balanced accuracy"),
    *("95 % interval", "labels"),
)
CSV_HEADER = (
    *("model", "data", "split", "n", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low"),
    *("macro_f1_high", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "n_leak_free"),
    *("accuracy_leak_free", "labels", "left_out", "distributed", "data_hash"),
)


class TableJson(TypedDict):
    """`EvaluationTable` in what `fervit evaluate --json` writes for several models or data sets."""

    reports: list[ReportJson]
    notes: list[str]


@dataclass(frozen=True)
class Row:
    """A line of the table: one model on one data set.

    Attributes:
        model: the model's name.
        data: the data set's name.
        split: what of it was measured.
        n: number of images.
        accuracy: correct predictions among them; `.value`, `.ci95`.
        macro_f1: mean F1 over the labels that occur as truth or as prediction, 0..1.
        macro_f1_ci95: its bootstrap interval.
        balanced_accuracy: mean recall over the labels that occur, 0..1.
        balanced_accuracy_ci95: its bootstrap interval.
        labels: which labels were measured, in words.
    """

    model: str
    data: str
    split: str
    n: int
    accuracy: Proportion
    macro_f1: float
    macro_f1_ci95: Interval
    balanced_accuracy: float
    balanced_accuracy_ci95: Interval
    labels: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The line below `HEADER`."""
        low, high = self.macro_f1_ci95
        return (
            self.model,
            f"{self.data}, {split_words(self.split)}",
            f"{self.n:,}",
            percent(self.accuracy.value),
            percent_interval(self.accuracy.ci95),
            f"{self.macro_f1:.3f}",
            f"{low:.3f} to {high:.3f}",
            percent(self.balanced_accuracy),
            percent_interval(self.balanced_accuracy_ci95),
            self.labels,
        )


@dataclass(frozen=True, eq=False)
class EvaluationTable:
    """Several models on several data sets.

    Attributes:
        reports: a report for each data set and model, all models on the first data set first.
    """

    reports: tuple[Report, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """A line for each report."""
        return tuple(map(_row, self.reports))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know to take the figures for what they are."""
        found = [note for report in self.reports for note in _notes(report)]
        for data in dict.fromkeys(report.dataset for report in self.reports):
            if len({report.count for report in self.reports if report.dataset == data}) > 1:
                found.append(f"{data}: the models are measured on different faces, so their rows do not compare.")
        if any(report.split == "public_test" for report in self.reports):
            found.append("public_test is for choosing: a model that was chosen on it looks better there than it is.")
        return tuple(dict.fromkeys(found))

    def to_markdown(self) -> str:
        """Return the table as Markdown, with the notes below it."""
        table = markdown_table(HEADER, [row.cells for row in self.rows], left=2)
        return "\n".join([table, *(["", *(f"- {note}" for note in self.notes)] if self.notes else []), ""])

    def to_latex(self) -> str:
        """Return the table as a LaTeX `tabular` in the style of the package booktabs, with the notes as comments."""
        return latex_table(HEADER, [row.cells for row in self.rows], "llrrrrrrrl", notes=self.notes)

    def to_csv(self) -> str:
        """Return the table as CSV: fractions 0..1, all digits, empty where there is none."""
        return csv_table(CSV_HEADER, list(map(_values, self.reports)))

    def to_dict(self) -> TableJson:
        """Return the JSON object."""
        return {"reports": [report.to_dict() for report in self.reports], "notes": list(self.notes)}


def evaluate_table(
    setup: Setup, *, split: str | None = None, strict_labels: bool = False, **options: Unpack[PredictOptions]
) -> EvaluationTable:
    """Measure every model on every data set.

    Args:
        setup: models and data sets, see `make_setup`.
        split: of every data set, see `choose_split`; a set that is one split is measured whatever its name.
        strict_labels: refuse images whose label a model does not know, instead of leaving them out.
        options: `tta`, `batch_size` and `progress` (over all of them), see `PredictOptions`.

    Raises:
        DataError: a split is unknown or empty, or all images have one label.
        ModelError: labels do not fit, or a model does not return probabilities.
        ConfigError: unknown `tta`.
    """
    parts = find_parts(setup, split=split, strict_labels=strict_labels, together=False, tta=options.get("tta"))
    reports = []
    progress = options.get("progress")
    for (row, column), tick in zip(parts, ticks(list(parts.values()), progress), strict=True):
        options["progress"] = tick
        report = evaluate_part(setup.models[row], setup.datasets[column], parts[row, column], **options)
        reports.append(replace(report, model=setup.model_names[row], dataset=setup.data_names[column]))
    return EvaluationTable(tuple(reports))


def _row(report: Report) -> Row:
    return Row(
        model=report.model,
        data=report.dataset,
        split=report.split,
        n=report.count,
        accuracy=report.accuracy,
        macro_f1=report.macro_f1,
        macro_f1_ci95=report.macro_f1_ci95,
        balanced_accuracy=report.balanced_accuracy,
        balanced_accuracy_ci95=report.balanced_accuracy_ci95,
        labels=_labels(report),
    )


def _labels(report: Report) -> str:
    """Return how many labels were measured, and what became of others, in a few words."""
    words = [str(len(report.labels))]
    if report.left_out:
        words.append(f"without {', '.join(report.left_out)} (data)")
    if report.dropped_labels:
        words.append(f"without {', '.join(report.dropped_labels)} (model)")
    return ", ".join(words)


def _notes(report: Report) -> list[str]:
    where, result = f"{report.model} on {report.where}", []
    if report.left_out:
        gone = ", ".join(f"{count:,} of {name}" for name, count in report.left_out.items())
        result.append(f"{where}: faces whose label the model does not know are left out: {gone}.")
    if report.dropped_labels:
        names = ", ".join(report.dropped_labels)
        result.append(f"{where}: the model's probability of {names}, which the data lacks, went to the other labels.")
    empty = [figures.label for figures in report.per_class if not figures.recall.count]
    if empty:
        result.append(f"{where}: no face shows {', '.join(empty)}; predicting it is an error and an F1 of 0.")
    if report.leak_free is not None and report.leak_free.count < report.count:
        seen = report.count - report.leak_free.count
        rest = ""
        if report.leak_free.count:
            ends = percent_interval(report.leak_free.ci95)
            rest = f"; accuracy on the other {report.leak_free.count:,}: {percent(report.leak_free.value)} ({ends})"
        result.append(f"{where}: {seen:,} faces are in the train split{rest}.")
    return result


def _values(report: Report) -> Sequence[object]:
    leak_free, (low, high) = report.leak_free, report.accuracy.ci95
    return (
        *(report.model, report.dataset, report.split, report.count, report.accuracy.value, low, high),
        *(report.macro_f1, *report.macro_f1_ci95, report.balanced_accuracy, *report.balanced_accuracy_ci95),
        None if leak_free is None else leak_free.count,
        leak_free.value if leak_free is not None and leak_free.count else None,
        " ".join(report.labels),
        "; ".join(f"{name} {count}" for name, count in report.left_out.items()),
        "; ".join(report.dropped_labels),
        report.data_hash,
    )
