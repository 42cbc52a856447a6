"""Corrupted pictures, and what they do to answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.data import load
from fervit.errors import ConfigError, DataError, ModelError
from fervit.evaluation.corruptions import CORRUPTIONS, EYES_Y, GREY, JITTERS, MOUTH_Y, SEVERITIES, corrupt
from fervit.evaluation.robustness import mean_relative, read_robustness, robustness, stratified, summary
from fervit.types import ModelSpec, Preprocess

KINDS = [*CORRUPTIONS, *JITTERS]


@pytest.fixture(scope="module")
def dataset():
    return load("synthetic:210")


class Oracle:
    """Knows the faces it has seen clean, and answers neutral for what has changed by more than `patience`."""

    spec = ModelSpec(arch="oracle", preprocess=Preprocess(48, (0.5,) * 3, (0.5,) * 3), name="oracle")

    def __init__(self, dataset, patience):
        self.faces = dataset.images.astype(np.float32)
        self.targets, self.patience = dataset.targets, patience

    def probs(self, crops, *, batch_size=64):
        answers = np.full(len(crops), 6)
        for k, crop in enumerate(crops):
            distance = np.abs(self.faces - crop).mean(axis=(1, 2, 3))
            if distance.min() <= self.patience:
                answers[k] = self.targets[distance.argmin()]
        return 0.3 * np.eye(7)[answers] + 0.1


def colour(images):
    tint = np.array([1.0, 0.8, 0.6])
    return (images * tint).astype(np.uint8)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_corruption_keeps_shape_and_type_and_repeats(dataset, name, channels):
    faces = dataset.images[:3] if channels == 1 else colour(dataset.images[:3])
    before = faces.copy()
    for severity in SEVERITIES:
        worse = corrupt(faces, name, severity)
        assert worse.shape == faces.shape and worse.dtype == np.uint8
        np.testing.assert_array_equal(worse, corrupt(faces, name, severity))
        if not (name == "grayscale" and channels == 1):
            assert (worse != faces).any()
    np.testing.assert_array_equal(faces, before)


@pytest.mark.parametrize("name", KINDS)
def test_every_corruption_grows_with_its_severity(dataset, name):
    faces = colour(dataset.images[:24]).astype(np.float64)
    change = [np.abs(corrupt(faces.astype(np.uint8), name, s) - faces).mean() for s in SEVERITIES]
    assert change == sorted(change) and change[-1] > 1.3 * change[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_larger_picture_is_corrupted_alike(dataset, name):
    import cv2

    small = colour(dataset.images[:12])
    large = np.stack([cv2.resize(face, (144, 144), interpolation=cv2.INTER_CUBIC) for face in small])
    changes = [np.abs(corrupt(faces, name, 3).astype(float) - faces).mean() for faces in (small, large)]
    assert changes[1] == pytest.approx(changes[0], rel=0.5)


@pytest.mark.parametrize("name", KINDS)
def test_tiny_and_oblong_pictures_survive(name):
    rng = np.random.default_rng(0)
    for shape in ((1, 8, 8, 3), (1, 30, 17, 1), (1, 1, 1, 3)):
        faces = rng.integers(0, 256, shape, dtype=np.uint8)
        for severity in (1, 5):
            assert corrupt(faces, name, severity).shape == shape


def test_no_pictures_give_no_pictures(dataset):
    assert corrupt(dataset.images[:0], "jpeg", 1).shape == (0, 48, 48, 1)


def test_eyes_and_mouth_are_where_the_bands_lie(dataset):
    for name, middle in (("eyes", EYES_Y), ("mouth", MOUTH_Y)):
        covered = (corrupt(dataset.images[:1], name, 1)[0, :, :, 0] == GREY).all(axis=1)
        assert covered[round(middle * 48)] and 4 <= covered.sum() <= 6
    assert (corrupt(dataset.images[:1], "left-half", 5)[0, :, :24] == GREY).all()
    assert (corrupt(dataset.images[:1], "right-half", 5)[0, :, 24:] == GREY).all()


def test_grayscale_leaves_grey_pictures_and_takes_all_colour_at_last(dataset):
    np.testing.assert_array_equal(corrupt(dataset.images[:2], "grayscale", 5), dataset.images[:2])
    grey = corrupt(colour(dataset.images[:2]), "grayscale", 5)
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize(("name", "severity"), [("blurr", 1), ("jpeg", 0), ("jpeg", 6)])
def test_unknown_corruptions_and_severities_are_refused(dataset, name, severity):
    with pytest.raises(ConfigError):
        corrupt(dataset.images[:1], name, severity)


def test_figures_are_those_of_the_corrupted_pictures(dataset):
    model = Oracle(dataset, patience=12)
    result = robustness(model, dataset, split="train", kinds=["noise", "shift"], faces=None)
    part = dataset.split("train")
    assert result.count == result.total == len(part) and result.clean == 1
    assert [c.kind for c in result.conditions] == ["noise"] * 5 and [c.kind for c in result.jitters] == ["shift"] * 5
    right = model.probs(corrupt(part.images, "noise", 2)).argmax(axis=1) == part.targets
    assert result.conditions[1].right == right.sum()
    assert result.relative(result.conditions[1]) == right.mean()
    assert result.score == pytest.approx(np.mean([c.accuracy for c in result.conditions]))
    low, high = result.score_ci95
    assert low <= result.score <= high
    falling = [c.accuracy for c in result.conditions]
    assert falling == sorted(falling, reverse=True) and falling[-1] < falling[0]


def test_a_model_that_sees_no_difference_scores_one(dataset):
    report = robustness(Oracle(dataset, patience=1000), dataset, split="public_test", kinds=["jpeg"]).to_dict()
    assert report["mean_corruption_score"] == 1 and report["mean_corruption_score_ci95"] == [1, 1]
    assert all(row["changed_answers"] == 0 for row in report["conditions"])


def test_a_model_that_is_never_right_has_no_score(dataset):
    wrong = replace(dataset, targets=(dataset.targets + 1) % 7)
    result = robustness(Oracle(dataset, patience=1000), wrong, split="public_test", kinds=["jpeg"])
    assert result.score is None and result.to_dict()["conditions"][0]["relative_accuracy"] is None
    assert "no corruption was measured" in summary(result.to_dict())


def test_grayscale_of_grey_pictures_is_left_out_of_the_score(dataset):
    model = Oracle(dataset, patience=6)
    both = robustness(model, dataset, split="public_test", kinds=["grayscale", "darker"])
    assert both.unchanged == ("grayscale",)
    assert both.score == robustness(model, dataset, split="public_test", kinds=["darker"]).score


def test_a_sample_keeps_the_shares_of_labels_and_repeats():
    targets = np.repeat([0, 1, 2], [800, 190, 10])
    rows = stratified(targets, 100)
    assert np.bincount(targets[rows]).tolist() == [80, 19, 1]
    np.testing.assert_array_equal(rows, stratified(targets, 100))
    assert np.bincount(targets[stratified(targets, 5)])[2] == 1
    assert len(stratified(targets, 5000)) == len(stratified(targets, None)) == 1000
    with pytest.raises(ConfigError, match="at least one"):
        stratified(targets, 0)


def test_subsets_are_measured_against_the_rest(dataset, tmp_path):
    part = dataset.split("train")
    wrong = replace(dataset, targets=dataset.targets.copy())
    hard = part.rows[:21]
    wrong.targets[hard] = (wrong.targets[hard] + 1) % 7
    path = tmp_path / "hard.csv"
    path.write_text("row\n" + "\n".join(map(str, [*hard, 999_999])) + "\n")
    result = robustness(Oracle(dataset, patience=0), wrong, split="train", kinds=[], subsets={"hard": path})
    (subset,) = result.to_dict()["subsets"]
    assert subset["inside"]["n"] == 21 and subset["inside"]["accuracy"] == 0
    assert subset["outside"]["accuracy"] == 1 and subset["outside"]["n"] == len(part) - 21
    assert subset["joined"] == "21 matched, 1 without an image here"


def test_progress_reaches_its_end_exactly(dataset, tmp_path):
    path = tmp_path / "some.csv"
    path.write_text(f"row\n{dataset.split('train').rows[0]}\n")
    seen = []
    robustness(
        Oracle(dataset, 6), dataset, split="train", kinds=["jpeg", "shift"], faces=20, subsets={"a": path},
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_summary_names_the_worst(dataset):
    report = robustness(Oracle(dataset, 20), dataset, split="train", kinds=["darker", "jpeg"], faces=30).to_dict()
    relative = mean_relative(report)
    assert relative["darker"] < relative["jpeg"]
    assert "Worst: darker" in summary(report)


def test_the_command_writes_json_and_curves(tiny_onnx, tmp_path):
    arguments = ["robustness", str(tiny_onnx), "--data", "synthetic:70", "--split", "private_test", "--faces", "5"]
    done = CliRunner().invoke(
        app, [*arguments, "--json", str(tmp_path / "r.json"), "--curves", str(tmp_path / "r.png")]
    )
    assert done.exit_code == 0, done.output
    for name in KINDS:
        assert name in done.output
    assert "left out, the pictures stay as they are: grayscale" in done.output
    report = read_robustness(tmp_path / "r.json")
    assert len(report["conditions"]) == 14 * 5 and len(report["jitter"]) == 15
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"


def test_the_command_measures_subsets_without_corruption(tiny_onnx, tmp_path):
    (tmp_path / "s.csv").write_text("row,usage\n0,Training\n1,Training\n2,Training\n")
    arguments = ["robustness", str(tiny_onnx), "--data", "synthetic:70", "--split", "train", "--only", "none"]
    done = CliRunner().invoke(app, [*arguments, "--subset", f"three={tmp_path / 's.csv'}", "--json", "-"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert report["conditions"] == [] and report["subsets"][0]["inside"]["n"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "jpgg"], "did you mean 'jpeg'"),
        (["--subset", "occlusion"], "NAME=FILE.csv"),
        (["--subset", "a=none.csv"], "no file none.csv"),
        (["--json", "none/r.json"], "no folder"),
        (["--curves", "none/r.png"], "no folder"),
        (["--curves", "r.txt"], "ends in .png"),
        (["--only", "noise", "--only", "none"], "--only none measures no corruption"),
    ],
)
def test_mistakes_are_found_before_anything_runs(tiny_onnx, arguments, message):
    done = CliRunner().invoke(app, ["robustness", str(tiny_onnx), "--data", "synthetic:70", *arguments])
    assert isinstance(done.exception, ConfigError) and message in str(done.exception)


@pytest.mark.parametrize("content", ["", "[]", '{"n": 3}'])
def test_a_file_that_is_no_robustness_report_is_refused(tmp_path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(DataError):
        read_robustness(tmp_path / "r.json")


def test_one_picture_has_defined_figures(dataset):
    one = dataset.take([0])
    report = robustness(Oracle(one, patience=6), one, split="train").to_dict()
    assert report["n"] == 1 and report["clean"]["accuracy"] == 1
    assert 0 <= report["mean_corruption_score_ci95"][0] <= report["mean_corruption_score"] <= 1


def test_answers_that_are_no_numbers_are_a_clear_error(dataset):
    class Broken(Oracle):
        def probs(self, crops, *, batch_size=64):
            return np.full((len(crops), 7), np.nan)

    with pytest.raises(ModelError, match="not finite"):
        robustness(Broken(dataset, 6), dataset, split="train", kinds=["jpeg"], faces=5)
