"""A report as Markdown; it shows the charts from files beside it."""

from collections.abc import Iterable

from fervit.evaluation.report import Report
from fervit.formatting import markdown_table
from fervit.reports import findings, text
from fervit.reports.gallery import TITLES


def render_markdown(report: Report, faces: Iterable[str] = ()) -> str:
    """Return the report as Markdown.

    Args:
        report: the figures; its `provenance` closes the text where there is one.
        faces: names of the contact sheets in the folder `faces` beside it.
    """
    parts = [
        f"# {text.title(report)}",
        text.summary(report),
        "## Every expression",
        markdown_table(text.CLASS_HEADER, text.class_rows(report)),
        "![F1 of every expression](f1.png)",
        "## All together",
        markdown_table(text.FIGURE_HEADER, [line.cells for line in text.lines(report)]),
        _list(text.notes(report)),
        "## Confusion matrix",
        "![Confusion matrix](confusion.png)",
        "## Calibration",
        text.calibration_sentence(report),
        "![Reliability diagram](reliability.png)",
        *_findings(report, faces),
        *_provenance(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(report: Report, faces: Iterable[str]) -> list[str]:
    """Return the sections on selective prediction, leaks, groups, robustness and faces."""
    parts = []
    if (table := findings.threshold_table(report)) is not None:
        parts += ["## Accepting only confident predictions", findings.selective_sentence(report)]
        parts += [markdown_table(*table), "![Accuracy over coverage](risk_coverage.png)"]
    if sentences := findings.leak_sentences(report):
        parts += ["## Leaks", _list(sentences)]
    for section in findings.group_sections(report):
        parts += [f"## By {section.column}", markdown_table(*section.table), _list(section.sentences)]
    if report.robustness is not None:
        parts += ["## Corrupted images", findings.robustness_sentence(report, report.robustness)]
        parts += ["![Accuracy under corruptions](robustness.png)"]
        parts += [markdown_table(*table) for table in findings.robustness_tables(report)]
    for name in faces:
        parts += [f"## {TITLES[name]}", f"![{TITLES[name]}](faces/{name}.png)"]
    return parts


def _provenance(report: Report) -> list[str]:
    if report.provenance is None:
        return []
    facts = report.provenance.to_dict()
    command = facts.pop("command", "")
    table = markdown_table(("", ""), list(facts.items()))
    return ["## Where these figures come from", table, f"```sh\n{command}\n```" if command else ""]


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
