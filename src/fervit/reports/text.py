"""A report's figures as text: the sentences and table rows that the terminal, Markdown and HTML share."""

from dataclasses import dataclass

from fervit.data.dataset import ALL
from fervit.evaluation.intervals import Interval, Proportion
from fervit.evaluation.photos.detection import Detection
from fervit.evaluation.report import ClassFigures, Report
from fervit.formatting import NONE, percent, percent_interval
from fervit.labels import FER7, canonical
from fervit.reports.published import PAPER

FER2013_TEST_SIZE = 3589  # images in PublicTest, and as many in PrivateTest
IN_TRAIN = "whose exact pixels are in the train split too"
CLASS_HEADER = ("expression", "precision", "recall", "95 % interval", "F1", "95 % interval", "paper's F1", "faces")
FIGURE_HEADER = ("figure", "value", "95 % interval", "paper")
SHOWN = 3  # names of photos, before a sentence says how many more there are
MISCALIBRATED = 0.02  # difference of confidence and accuracy from which on a report calls a model miscalibrated


@dataclass(frozen=True)
class Line:
    """One measured figure as text, with its 95 % interval and what the paper reports ("–" for none)."""

    name: str
    value: str
    interval: str = NONE
    paper: str = NONE

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The line below `FIGURE_HEADER`."""
        return self.name, self.value, self.interval, self.paper


def title(report: Report) -> str:
    """Return what was measured: model, data set, split."""
    return f"{report.model} on {report.where}"


def comparable(report: Report) -> bool:
    """Tell whether the report is about one of FER2013's two test parts, as the paper's figures are."""
    return report.count == FER2013_TEST_SIZE and {canonical(name) for name in report.labels} == set(FER7)


def summary(report: Report) -> str:
    """Return what was found, in one or two plain sentences."""
    accuracy, leak_free = report.accuracy, report.leak_free
    low, high = accuracy.ci95
    text = (
        f"{report.model} predicts the labelled expression of {accuracy.correct:,} of {accuracy.count:,} faces of "
        f"{report.where}: {percent(accuracy.value)} "
        f"(95 % interval {percent_interval(accuracy.ci95)})"
    )
    if leak_free is not None and 0 < leak_free.count < accuracy.count:
        text += f", and {percent(leak_free.value)} of the {leak_free.count:,} that the train split does not have too"
    if (detection := report.detection) is not None:
        found = detection.found
        text += (
            f". A face was found on {found.correct:,} of {found.count:,} photos ({percent(found.value)}); "
            f"with the others counted as wrong, {percent(detection.accuracy.value)} of all photos are correct"
        )
    if not comparable(report):
        return text + "."
    points = 100 * (accuracy.value - PAPER.accuracy)
    where = f"{abs(points):.2f} points {'above' if points >= 0 else 'below'}"
    chance = "a difference that chance can explain" if low <= PAPER.accuracy <= high else "more than chance explains"
    return f"{text}. That is {where} the paper's {percent(PAPER.accuracy)}, {chance}."


def lines(report: Report) -> list[Line]:
    """Return the figures in the order in which to read them: fair averages first, accuracy after them."""
    calibration = report.calibration
    return [
        Line("macro-F1", _score(report.macro_f1), _interval(report.macro_f1_ci95, 3)),
        Line("balanced accuracy", percent(report.balanced_accuracy), percent_interval(report.balanced_accuracy_ci95)),
        Line("weighted precision", _score(report.weighted_precision), paper=f"{PAPER.weighted_precision:.2f}"),
        Line("weighted recall", _score(report.weighted_recall), paper=f"{PAPER.weighted_recall:.2f}"),
        Line("weighted F1", _score(report.weighted_f1), paper=f"{PAPER.weighted_f1:.2f}"),
        *_accuracy_lines(report),
        Line("calibration error (ECE)", percent(calibration.ece)),
        Line("negative log-likelihood", f"{calibration.nll:.3f} nats"),
        Line("Brier score (0 to 2)", _score(calibration.brier)),
    ]


def _accuracy_lines(report: Report) -> list[Line]:
    if (detection := report.detection) is None:
        result = [_accuracy_line("accuracy, all", report.accuracy, paper=percent(PAPER.accuracy))]
    else:
        result = [
            _accuracy_line("face found, of photos", detection.found),
            _accuracy_line("accuracy, faces found", report.accuracy),
            _accuracy_line("accuracy, all photos", detection.accuracy, paper=percent(PAPER.accuracy)),
        ]
    if report.leak_free is not None and report.leak_free.count:
        result.append(_accuracy_line("accuracy, leak-free", report.leak_free))
    if report.votes is not None and report.votes.count:
        result.append(_accuracy_line("accuracy, against the FER+ majority", report.votes))
    if (shared := report.shared_errors) is not None and shared.count:
        name = f"errors that the FER+ majority makes too, of {shared.count:,}"
        result.append(Line(name, percent(shared.value)))
    if (found := report.vote_distribution) is not None:
        fraction, overlap = percent(found.fraction), percent(found.overlap)
        result.append(Line("votes for the predicted label", fraction, percent_interval(found.fraction_ci95)))
        result.append(Line("overlap with the votes", overlap, percent_interval(found.overlap_ci95)))
    return result


def _accuracy_line(name: str, accuracy: Proportion, *, paper: str = NONE) -> Line:
    return Line(f"{name} {accuracy.count:,}", percent(accuracy.value), percent_interval(accuracy.ci95), paper)


def class_rows(report: Report) -> list[tuple[str, ...]]:
    """Return the cells below `CLASS_HEADER` for every class, as text."""
    return [_class_row(figures) for figures in report.per_class]


def _class_row(figures: ClassFigures) -> tuple[str, ...]:
    recall, published = figures.recall, PAPER.f1.get(canonical(figures.label))
    return (
        figures.label,
        _score(figures.precision),
        _score(recall.value if recall.count else None),
        _interval(recall.ci95 if recall.count else None, 2),
        _score(figures.f1),
        _interval(figures.f1_ci95, 2),
        NONE if published is None else f"{published:.2f}",
        f"{recall.count:,}",
    )


def notes(report: Report) -> list[str]:
    """Return what a reader must know to take the figures for what they are."""
    result = []
    if not comparable(report):
        result.append(
            f"The paper's figures are of FER2013's test part; these are of {report.where}, so the two do not compare."
        )
    if report.detection is not None:
        result += _detection_notes(report.detection)
    if report.leak_free is None or not report.leak_free.count:
        result.append("No leak-free accuracy: there is no train split to compare this one with.")
    else:
        leaked = report.count - report.leak_free.count
        which = "of the train split, or with its exact pixels" if report.split == ALL else IN_TRAIN
        result.append(f"Leak-free leaves out {leaked:,} faces {which}.")
    if report.split == "public_test":
        result.append("public_test is the split to choose on: a model that was chosen on it looks better than it is.")
    if report.left_out:
        gone = ", ".join(f"{name} ({count:,})" for name, count in report.left_out.items())
        result.append(f"The model does not know these labels of the data, whose faces are left out: {gone}.")
    if report.dropped_labels:
        result.append(
            f"The model also has the labels {', '.join(report.dropped_labels)}, which the data lacks; "
            "their probability was distributed among the other labels."
        )
    empty = [figures.label for figures in report.per_class if not figures.recall.count]
    if empty:
        result.append(
            f"No face shows {', '.join(empty)}: recall and F1 are not defined there ({NONE}), and balanced accuracy "
            "leaves out what does not occur."
        )
        if wrongly := [name for name in empty if report.confusion[:, report.labels.index(name)].any()]:
            result.append(f"{', '.join(wrongly)} was predicted all the same, which counts as an F1 of 0 in macro-F1.")
    return result


def _detection_notes(detection: Detection) -> list[str]:
    """Return how the photos' faces were found."""
    result = [f"Faces were found by {detection.detector} and cut out as `fervit predict` does."]
    if missed := detection.missed:
        labels = ", ".join(f"{label} {count:,}" for label, count in detection.not_found.items())
        more = f" and {len(missed) - SHOWN:,} more" if len(missed) > SHOWN else ""
        result.append(
            f"No face was found on {len(missed):,} photos ({labels}): {', '.join(missed[:SHOWN])}{more}. All "
            "figures but the accuracy over all photos leave them out."
        )
    if detection.several:
        result.append(f"{detection.several:,} photos show several faces: the largest was taken.")
    return result


def calibration_sentence(report: Report) -> str:
    """Return the model's confidence beside its accuracy, in one sentence."""
    confidence, accuracy = report.calibration.confidence, report.accuracy.value
    verdict = "well calibrated on average"
    if abs(confidence - accuracy) > MISCALIBRATED:
        verdict = "overconfident" if confidence > accuracy else "underconfident"
    return f"Its mean confidence is {percent(confidence)} and its accuracy {percent(accuracy)}: {verdict}."


def _score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _interval(interval: Interval | None, digits: int) -> str:
    return NONE if interval is None else f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
