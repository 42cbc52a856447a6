"""A report as in a paper, and one with everything that a report may have."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.data import load
from fervit.evaluation.groups import read_groups
from fervit.evaluation.measurement import add_groups, evaluate
from fervit.evaluation.report import Report
from fervit.evaluation.robustness.measurement import RobustnessPlan, measure_robustness
from fervit.probabilities import softmax
from fervit.reports import gallery
from fervit.reports.report import write_report
from tests.helpers.reports import COMMAND, SPEC, leaky_report


@pytest.fixture(scope="session")
def report() -> Report:
    return leaky_report()


@pytest.fixture(scope="session")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `report`."""
    folder = tmp_path_factory.mktemp("out") / "report"
    assert write_report(report, folder, command=COMMAND, spec=SPEC) == folder / "report.html"
    return folder


class Guesser:
    """Predicts at random."""

    spec = SPEC

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        logits = np.random.default_rng(len(crops)).normal(size=(len(crops), 7)) * 2
        return softmax(logits)


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A report with groups, a robustness run, leaks and faces, on drawn faces, and its folder."""
    folder = tmp_path_factory.mktemp("full")
    dataset = load("synthetic:210")
    part = dataset.split("train")
    table = folder / "groups.csv"
    table.write_text("row,age\n" + "".join(f"{row},{'old' if row % 2 else 'young'}\n" for row in part.rows))
    (folder / "list.csv").write_text("row\n" + "".join(f"{row}\n" for row in part.rows[:40]))
    plan = RobustnessPlan(["jpeg", "shift"], faces=20, subsets={"covered": folder / "list.csv"})
    result = add_groups(evaluate(Guesser(), dataset, split="train"), part, read_groups(part, table))
    report = replace(
        result,
        robustness=measure_robustness(Guesser(), dataset, split="train", plan=plan),
        seen_in={"train": 12},
    )
    write_report(report, folder / "report", command="", spec=SPEC, faces=gallery.sheets(result.probs, part))
    return folder / "report", report
