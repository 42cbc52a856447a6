"""What `fervit evaluate`, `fervit compare` and `fervit robustness` print."""

from collections.abc import Sequence

from fervit.data.dataset import split_words
from fervit.evaluation.comparison import Comparison
from fervit.evaluation.intervals import Interval
from fervit.evaluation.report import Report
from fervit.evaluation.robustness.results import Condition, Robustness
from fervit.evaluation.tables.cross import EvaluationTable
from fervit.evaluation.tables.pairs import Comparisons
from fervit.formatting import percent, text_table
from fervit.reports import findings, text

SEVERITY_STEPS = ("1", "2", "3", "4", "5")
JITTER_STEPS = ("3 %", "6 %", "9 %", "12 %", "15 %")
"""How far the detector's box is off at each severity."""


def report_as_text(report: Report) -> str:
    """Return the tables and sentences of a report."""
    where = f"{text.title(report)}, {report.count:,} faces"
    if report.tta:
        where += f", with test-time augmentation ({report.tta})"
    parts = [
        where,
        "",
        text_table(text.CLASS_HEADER, text.class_rows(report)),
        "",
        text_table(text.FIGURE_HEADER, [line.cells for line in text.lines(report)]),
    ]
    if (thresholds := findings.threshold_table(report)) is not None:
        parts += ["", text_table(*thresholds)]
    for section in findings.group_sections(report):
        parts += ["", f"by {section.column}", text_table(*section.table), *section.sentences]
    sentences = [text.summary(report), text.calibration_sentence(report), findings.selective_sentence(report)]
    return "\n".join([*parts, "", *sentences, *findings.leak_sentences(report), *text.notes(report)])


def robustness_as_text(found: Robustness) -> str:
    """Return the tables and sentences of a robustness measurement."""
    parts = [f"{found.model} on {found.dataset}, {split_words(found.split)}"]
    if found.conditions:
        parts += ["", _severities(found, found.conditions, "correct at severity", SEVERITY_STEPS)]
    if found.jitters:
        parts += ["", _severities(found, found.jitters, "correct when the detector's box is off by", JITTER_STEPS)]
    if found.unchanged:
        parts += ["", f"left out, the images stay as they are: {', '.join(found.unchanged)}"]
    if found.subsets:
        rows = [row for subset in found.subsets for row in findings.subset_rows(subset)]
        parts += ["", text_table(findings.SUBSET_HEADER, rows)]
        parts += [f"{subset.name}: {subset.joined}" for subset in found.subsets]
    return "\n".join([*parts, "", found.summary])


def _severities(found: Robustness, conditions: Sequence[Condition], name: str, steps: tuple[str, ...]) -> str:
    relative, rows = found.relative_of(conditions), []
    for kind, of_kind in findings.by_kind(conditions).items():
        changed = sum(condition.changed_fraction for condition in of_kind) / len(of_kind)
        accuracies = (f"{100 * condition.accuracy:.1f}" for condition in of_kind)
        rows.append((kind, *accuracies, percent(relative.get(kind), 1), percent(changed, 1)))
    return text_table((name, *steps, "of clean", "changed"), rows)


def comparison_as_text(result: Comparison) -> str:
    """Return the table and sentences of a comparison of two models."""
    a, b = result.names
    accuracy, f1 = result.accuracy, result.macro_f1
    rows = [
        (
            "accuracy",
            *map(percent, accuracy),
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
    parts = [
        f"{result.count:,} faces of {result.dataset}, {split_words(result.split)}",
        "",
        text_table(("figure", f"A: {a}", f"B: {b}", "B - A", "95 % interval"), rows),
        "",
        f"correct: both {result.both:,}, only A {result.only[0]:,}, only B {result.only[1]:,}, "
        f"neither {result.neither:,}; the same prediction for {percent(result.agreement, 1)}",
        f"McNemar's test ({test}): p = {result.test.p:.3g}",
        "",
        result.verdict,
    ]
    if result.left_out:
        gone = ", ".join(f"{name} ({count:,})" for name, count in result.left_out.items())
        parts.append(f"Faces whose label one of the models does not know are left out: {gone}.")
    return "\n".join(parts)


def table_as_text(table: EvaluationTable) -> str:
    """Return the table of several models and data sets; a name that all lines share stands above it."""
    header = ("model", "data", "faces", "accuracy", "macro-F1", "balanced accuracy", "labels")
    rows = []
    for row in table.rows:
        names, f1 = row.cells[:3], "{:.3f} ({:.3f} to {:.3f})".format(row.macro_f1, *row.macro_f1_ci95)
        accuracy = _percents(row.accuracy.value, row.accuracy.ci95)
        balanced = _percents(row.balanced_accuracy, row.balanced_accuracy_ci95)
        rows.append((*names, accuracy, f1, balanced, row.labels))
    return _lifted(header, rows, "with 95 % intervals")


def pairs_as_text(found: Comparisons) -> str:
    """Return the table of compared pairs; a name that all lines share stands above it."""
    header = ("A", "B", "data", "faces", "A correct", "B correct", "B - A, points", "p", "p (Holm)", "better")
    rows = []
    for a, b, data, faces, correct_a, correct_b, points, ends, p, p_holm, better in found.cells:
        rows.append((a, b, data, faces, correct_a, correct_b, f"{points} ({ends})", p, p_holm, better))
    return _lifted(header, rows, "McNemar's test, and paired bootstrap with 95 % intervals")


def _percents(value: float, interval: Interval) -> str:
    low, high = (f"{100 * end:.1f}" for end in interval)
    return f"{percent(value, 1)} ({low} to {high})"


def _lifted(header: Sequence[str], rows: Sequence[Sequence[str]], about: str) -> str:
    """Return a table whose columns of names stand above it, where all lines have the same."""
    names = [k for k, name in enumerate(header) if name in ("A", "B", "model", "data")]
    same = [k for k in names if len({row[k] for row in rows}) == 1]
    kept = [k for k in range(len(header)) if k not in same]
    title = ", ".join([*(f"{header[k]}: {rows[0][k]}" for k in same), about])
    left = sum(k in kept for k in names)
    return "\n".join(
        [title, "", text_table([header[k] for k in kept], [[row[k] for k in kept] for row in rows], left=left)]
    )
