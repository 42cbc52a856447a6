"""The figures of one model on one split: `Report`, and the JSON form that `report.json` has.

`to_dict` and `from_dict` are the only places that spell the keys of the JSON form; everything else reads attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from fervit.data.dataset import split_words
from fervit.errors import DataError
from fervit.evaluation import metrics
from fervit.evaluation.groups import Breakdown
from fervit.evaluation.intervals import Interval, Proportion
from fervit.evaluation.metrics import VoteDistribution
from fervit.evaluation.photos.detection import Detection
from fervit.evaluation.report_json import (
    BinJson,
    ClassFiguresJson,
    FurtherJson,
    OutOfReachJson,
    ReportJson,
    SelectiveJson,
    ThresholdJson,
)
from fervit.evaluation.robustness.results import Robustness
from fervit.evaluation.selective import OperatingPoint, RiskCoverage
from fervit.files import read_json


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far the probabilities can be believed.

    Attributes:
        ece: expected calibration error over 15 equal-width bins, 0..1.
        nll: mean negative log-likelihood, nats.
        brier: mean squared distance to the one-hot truth, 0..2.
        confidence: mean probability of the predicted label, 0..1; above the accuracy means overconfident.
        bins: `(15, 3)`: number of images, mean confidence and accuracy of each bin.
    """

    ece: float
    nll: float
    brier: float
    confidence: float
    bins: np.ndarray

    @classmethod
    def from_dict(cls, data: ReportJson) -> "Calibration":
        """Read these figures of what `Report.to_dict` returned."""
        bins = [(row["count"], row["confidence"], row["accuracy"]) for row in data["reliability"]]
        return cls(data["ece"], data["nll"], data["brier"], data["mean_confidence"], np.array(bins, np.float64))


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class; what is a division by nothing is None, as it says nothing about the model.

    Attributes:
        label: the class.
        precision: fraction of its predictions that are correct, 0..1; None for a class that is never predicted.
        recall: images of the class that were found; its count is how often the class is the truth.
        f1: harmonic mean of precision and recall, 0..1; None for a class that does not occur.
        f1_ci95: its bootstrap interval; None for a class that does not occur, and in older reports.
    """

    label: str
    precision: float | None
    recall: Proportion
    f1: float | None
    f1_ci95: Interval | None

    def to_dict(self) -> ClassFiguresJson:
        """Return the JSON object."""
        return {
            "precision": self.precision,
            "recall": _value(self.recall),
            "recall_ci95": _ends(self.recall),
            "f1": self.f1,
            "f1_ci95": list(self.f1_ci95) if self.f1_ci95 else None,
            "support": self.recall.count,
        }


@dataclass(frozen=True)
class Provenance:
    """Where a report's figures come from, as text; "" for what is not known.

    Attributes:
        model: name, architecture and input size.
        calibration: how the model was calibrated, and what that changed.
        licence: the model's.
        training_data: hash of the data that the model was trained on.
        measured_on: data set, split and number of faces.
        data_hash: hash of that data set.
        tta: test-time augmentation.
        time: what the predictions took.
        versions: of the packages.
        machine: operating system and processor.
        written: date and time, UTC.
        command: the command line that measured.
    """

    model: str = field(default="", metadata={"key": "model"})
    calibration: str = field(default="", metadata={"key": "calibration"})
    licence: str = field(default="", metadata={"key": "model's licence"})
    training_data: str = field(default="", metadata={"key": "trained on (data hash)"})
    measured_on: str = field(default="", metadata={"key": "measured on"})
    data_hash: str = field(default="", metadata={"key": "measured on (data hash)"})
    tta: str = field(default="", metadata={"key": "test-time augmentation"})
    time: str = field(default="", metadata={"key": "prediction time"})
    versions: str = field(default="", metadata={"key": "versions"})
    machine: str = field(default="", metadata={"key": "machine"})
    written: str = field(default="", metadata={"key": "written"})
    command: str = field(default="", metadata={"key": "command"})

    def to_dict(self) -> dict[str, str]:
        """Return what is known, by the names that report.json and its readers see."""
        named = {str(entry.metadata["key"]): str(getattr(self, entry.name)) for entry in fields(self)}
        return {key: text for key, text in named.items() if text}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> "Provenance":
        """Read what `to_dict` returned."""
        return cls(**{entry.name: data.get(entry.metadata["key"], "") for entry in fields(cls)})


@dataclass(frozen=True, eq=False)
class Report:
    """What was measured: one model, one split.

    Attributes:
        model: the model's name.
        dataset: the data set's name.
        data_hash: hash of the whole data set.
        split: the split that was read.
        labels: K label names of the data, in the order of every per-class value.
        confusion: `(K, K)` int64 counts, rows = truth, columns = prediction.
        macro_f1_ci95: 95 % bootstrap interval of `macro_f1`.
        balanced_accuracy_ci95: 95 % bootstrap interval of `balanced_accuracy`.
        calibration: see `Calibration`.
        f1_ci95: `(2, K)` 95 % bootstrap intervals of every class's F1; None in older reports.
        selective: what accepting only the most confident predictions brings; None in older reports.
        thresholds: wanted precision to the threshold that reaches it, or to None; empty in older reports.
        probs: `(N, K)` what the model predicted, for what else is to be measured. It is in no JSON, and so it has no
            rows in a report that was read from a file.
        leak_free: accuracy on images whose exact pixels are not in the train split; None when the data set has no
            train split or the train split itself was measured.
        votes: accuracy against the FER+ majority, on images that have votes; None without votes.
        shared_errors: among wrong predictions for images that have votes, those that the FER+ majority makes too.
        vote_distribution: agreement with the FER+ votes themselves; None without votes, and in older reports.
        tta: test-time augmentation, or None.
        seconds: wall time of the predictions.
        seen_in: earlier split to how many of these images it has too, pixel for pixel.
        dropped_labels: labels that the model has and the data lacks; their probability went to the others.
        left_out: label that the data has and the model lacks to the number of its images, which are not measured.
        groups: figures by group of people, one entry for each column of groups; empty if not measured.
        robustness: figures on corrupted images; None if not measured.
        detection: of whole photos, how their faces were found; all other figures are of the faces that were. Or None.
        provenance: where the figures come from; None until the report is written to a folder.
    """

    model: str
    dataset: str
    data_hash: str
    split: str
    labels: tuple[str, ...]
    confusion: np.ndarray
    macro_f1_ci95: Interval
    balanced_accuracy_ci95: Interval
    calibration: Calibration
    f1_ci95: np.ndarray | None = None
    selective: RiskCoverage | None = None
    thresholds: Mapping[float, OperatingPoint | None] = field(default_factory=dict)
    probs: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    leak_free: Proportion | None = None
    votes: Proportion | None = None
    shared_errors: Proportion | None = None
    vote_distribution: VoteDistribution | None = None
    tta: str | None = None
    seconds: float = 0.0
    seen_in: Mapping[str, int] = field(default_factory=dict)
    dropped_labels: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    groups: tuple[Breakdown, ...] = ()
    robustness: Robustness | None = None
    detection: Detection | None = None
    provenance: Provenance | None = None

    @property
    def where(self) -> str:
        """The data set and the split, in words."""
        return f"{self.dataset}, {split_words(self.split)}"

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> Proportion:
        """Correct predictions among all images."""
        return Proportion(int(np.trace(self.confusion)), self.count)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that occur, 0..1."""
        return float(metrics.balanced_accuracy(self.confusion))

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur as truth or as prediction, 0..1."""
        return float(metrics.macro_f1(self.confusion))

    @property
    def weighted_precision(self) -> float:
        """Precision averaged by how often each class is the truth, 0..1."""
        return float(metrics.weighted(metrics.precision(self.confusion), self.confusion))

    @property
    def weighted_recall(self) -> float:
        """Recall averaged by how often each class is the truth, 0..1."""
        return float(metrics.weighted(metrics.recall(self.confusion), self.confusion))

    @property
    def weighted_f1(self) -> float:
        """F1 averaged by how often each class is the truth, 0..1."""
        return float(metrics.weighted(metrics.f1(self.confusion), self.confusion))

    @property
    def per_class(self) -> tuple[ClassFigures, ...]:
        """Figures of every class, in the order of `labels`."""
        matrix, result = self.confusion, []
        precision, f1, support = metrics.precision(matrix), metrics.f1(matrix), metrics.support(matrix)
        for k, label in enumerate(self.labels):
            ends = self.f1_ci95[:, k] if self.f1_ci95 is not None and support[k] else None
            recall = Proportion(int(matrix[k, k]), int(support[k]))
            interval = None if ends is None or np.isnan(ends).any() else (float(ends[0]), float(ends[1]))
            found = float(precision[k]) if matrix[:, k].any() else None
            result.append(ClassFigures(label, found, recall, float(f1[k]) if support[k] else None, interval))
        return tuple(result)

    def to_dict(self) -> ReportJson:
        """Return the JSON object; fractions are 0..1, intervals `[low, high]`, what is unknown null."""
        matrix = self.confusion
        return {
            "model": self.model,
            "dataset": self.dataset,
            "data_hash": self.data_hash,
            "split": self.split,
            "labels": list(self.labels),
            "tta": self.tta,
            "n": self.count,
            "accuracy": self.accuracy.value,
            "accuracy_ci95": list(self.accuracy.ci95),
            "n_leak_free": _count(self.leak_free),
            "accuracy_leak_free": _value(self.leak_free),
            "accuracy_leak_free_ci95": _ends(self.leak_free),
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_ci95": list(self.balanced_accuracy_ci95),
            "macro_precision": float(metrics.macro(metrics.precision(matrix), matrix)),
            "macro_recall": float(metrics.macro(metrics.recall(matrix), matrix)),
            "macro_f1": self.macro_f1,
            "macro_f1_ci95": list(self.macro_f1_ci95),
            "weighted_precision": self.weighted_precision,
            "weighted_recall": self.weighted_recall,
            "weighted_f1": self.weighted_f1,
            "ece": self.calibration.ece,
            "nll": self.calibration.nll,
            "brier": self.calibration.brier,
            "mean_confidence": self.calibration.confidence,
            "n_votes": _count(self.votes),
            "accuracy_votes": _value(self.votes),
            "accuracy_votes_ci95": _ends(self.votes),
            "n_errors_with_votes": _count(self.shared_errors),
            "errors_shared_by_votes": _value(self.shared_errors),
            "per_class": {row.label: row.to_dict() for row in self.per_class},
            "confusion": matrix.tolist(),
            "reliability": [_bin(row) for row in self.calibration.bins],
            **self._selective_json(),
            "seen_in": dict(self.seen_in),
            "dropped_labels": list(self.dropped_labels),
            "seconds": round(self.seconds, 3),
            **self._further_json(),
        }

    def _selective_json(self) -> SelectiveJson:
        if self.selective is None:
            return {}
        rows = [_threshold(wanted, point) for wanted, point in self.thresholds.items()]
        return {"risk_coverage": self.selective.to_dict(), "thresholds": rows}

    def _further_json(self) -> FurtherJson:
        data: FurtherJson = {}
        if self.left_out:
            data["left_out_labels"] = dict(self.left_out)
        if self.vote_distribution is not None:
            data["vote_distribution"] = self.vote_distribution.to_dict()
        if self.groups:
            data["groups"] = [breakdown.to_dict() for breakdown in self.groups]
        if self.robustness is not None:
            data["robustness"] = self.robustness.to_dict()
        if self.detection is not None:
            data["detection"] = self.detection.to_dict()
        if self.provenance is not None:
            data["provenance"] = self.provenance.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: ReportJson) -> "Report":
        """Read what `to_dict` returned; parts that an older report lacks are left out.

        Raises:
            KeyError: something else is missing.
        """
        (low, high), (macro_low, macro_high) = data["balanced_accuracy_ci95"], data["macro_f1_ci95"]
        return cls(
            model=data["model"],
            dataset=data["dataset"],
            data_hash=data["data_hash"],
            split=data["split"],
            labels=tuple(data["labels"]),
            confusion=np.array(data["confusion"], np.int64),
            macro_f1_ci95=(macro_low, macro_high),
            balanced_accuracy_ci95=(low, high),
            calibration=Calibration.from_dict(data),
            f1_ci95=_f1_intervals(data),
            selective=RiskCoverage.from_dict(data["risk_coverage"]) if "risk_coverage" in data else None,
            thresholds=dict(map(_read_threshold, data.get("thresholds", []))),
            leak_free=_proportion(data["accuracy_leak_free"], data["n_leak_free"]),
            votes=_proportion(data["accuracy_votes"], data["n_votes"]),
            shared_errors=_proportion(data.get("errors_shared_by_votes"), data.get("n_errors_with_votes")),
            tta=data["tta"],
            seconds=data["seconds"],
            seen_in=data.get("seen_in", {}),
            vote_distribution=VoteDistribution.from_dict(data["vote_distribution"])
            if "vote_distribution" in data
            else None,
            dropped_labels=tuple(data["dropped_labels"]),
            left_out=data.get("left_out_labels", {}),
            groups=tuple(map(Breakdown.from_dict, data.get("groups", []))),
            robustness=Robustness.from_dict(data["robustness"]) if data.get("robustness") else None,
            detection=Detection.from_dict(data["detection"]) if "detection" in data else None,
            provenance=Provenance.from_dict(data["provenance"]) if "provenance" in data else None,
        )


def read_report(path: str | Path) -> Report:
    """Read a `report.json`, or what `fervit evaluate --json` wrote.

    Raises:
        DataError: it is missing, or something else.
    """
    data = read_json(path)
    try:
        return Report.from_dict(data)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no report.json as `fervit evaluate --report DIR` writes it") from error


def _count(proportion: Proportion | None) -> int | None:
    return None if proportion is None else proportion.count


def _value(proportion: Proportion | None) -> float | None:
    return proportion.value if proportion is not None and proportion.count else None


def _ends(proportion: Proportion | None) -> list[float] | None:
    return list(proportion.ci95) if proportion is not None and proportion.count else None


def _proportion(value: float | None, count: int | None) -> Proportion | None:
    return None if count is None else Proportion.from_value(value, count)


def _bin(row: np.ndarray) -> BinJson:
    return {"count": int(row[0]), "confidence": float(row[1]), "accuracy": float(row[2])}


def _threshold(wanted: float, point: OperatingPoint | None) -> ThresholdJson | OutOfReachJson:
    if point is None:
        return {"wanted": wanted, "threshold": None}
    return {"wanted": wanted, **point.to_dict()}


def _read_threshold(row: ThresholdJson | OutOfReachJson) -> tuple[float, OperatingPoint | None]:
    return row["wanted"], None if row["threshold"] is None else OperatingPoint.from_dict(row)


def _f1_intervals(data: ReportJson) -> np.ndarray | None:
    """Return `(2, K)` intervals, NaN for classes that have none; None where no class has one."""
    rows = [data["per_class"][label].get("f1_ci95") for label in data["labels"]]
    if not any(rows):
        return None
    ends: np.ndarray = np.array([row or (np.nan, np.nan) for row in rows], np.float64).T
    return ends
