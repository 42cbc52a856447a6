"""Answering only where the model is sure."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fervit
from fervit.cli import app
from fervit.errors import ConfigError, DataError, ModelError
from fervit.evaluation.intervals import FEWEST
from fervit.evaluation.selective import OperatingPoint, RiskCoverage, operating_point, risk_coverage, threshold_for
from fervit.inference.results import ImageResult
from fervit.inference.rows import table_lines
from fervit.labels import FER7
from fervit.media.draw import annotate
from fervit.types import Box, Face, Prediction


def images(
    confidence: Sequence[float] | np.ndarray, correct: Sequence[bool] | np.ndarray, classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose prediction has the given confidence, and targets that make it correct or wrong."""
    confidence = np.asarray(confidence, float)
    probs = np.repeat(((1 - confidence) / (classes - 1))[:, None], classes, axis=1)
    probs[:, 0] = confidence
    return probs, np.where(correct, 0, 1)


def calibrated(count: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.4, 1, count)
    return images(confidence, rng.random(count) < confidence)


def test_the_curve_of_a_hand_made_case() -> None:
    curve = risk_coverage(*images([0.9, 0.8, 0.7, 0.6], [True, False, True, True]))
    np.testing.assert_allclose(curve.threshold, [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 1 / 4])
    assert curve.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert curve.best_aurc == pytest.approx((0 + 0 + 0 + 1 / 4) / 4)


def test_pictures_of_one_confidence_are_answered_together() -> None:
    curve = risk_coverage(*images([0.9, 0.9, 0.9, 0.5], [False, True, True, True]))
    np.testing.assert_allclose(curve.coverage, [0.75, 1])
    np.testing.assert_allclose(curve.risk, [1 / 3, 1 / 4])


def test_the_order_of_pictures_does_not_matter() -> None:
    probs, targets = calibrated(300)
    order = np.random.default_rng(1).permutation(len(probs))
    assert risk_coverage(probs, targets).aurc == risk_coverage(probs[order], targets[order]).aurc


def test_full_coverage_has_the_risk_of_the_whole_and_the_area_is_at_least_the_best() -> None:
    probs, targets = calibrated()
    curve = risk_coverage(probs, targets)
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx((probs.argmax(axis=1) != targets).mean())
    assert curve.best_aurc <= curve.aurc < curve.risk[-1]


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [0.75, 0.8, 0.9])
def test_the_threshold_reaches_the_wanted_precision_and_no_lower_one_does(wanted: float) -> None:
    probs, targets = calibrated()
    point = threshold_for(probs, targets, wanted)
    assert point is not None and point.precision is not None and point.precision >= wanted
    lower = np.unique(probs.max(axis=1)[probs.max(axis=1) < point.threshold])
    assert all((operating_point(probs, targets, t).precision or 0) < wanted for t in lower)
    assert operating_point(probs, targets, point.threshold) == point


def test_a_safe_threshold_answers_less_and_holds_on_fresh_images() -> None:
    probs, targets = calibrated(seed=0)
    plain, safe = threshold_for(probs, targets, 0.85), threshold_for(probs, targets, 0.85, safe=True)
    assert plain is not None and safe is not None
    assert safe.threshold > plain.threshold and safe.coverage < plain.coverage
    fresh = operating_point(*calibrated(5000, seed=7), safe.threshold).precision
    assert fresh is not None and fresh >= 0.85


def test_a_precision_out_of_reach_has_no_threshold() -> None:
    probs, targets = images(np.linspace(0.5, 0.9, 100), np.zeros(100, bool))
    assert threshold_for(probs, targets, 0.5) is None


def test_a_precision_that_few_answers_show_is_not_believed() -> None:
    count = 3 * FEWEST
    right = np.arange(count) >= count - (FEWEST - 1)  # only the surest, one too few of them, are right
    assert threshold_for(*images(np.linspace(0.5, 0.9, count), right), 1.0) is None


