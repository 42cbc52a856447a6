"""A report as one self-contained HTML page: no script, no request, images inside."""

import base64
import re
from collections.abc import Mapping
from importlib import resources

from fervit.errors import MissingExtra
from fervit.evaluation.report import Report
from fervit.reports import findings, text
from fervit.reports.figures import style
from fervit.reports.gallery import TITLES


def render_html(
    report: Report, charts: Mapping[str, tuple[bytes, bytes]], faces: Mapping[str, bytes] | None = None
) -> str:
    """Return the page.

    Args:
        report: the figures; its `provenance` closes the page where there is one.
        charts: name to PNG for a light and for a dark page.
        faces: name to PNG of a contact sheet.

    Raises:
        MissingExtra: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtra("writing a report", "train") from error
    source = resources.files("fervit.reports").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["unbroken"] = lambda words: words.replace(" %", "\N{NO-BREAK SPACE}%")
    environment.filters["span"] = lambda words: re.sub(r"(?<=\d) to (?=\d)", "\N{EN DASH}", words)
    return environment.from_string(source).render(
        report=report,
        confusion=report.confusion.tolist(),
        summary=text.summary(report),
        lines=text.lines(report),
        class_rows=text.class_rows(report),
        notes=text.notes(report),
        calibration=text.calibration_sentence(report),
        thresholds=findings.threshold_table(report),
        selective=findings.selective_sentence(report),
        leaks=findings.leak_sentences(report),
        groups=findings.group_sections(report),
        robustness=findings.robustness_sentence(report, report.robustness) if report.robustness else "",
        robustness_tables=findings.robustness_tables(report),
        faces={name: (_data_uri(png), TITLES[name]) for name, png in (faces or {}).items()},
        facts=report.provenance.to_dict() if report.provenance else {},
        charts={name: tuple(map(_data_uri, pair)) for name, pair in charts.items()},
        light=style.LIGHT,
        dark=style.DARK,
    )


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
