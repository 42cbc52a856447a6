"""The JSON form of a report, as `report.json` has it; `report.Report` writes and reads it."""

from typing import NotRequired, TypedDict

from fervit.evaluation.groups import BreakdownJson
from fervit.evaluation.metrics import VoteDistributionJson
from fervit.evaluation.photos.detection import DetectionJson
from fervit.evaluation.robustness.results import RobustnessJson
from fervit.evaluation.selective import OperatingPointJson, RiskCoverageJson


class ClassFiguresJson(TypedDict):
    """`ClassFigures` in report.json, null where not defined; older files have 0 there, and no intervals."""

    precision: float | None
    recall: float | None
    recall_ci95: NotRequired[list[float] | None]
    f1: float | None
    f1_ci95: NotRequired[list[float] | None]
    support: int


class BinJson(TypedDict):
    """One bin of the reliability diagram in report.json."""

    count: int
    confidence: float
    accuracy: float


class OutOfReachJson(TypedDict):
    """A wanted precision that no threshold reaches, in report.json."""

    wanted: float
    threshold: None


class ThresholdJson(OperatingPointJson):
    """A wanted precision and the threshold that reaches it, in report.json."""

    wanted: float


class SelectiveJson(TypedDict, total=False):
    """What accepting only the most confident predictions brings, in report.json; older files lack it."""

    risk_coverage: RiskCoverageJson
    thresholds: list[ThresholdJson | OutOfReachJson]


class FurtherJson(TypedDict, total=False):
    """What report.json has only where it was measured, and where the figures come from."""

    left_out_labels: dict[str, int]
    vote_distribution: VoteDistributionJson
    groups: list[BreakdownJson]
    robustness: RobustnessJson
    detection: DetectionJson
    provenance: dict[str, str]


class ReportJson(SelectiveJson, FurtherJson):
    """`Report` in report.json; older files lack what is `NotRequired`."""

    model: str
    dataset: str
    data_hash: str
    split: str
    labels: list[str]
    tta: str | None
    n: int
    accuracy: float
    accuracy_ci95: list[float]
    n_leak_free: int | None
    accuracy_leak_free: float | None
    accuracy_leak_free_ci95: list[float] | None
    balanced_accuracy: float
    balanced_accuracy_ci95: list[float]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    macro_f1_ci95: list[float]
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    ece: float
    nll: float
    brier: float
    mean_confidence: float
    n_votes: int | None
    accuracy_votes: float | None
    accuracy_votes_ci95: list[float] | None
    n_errors_with_votes: NotRequired[int | None]
    errors_shared_by_votes: NotRequired[float | None]
    per_class: dict[str, ClassFiguresJson]
    confusion: list[list[int]]
    reliability: list[BinJson]
    seen_in: NotRequired[dict[str, int]]
    dropped_labels: list[str]
    seconds: float
