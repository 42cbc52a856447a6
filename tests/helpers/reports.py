"""Reports of random predictions."""

import numpy as np

from fervit.data import Dataset
from fervit.evaluation.measurement import measure
from fervit.evaluation.report import Report
from fervit.labels import FER7
from fervit.probabilities import softmax
from fervit.reports.text import FER2013_TEST_SIZE
from fervit.types import ModelSpec, Preprocess

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Probabilities `(N, K)`, targets and predictions `(N,)`."""

SPEC = ModelSpec("vit", Preprocess(96, (0.5,) * 3, (0.5,) * 3), name="tiny", licence="Apache-2.0")
COMMAND = "fervit evaluate --data fer2013.csv --report 'my report'"
LEAKED = 280  # images of `leaky_report` that its train split has too


def make_report(
    count: int = FER2013_TEST_SIZE,
    *,
    skill: float = 1.9,
    labels: tuple[str, ...] = FER7,
    leaks: dict[str, np.ndarray] | None = None,
    name: str = "fer2013.csv",
) -> Report:
    """Measure random predictions that are correct more often the higher `skill` is."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, len(labels), count)
    logits = rng.normal(size=(count, len(labels))) + skill * np.eye(len(labels))[targets]
    part = Dataset(
        name=name,
        labels=labels,
        images=np.zeros((count, 1, 1, 1), np.uint8),
        targets=targets,
        split_ids=np.ones(count, np.int8),
        rows=np.arange(count),
        data_hash="ab" * 32,
    )
    return measure(softmax(logits), part, model="tiny", leaks=leaks)


def leaky_report() -> Report:
    """Return a report of as many faces as FER2013's test part has, `LEAKED` of them leaks."""
    return make_report(leaks={"train": np.arange(FER2013_TEST_SIZE) < LEAKED})
