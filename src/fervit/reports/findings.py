"""What a report says beyond its figures, as sentences and table rows: trust, leaks, groups, robustness.

Everything here takes what `evaluation.Report.to_dict()` returns; parts that an older report lacks give nothing.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from fervit.formatting import NONE, percent, percent_interval

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""A header and rows of text."""


def at_least(threshold: float) -> str:
    """Return a threshold with three digits, rounded up: what it lets through, the exact one does too."""
    return f"{min(1.0, ceil(1000 * threshold) / 1000):.3f}"


def threshold_table(report: Mapping[str, Any]) -> Table | None:
    """Return what a wanted share of right answers takes."""
    if "thresholds" not in report:
        return None
    rows: list[tuple[str, ...]] = []
    for row in report["thresholds"]:
        wanted = f"{100 * row['wanted']:.0f} %"
        if row["threshold"] is None:
            rows.append((wanted, "out of reach", NONE, NONE, NONE))
        else:
            shown = (at_least(row["threshold"]), percent(row["coverage"], 1), percent(row["precision"], 1))
            rows.append((wanted, *shown, percent_interval(row["precision_ci95"], 1)))
    return ("right at least", "answer from", "faces answered", "right of these", "95 % interval"), rows


def selective_sentence(report: Mapping[str, Any]) -> str:
    """Return what refusing unsure faces brings, in one or two sentences."""
    points = [row for row in report.get("thresholds", ()) if row["threshold"] is not None]
    if not points:
        return "No threshold on the probability makes its answers much more reliable."
    row = next((row for row in points if row["wanted"] == 0.9), points[-1])
    threshold = at_least(row["threshold"])
    text = (
        f"Answering only from a probability of {threshold} on, it is right {percent(row['precision'], 1)} of the time "
        f"and answers {percent(row['coverage'], 1)} of the faces (fervit predict --min-confidence {threshold})."
    )
    if report["split"] == "private_test":
        text += " Take the threshold from public_test: one that was chosen on the pictures it is judged by flatters."
    return text


def leak_sentences(report: Mapping[str, Any]) -> list[str]:
    """Return which pictures also stand in earlier splits, and how the model does on those of the train split."""
    result = []
    for split, count in report.get("seen_in", {}).items():
        share = percent(count / report["n"], 1)
        result.append(f"{count:,} of the {report['n']:,} faces ({share}) stand pixel for pixel in {split} too.")
    leaked = report["n"] - (report["n_leak_free"] or report["n"])
    if leaked and report["accuracy_leak_free"] is not None:
        rest_right = round(report["accuracy_leak_free"] * report["n_leak_free"])
        right = round(report["accuracy"] * report["n"]) - rest_right
        result.append(
            f"On the {leaked:,} from train it is right {percent(right / leaked, 1)} of the time, "
            f"on the others {percent(report['accuracy_leak_free'], 1)}."
        )
    return result


def group_tables(report: Mapping[str, Any]) -> list[tuple[str, Table, list[str]]]:
    """Return for every column of groups its name, a table and sentences."""
    result = []
    for part in report.get("groups", ()):
        labels = report["labels"]
        header = ("group", "faces", "right", "95 % interval", "macro-F1", "ECE", *(f"recall {name}" for name in labels))
        rows: list[tuple[str, ...]] = []
        for group in part["groups"]:
            if not group["enough"]:
                rows.append((group["name"], f"{group['n']:,}", "too few to say", *[NONE] * (3 + len(labels))))
                continue
            rows.append(
                (
                    group["name"],
                    f"{group['n']:,}",
                    percent(group["accuracy"], 1),
                    percent_interval(group["accuracy_ci95"], 1),
                    f"{group['macro_f1']:.3f}",
                    percent(group["ece"], 1),
                    *(percent(group["recall"][name], 0) for name in labels),
                )
            )
        sentences = list(part["sentences"])
        if part["missing"]:
            sentences.append(f"{part['missing']:,} faces have no {part['column']} and are left out.")
        result.append((part["column"], (header, rows), sentences))
    return result


def robustness_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return what stays of the accuracy under each corruption, and the figures of named subsets."""
    found = report.get("robustness")
    if not found:
        return []
    tables: list[Table] = []
    rows: list[tuple[str, ...]] = []
    for kind, of_kind in _by_kind([*found["conditions"], *found["jitter"]]).items():
        relative = [row["relative_accuracy"] for row in of_kind if row["relative_accuracy"] is not None]
        stays = percent(sum(relative) / len(relative), 1) if relative else NONE
        rows.append((kind, *(percent(row["accuracy"], 0) for row in of_kind), stays))
    if rows:
        tables.append((("right at severity", "1", "2", "3", "4", "5", "stays"), rows))
    lines: list[tuple[str, ...]] = []
    for subset in found["subsets"]:
        for name, figures in ((subset["name"], subset["inside"]), (f"not {subset['name']}", subset["outside"])):
            if figures is not None:
                shown = (
                    f"{figures['n']:,}",
                    percent(figures["accuracy"], 1),
                    percent_interval(figures["accuracy_ci95"], 1),
                )
                lines.append((name, *shown, f"{figures['macro_f1']:.3f}", percent(figures["ece"], 1)))
    if lines:
        tables.append((("faces with", "faces", "right", "95 % interval", "macro-F1", "ECE"), lines))
    return tables


def robustness_sentence(report: Mapping[str, Any]) -> str:
    """Return the summary of a robustness run, and where it comes from."""
    found = report["robustness"]
    where = f"{found['model']} on {found['dataset']}, {found['split']}"
    text = f"Measured on {where}. {found['summary']}"
    if found["model"] != report["model"]:
        text += f" Beware: that is another model than {report['model']}."
    return text


def _by_kind(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    result: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        result.setdefault(row["kind"], []).append(row)
    return result
