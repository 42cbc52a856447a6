"""Reports to read: a folder with one self-contained page, the same as Markdown and JSON, and the charts as PNG."""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fervit.errors import ConfigError, reason
from fervit.evaluation.report import Provenance, Report
from fervit.labels import canonical
from fervit.licences import non_commercial
from fervit.reports import findings, plots
from fervit.reports.figures import style
from fervit.reports.html import render_html
from fervit.reports.markdown import render_markdown
from fervit.reports.published import PAPER
from fervit.types import ModelSpec

PACKAGES = ("fervit", "numpy", "onnxruntime", "torch", "transformers")


def write_report(
    report: Report,
    folder: str | Path,
    *,
    command: str,
    spec: ModelSpec,
    faces: Mapping[str, bytes] | None = None,
) -> Path:
    """Write `report.html`, `report.md`, `report.json` and the charts; return the path of the page.

    Files of these names in the folder are replaced, others stay. Faces go into `faces/`, apart from what may be
    published.

    Args:
        report: what was measured; `evaluation.report.read_report` reads an older one.
        folder: where to; it is made when it is missing.
        command: the command line that measured, for the record.
        spec: the model that was measured.
        faces: contact sheets, what `gallery.sheets` returns.

    Raises:
        ConfigError: the folder cannot be written.
        MissingExtra: matplotlib or Jinja2 is not installed.
    """
    folder, faces = make_folder(folder), faces or {}
    report = replace(report, provenance=provenance(report, command=command, spec=spec))
    charts = {name: (draw(style.LIGHT), draw(style.DARK)) for name, draw in _charts(report).items()}
    page = render_html(report, charts, faces)
    try:
        for name, png in faces.items():
            (folder / "faces").mkdir(exist_ok=True)
            (folder / "faces" / f"{name}.png").write_bytes(png)
        for name, (light, _) in charts.items():
            (folder / f"{name}.png").write_bytes(light)
        record = json.dumps(report.to_dict(), indent=2, ensure_ascii=False)
        (folder / "report.json").write_text(record + "\n", encoding="utf-8")
        (folder / "report.md").write_text(render_markdown(report, faces), encoding="utf-8")
        (folder / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write the report to {folder}: {reason(error)}") from error
    return folder / "report.html"


def make_folder(folder: str | Path) -> Path:
    """Make a folder for a report.

    Raises:
        ConfigError: it cannot be made, or there is a file of that name.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file of that name" if folder.is_file() else reason(error)
        raise ConfigError(f"cannot make the folder {folder} for the report: {why}; name another") from error
    return folder


def provenance(report: Report, *, command: str, spec: ModelSpec) -> Provenance:
    """Return where the figures come from: model, data, versions, command."""
    size, seconds = spec.preprocess.image_size, report.seconds
    return Provenance(
        model=f"{report.model} ({spec.arch}, {size} x {size} px)",
        calibration=_calibration(spec),
        licence="; ".join(part for part in (spec.licence or "not stated", _restriction(spec)) if part),
        training_data=spec.data_hash or "not stated",
        measured_on=f"{report.where}, {report.count:,} faces",
        data_hash=report.data_hash,
        tta=report.tta or "none",
        time=f"{seconds:.1f} s, {1000 * seconds / report.count:.1f} ms a face",
        versions=", ".join([*_versions(), f"Python {platform.python_version()}"]),
        machine=f"{platform.system()} {platform.machine()}",
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
    )


def _restriction(spec: ModelSpec) -> str:
    """Return what of a model's training data excludes commercial use, in words; nothing where nothing does."""
    found = "; ".join(map(str, non_commercial(spec.trained_on)))
    return f"trained on {found}" if found else ""


def _calibration(spec: ModelSpec) -> str:
    """Return how the model was calibrated, with what that did to the validation split, where it is known."""
    figures = spec.metrics.get("public_test")
    before = figures.get("before_calibration") if isinstance(figures, Mapping) else None
    method = figures.get("calibration") if isinstance(figures, Mapping) else None
    if spec.temperature == 1 and method in (None, "none"):
        return "none" if method or isinstance(before, Mapping) else ""
    bias = " and a bias per class" if method == "bcts" else ""
    text = f"temperature {spec.temperature:.3f}{bias}, fitted on public_test and folded into the weights"
    if not isinstance(figures, Mapping) or not isinstance(before, Mapping):
        return text
    names = {"loss": "NLL", "nll": "NLL", "ece": "ECE", "brier": "Brier score"}
    changes = [
        f"{names[key]} {before[key]:.3f} before, {figures[key]:.3f} after"
        for key in names
        if key in before and key in figures
    ]
    return "; ".join([text, *changes])


def _charts(report: Report) -> dict[str, Callable[[style.Theme], bytes]]:
    """Return what draws each chart, by file name."""
    f1 = {figures.label: figures.f1 for figures in report.per_class}
    published = {name: PAPER.f1[canonical(name)] for name in f1 if canonical(name) in PAPER.f1}
    calibration, selective, robustness = report.calibration, report.selective, report.robustness
    charts: dict[str, Callable[[style.Theme], bytes]] = {
        "confusion": lambda theme: plots.confusion_png(report.confusion, report.labels, theme=theme),
        "reliability": lambda theme: plots.reliability_png(calibration.bins, ece=calibration.ece, theme=theme),
        "f1": lambda theme: plots.f1_png(f1, other=published, theme=theme),
    }
    if selective is not None:
        points = list(findings.reached_points(report).values())
        charts["risk_coverage"] = lambda theme: plots.risk_coverage_png(selective, points=points, theme=theme)
    if robustness is not None:
        charts["robustness"] = lambda theme: plots.severity_png(robustness, theme=theme)
    return charts


def _versions() -> list[str]:
    result = []
    for name in PACKAGES:
        try:
            result.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return result
