"""What a measurement of robustness found, and its file."""

import json
from pathlib import Path

import pytest

from fervit.errors import DataError
from fervit.evaluation.intervals import Proportion
from fervit.evaluation.robustness.results import Condition, Robustness, Subset, SubsetFigures, read_robustness

FOUND = Robustness(
    model="m",
    dataset="d",
    split="train",
    total=90,
    clean=Proportion(40, 50),
    conditions=(Condition("jpeg", 1, 30, 11, 50), Condition("jpeg", 2, 20, 21, 50), Condition("noise", 1, 10, 33, 50)),
    jitters=(Condition("shift", 1, 38, 3, 50),),
    unchanged=("grayscale",),
    score=0.5,
    score_ci95=(0.4, 0.6),
    subsets=(
        Subset("a", "9 matched", SubsetFigures(Proportion(3, 9), 0.3, (0.1, 0.5), 0.2), None),
        Subset("b", "8 matched", *[SubsetFigures(Proportion(5, 8), 0.6, (0.5, 0.7), 0.1, 0.75)] * 2),
    ),
)


@pytest.mark.parametrize("content", ["", "[]", '{"n": 3}'])
def test_a_file_that_is_no_robustness_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(DataError):
        read_robustness(tmp_path / "r.json")


def test_what_was_found_survives_its_file(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(FOUND.to_dict()))
    assert read_robustness(tmp_path / "r.json") == FOUND


def test_relative_accuracies_are_averaged_over_severities() -> None:
    assert FOUND.mean_relative == {"jpeg": (30 / 40 + 20 / 40) / 2, "noise": 10 / 40}
    assert FOUND.relative_of(FOUND.jitters) == {"shift": 38 / 40}
    assert FOUND.summary.endswith("Worst: noise (25 %) and jpeg (62 %).")
