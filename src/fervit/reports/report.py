"""Reports to read: one self-contained page, the same as Markdown and JSON, and the charts as PNG.

Everything here takes what `evaluation.Report.to_dict()` returns and `report.json` holds, so that an old
report can be written again.
"""

import base64
import json
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from fervit.errors import ConfigError, MissingExtra
from fervit.formatting import NONE, markdown_table, percent
from fervit.labels import FER7, canonical
from fervit.reports import findings, plots
from fervit.reports.published import PAPER
from fervit.types import ModelSpec

FER2013_TEST_SIZE = 3589  # pictures in PublicTest, and as many in PrivateTest
PACKAGES = ("fervit", "numpy", "onnxruntime", "torch", "transformers")
CLASS_HEADER = ("expression", "precision", "recall", "95 % interval", "F1", "95 % interval", "paper's F1", "faces")
FACES = {
    "mistakes": "The surest mistakes (label > answer)",
    "right": "The surest right answers of every expression",
}


@dataclass(frozen=True)
class Line:
    """One measured figure as text, with its 95 % interval and what the paper reports ("–" for none)."""

    name: str
    value: str
    interval: str = NONE
    paper: str = NONE


def write_report(
    report: Mapping[str, Any],
    folder: str | Path,
    *,
    command: str,
    spec: ModelSpec,
    faces: Mapping[str, bytes] | None = None,
) -> Path:
    """Write `report.html`, `report.md`, `report.json` and the charts; return the path of the page.

    Files of these names that stand in the folder are replaced, others stay. Faces go into `faces/`, apart from
    what may be published.

    Args:
        report: what `Report.to_dict()` returns; `groups` and `robustness` may be added to it.
        folder: where to; it is made when it is missing.
        command: the command line that measured, for the record.
        spec: the model that was measured.
        faces: contact sheets, what `gallery.sheets` returns.

    Raises:
        ConfigError: the folder cannot be written.
        MissingExtra: matplotlib or Jinja2 is not installed.
    """
    folder = make_folder(folder)
    charts = {name: (draw(plots.LIGHT), draw(plots.DARK)) for name, draw in _charts(report).items()}
    facts = provenance(report, command=command, spec=spec)
    page = render_html(report, facts, charts, faces)
    try:
        for name, png in (faces or {}).items():
            (folder / "faces").mkdir(exist_ok=True)
            (folder / "faces" / f"{name}.png").write_bytes(png)
        for name, (light, _) in charts.items():
            (folder / f"{name}.png").write_bytes(light)
        record = json.dumps({**report, "provenance": facts}, indent=2, ensure_ascii=False)
        (folder / "report.json").write_text(record + "\n", encoding="utf-8")
        (folder / "report.md").write_text(render_markdown(report, facts, faces), encoding="utf-8")
        (folder / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the report to {folder}: {error.strerror or error}") from error
    return folder / "report.html"


def make_folder(folder: str | Path) -> Path:
    """Make a folder for a report.

    Raises:
        ConfigError: it cannot be made, or a file stands there.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file stands there" if folder.is_file() else error.strerror
        raise ConfigError(f"cannot make the folder {folder} for the report: {reason}; name another") from error
    return folder


def comparable(report: Mapping[str, Any]) -> bool:
    """Tell whether the report is about one of FER2013's two test parts, as the paper's figures are."""
    return report["n"] == FER2013_TEST_SIZE and {canonical(n) for n in report["labels"]} == set(FER7)


def summary(report: Mapping[str, Any]) -> str:
    """Return what was found, in one or two plain sentences."""
    right, count = sum(row[k] for k, row in enumerate(report["confusion"])), report["n"]
    low, high = report["accuracy_ci95"]
    text = (
        f"{report['model']} names the labelled expression in {right:,} of {count:,} faces of "
        f"{report['dataset']}, {report['split']}: {percent(report['accuracy'])} "
        f"(95 % interval {100 * low:.2f} to {percent(high)})"
    )
    if report["accuracy_leak_free"] is not None and report["n_leak_free"] < count:
        text += f", and {percent(report['accuracy_leak_free'])} of the {report['n_leak_free']:,} "
        text += "that do not also stand in the train split"
    if not comparable(report):
        return text + "."
    points = 100 * (report["accuracy"] - PAPER.accuracy)
    where = f"{abs(points):.2f} points {'above' if points >= 0 else 'below'}"
    chance = "a difference that chance can explain" if low <= PAPER.accuracy <= high else "more than chance explains"
    return f"{text}. That is {where} the paper's {percent(PAPER.accuracy)}, {chance}."


def lines(report: Mapping[str, Any]) -> list[Line]:
    """Return the figures in the order in which to read them: fair averages first, accuracy after them."""
    result = [
        Line("macro-F1", _score(report["macro_f1"]), _range(report["macro_f1_ci95"], _score)),
        Line(
            "balanced accuracy",
            percent(report["balanced_accuracy"]),
            _range(report["balanced_accuracy_ci95"], percent),
        ),
        Line(
            "weighted precision",
            _score(report["weighted_precision"]),
            paper=f"{PAPER.weighted_precision:.2f}",
        ),
        Line("weighted recall", _score(report["weighted_recall"]), paper=f"{PAPER.weighted_recall:.2f}"),
        Line("weighted F1", _score(report["weighted_f1"]), paper=f"{PAPER.weighted_f1:.2f}"),
        Line(
            f"accuracy, all {report['n']:,}",
            percent(report["accuracy"]),
            _range(report["accuracy_ci95"], percent),
            percent(PAPER.accuracy),
        ),
    ]
    for key, name in (("leak_free", "leak-free"), ("votes", "against the FER+ majority")):
        share = report[f"accuracy_{key}"]
        if share is not None:
            interval = _range(report[f"accuracy_{key}_ci95"], percent)
            result.append(Line(f"accuracy, {name} {report[f'n_{key}']:,}", percent(share), interval))
    shared = report.get("errors_shared_by_votes")
    if shared is not None:
        name = f"wrong answers that the FER+ majority gives too, of {report['n_errors_with_votes']:,}"
        result.append(Line(name, percent(shared)))
    return [
        *result,
        Line("calibration error (ECE)", percent(report["ece"])),
        Line("negative log-likelihood", f"{report['nll']:.3f} nats"),
        Line("Brier score (0 to 2)", _score(report["brier"])),
    ]


def class_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells below `CLASS_HEADER` for every class, as text."""
    return [
        (
            name,
            f"{row['precision']:.3f}",
            f"{row['recall']:.3f}",
            _range(row.get("recall_ci95"), _short),
            f"{row['f1']:.3f}",
            _range(row.get("f1_ci95"), _short),
            f"{PAPER.f1[canonical(name)]:.2f}" if canonical(name) in PAPER.f1 else NONE,
            f"{row['support']:,}",
        )
        for name, row in report["per_class"].items()
    ]


def notes(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know to take the figures for what they are."""
    result = []
    if not comparable(report):
        result.append(
            f"The paper's figures are of FER2013's test part; these are of {report['dataset']}, "
            f"{report['split']}, so the two do not compare."
        )
    if report["accuracy_leak_free"] is None:
        result.append("No leak-free accuracy: there is no train split to compare this one with.")
    else:
        leaked = report["n"] - report["n_leak_free"]
        result.append(f"Leak-free leaves out {leaked:,} faces whose exact pixels also stand in the train split.")
    if report["split"] == "public_test":
        result.append("public_test is the split to choose on: a model that was chosen on it looks better than it is.")
    if report["dropped_labels"]:
        result.append(
            f"The model also knows {', '.join(report['dropped_labels'])}, which the data lacks; "
            "that probability was shared out among the other labels."
        )
    empty = [name for name, row in report["per_class"].items() if not row["support"]]
    if empty:
        result.append(f"No face shows {', '.join(empty)}: balanced accuracy leaves out what does not occur.")
    return result


def calibration_sentence(report: Mapping[str, Any]) -> str:
    """Return how sure the model is against how often it is right, in one sentence."""
    sure, right = report["mean_confidence"], report["accuracy"]
    verdict = "about as sure as it is right"
    if abs(sure - right) > 0.02:
        verdict = "too sure of itself" if sure > right else "less sure than it could be"
    return f"On average it is {percent(sure)} sure and right {percent(right)} of the time: {verdict}."


def provenance(report: Mapping[str, Any], *, command: str, spec: ModelSpec) -> dict[str, str]:
    """Return where the figures come from: model, data, versions, command; names to text."""
    size, seconds = spec.preprocess.image_size, report["seconds"]
    facts = {
        "model": f"{report['model']} ({spec.arch}, {size} x {size} px)",
        "calibration": _calibration(spec),
        "model's licence": spec.licence or "not stated",
        "trained on (data hash)": spec.data_hash or "not stated",
        "measured on": f"{report['dataset']}, {report['split']}, {report['n']:,} faces",
        "measured on (data hash)": report["data_hash"],
        "test-time augmentation": report["tta"] or "none",
        "prediction time": f"{seconds:.1f} s, {1000 * seconds / report['n']:.1f} ms a face",
        "versions": ", ".join([*_versions(), f"Python {platform.python_version()}"]),
        "machine": f"{platform.system()} {platform.machine()}",
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
    }
    return {name: text for name, text in facts.items() if text}


def _calibration(spec: ModelSpec) -> str:
    """Return how the model was calibrated, with what that did to the validation split, where it is known."""
    figures = spec.metrics.get("public_test")
    before = figures.get("before_calibration") if isinstance(figures, Mapping) else None
    text = f"temperature {spec.temperature:.3f}, fitted on public_test and folded into the weights"
    if not isinstance(figures, Mapping) or not isinstance(before, Mapping):
        return text if spec.temperature != 1 else ""
    names = {"loss": "NLL", "nll": "NLL", "ece": "ECE", "brier": "Brier score"}
    changes = [
        f"{names[key]} {before[key]:.3f} before, {figures[key]:.3f} after"
        for key in names
        if key in before and key in figures
    ]
    return "; ".join([text, *changes])


def render_html(
    report: Mapping[str, Any],
    facts: Mapping[str, str],
    charts: Mapping[str, tuple[bytes, bytes]],
    faces: Mapping[str, bytes] | None = None,
) -> str:
    """Return the page: no script, no request, images inside.

    Args:
        report: what `Report.to_dict()` returns.
        facts: what `provenance` returns.
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
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%")
    environment.filters["span"] = lambda text: re.sub(r"(?<=\d) to (?=\d)", "\N{EN DASH}", text)
    return environment.from_string(source).render(
        report=report,
        summary=summary(report),
        lines=lines(report),
        class_rows=class_rows(report),
        notes=notes(report),
        calibration=calibration_sentence(report),
        thresholds=findings.threshold_table(report),
        selective=findings.selective_sentence(report),
        leaks=findings.leak_sentences(report),
        groups=findings.group_tables(report),
        robustness=findings.robustness_sentence(report) if report.get("robustness") else "",
        robustness_tables=findings.robustness_tables(report),
        faces={name: (_data_uri(png), FACES[name]) for name, png in (faces or {}).items()},
        facts=facts,
        charts={name: tuple(map(_data_uri, pair)) for name, pair in charts.items()},
        light=plots.LIGHT,
        dark=plots.DARK,
    )


def render_markdown(
    report: Mapping[str, Any], facts: Mapping[str, str], faces: Mapping[str, bytes] | None = None
) -> str:
    """Return the report as Markdown; it shows the charts from files beside it."""
    figures = [(line.name, line.value, line.interval, line.paper) for line in lines(report)]
    shown = {name: text for name, text in facts.items() if name != "command"}
    parts = [
        f"# {report['model']} on {report['dataset']}, {report['split']}",
        summary(report),
        "## Every expression",
        markdown_table(CLASS_HEADER, class_rows(report)),
        "![F1 of every expression](f1.png)",
        "## All together",
        markdown_table(("figure", "value", "95 % interval", "paper"), figures),
        "\n".join(f"- {note}" for note in notes(report)),
        "## What is taken for what",
        "![Confusion matrix](confusion.png)",
        "## Calibration",
        calibration_sentence(report),
        "![Reliability diagram](reliability.png)",
        *_markdown_findings(report, faces or {}),
        "## Where these figures come from",
        markdown_table(("", ""), list(shown.items())),
        f"```sh\n{facts['command']}\n```" if facts.get("command") else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_findings(report: Mapping[str, Any], faces: Mapping[str, bytes]) -> list[str]:
    """Return the sections on selective prediction, leaks, groups, robustness and faces."""
    parts = []
    if (table := findings.threshold_table(report)) is not None:
        parts += ["## Answering only when sure", findings.selective_sentence(report)]
        parts += [markdown_table(*table), "![Right answers over faces answered](risk_coverage.png)"]
    if sentences := findings.leak_sentences(report):
        parts += ["## Leaks", "\n".join(f"- {sentence}" for sentence in sentences)]
    for column, table, sentences in findings.group_tables(report):
        parts += [f"## By {column}", markdown_table(*table), "\n".join(f"- {sentence}" for sentence in sentences)]
    if report.get("robustness"):
        parts += ["## Worse pictures", findings.robustness_sentence(report)]
        parts += ["![Accuracy under corruptions](robustness.png)"]
        parts += [markdown_table(*table) for table in findings.robustness_tables(report)]
    for name in faces:
        parts += [f"## {FACES[name]}", f"![{FACES[name]}](faces/{name}.png)"]
    return parts


def _score(value: float) -> str:
    return f"{value:.3f}"


def _short(value: float) -> str:
    return f"{value:.2f}"


def _range(interval: list[float] | None, text: Callable[[float], str]) -> str:
    if interval is None:
        return NONE
    return f"{text(interval[0]).removesuffix(' %')} to {text(interval[1])}"


def _charts(report: Mapping[str, Any]) -> dict[str, Callable[[plots.Theme], bytes]]:
    """Return what draws each chart, by file name."""
    f1 = {name: row["f1"] for name, row in report["per_class"].items()}
    published = {name: PAPER.f1[canonical(name)] for name in f1 if canonical(name) in PAPER.f1}
    bins = np.array([[row["count"], row["confidence"], row["accuracy"]] for row in report["reliability"]])
    confusion, labels = np.array(report["confusion"]), report["labels"]
    charts = {
        "confusion": lambda theme: plots.confusion_png(confusion, labels, theme=theme),
        "reliability": lambda theme: plots.reliability_png(bins, ece=report["ece"], theme=theme),
        "f1": lambda theme: plots.f1_png(f1, other=published, theme=theme),
    }
    if "risk_coverage" in report:
        curve = report["risk_coverage"]["curve"]
        points = [row for row in report["thresholds"] if row["threshold"] is not None]
        charts["risk_coverage"] = lambda theme: plots.risk_coverage_png(curve, points=points, theme=theme)
    if report.get("robustness"):
        charts["robustness"] = lambda theme: plots.severity_png(report["robustness"], theme=theme)
    return charts


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _versions() -> list[str]:
    result = []
    for name in PACKAGES:
        try:
            result.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return result