def test_one_picture_and_all_wrong_have_defined_curves() -> None:
    curve = risk_coverage(*images([0.9], [False]))
    assert curve.aurc == 1 and curve.best_aurc == 1 and curve.coverage.tolist() == [1]
    assert threshold_for(*images([0.9], [True]), 0.5) is None


def test_a_threshold_above_all_answers_nothing() -> None:
    point = operating_point(*images([0.6, 0.7], [True, True]), 0.99)
    assert point.accepted == 0 and point.precision is None and point.to_dict()["precision_ci95"] is None


@pytest.mark.parametrize("wanted", [0, -0.1, 1.01])
def test_a_precision_that_is_no_fraction_is_refused(wanted: float) -> None:
    with pytest.raises(ConfigError, match="fraction of correct predictions"):
        threshold_for(*calibrated(50), wanted)


def test_a_threshold_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        operating_point(*calibrated(50), 90)


def test_nan_and_nothing_are_clear_errors() -> None:
    probs, targets = calibrated(50)
    probs[0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        risk_coverage(probs, targets)
    with pytest.raises(DataError, match="no pictures"):
        risk_coverage(np.empty((0, 3)), np.empty(0, int))


def test_the_json_curve_is_thin_and_keeps_its_ends() -> None:
    curve = risk_coverage(*calibrated()).to_dict()["curve"]
    assert len(curve) <= 80 and curve[-1]["coverage"] == 1
    assert curve[0]["threshold"] > curve[-1]["threshold"]


def test_a_curve_and_a_point_survive_their_json_form() -> None:
    curve = risk_coverage(*calibrated())
    assert RiskCoverage.from_dict(curve.to_dict()).to_dict() == curve.to_dict()
    for threshold in (0.5, 0.77, 1.0):
        point = operating_point(*calibrated(), threshold)
        assert OperatingPoint.from_dict(point.to_dict()) == point


def prediction(score: float, min_confidence: float) -> Prediction:
    probs = np.full(7, (1 - score) / 6)
    probs[3] = score
    return Prediction(Face(Box(0, 0, 90, 90), 0.9), FER7, probs, None, min_confidence)


def test_an_unsure_prediction_answers_uncertain_and_keeps_its_probabilities() -> None:
    unsure, sure = prediction(0.6, 0.7), prediction(0.7, 0.7)
    assert (unsure.label, sure.label) == ("uncertain", "happy")
    assert unsure.score == pytest.approx(0.6) and unsure.top(1)[0][0] == "happy"
    row = unsure.to_dict()
    assert row["label"] == "uncertain" and row["probs"]["happy"] == pytest.approx(0.6)


def test_an_uncertain_answer_can_be_drawn_and_printed() -> None:
    picture = annotate(np.zeros((200, 200, 3), np.uint8), [prediction(0.6, 0.7)])
    assert picture.any()
    (line,) = table_lines(ImageResult("a.jpg", [prediction(0.6, 0.7)]))
    assert "uncertain" in line and "happy 60 %" in line


def test_a_recognizer_answers_uncertain_below_its_threshold(tiny_onnx: Path) -> None:
    face = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    score = fervit.load(tiny_onnx, detector="none")(face)[0].score
    for threshold, expected in ((score, False), (score + 1e-6, True)):
        recognizer = fervit.load(tiny_onnx, detector="none", min_confidence=threshold)
        assert (recognizer(face)[0].label == "uncertain") is expected
        assert (next(recognizer.images([face])).predictions[0].label == "uncertain") is expected
    with pytest.raises(ConfigError, match="from 0 to 1"):
        fervit.load(tiny_onnx, min_confidence=90)


def test_predict_takes_a_minimum_confidence(tiny_onnx: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((48, 48, 3), 99, np.uint8)).save(tmp_path / "face.png")
    arguments = ["predict", str(tmp_path / "face.png"), "--crop", "--model", str(tiny_onnx), "--json", "-"]
    done = CliRunner().invoke(app, [*arguments, "--min-confidence", "1"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[0])["label"] == "uncertain"
    assert json.loads(CliRunner().invoke(app, arguments).stdout.splitlines()[0])["label"] in FER7
