import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from fervit.cli import app
from fervit.cli.evaluation.evaluate import as_text
from fervit.data.dataset import PRIVATE_TEST, PUBLIC_TEST, TRAIN, Dataset
from fervit.errors import ConfigError, DataError, FervitError, ModelError
from fervit.evaluation import intervals
from fervit.evaluation.measurement import evaluate, leak_mask, measure, predict_dataset
from fervit.evaluation.tta import TTA
from fervit.labels import FER7, FERPLUS8
from fervit.types import ModelSpec, Preprocess
from tests.helpers import DATA

PREPROCESS = Preprocess(48, (0.5,) * 3, (0.5,) * 3)
KEYS = {
    *("n", "accuracy", "accuracy_ci95", "accuracy_leak_free", "macro_f1", "weighted_precision", "weighted_recall"),
    *("weighted_f1", "balanced_accuracy", "ece", "per_class", "confusion", "split", "model", "seconds"),
    *("nll", "brier", "n_leak_free", "accuracy_leak_free_ci95", "tta", "data_hash", "dataset"),
}


class FakeClassifier:
    """Reads the answer out of the first pixel: value 10 * k means label k; looks only at the left edge."""

    def __init__(self, labels=FER7, *, sure=0.9):
        self.spec = ModelSpec("fake", PREPROCESS, labels=tuple(labels), name="fake-7")
        self.sure = sure
        self.batches = []

    def probs(self, crops, *, batch_size=64):
        self.batches.append((len(crops), batch_size))
        classes = len(self.spec.labels)
        rest = (1 - self.sure) / (classes - 1)
        answers = np.array([crop[0, 0, 0] // 10 for crop in crops], dtype=int).reshape(-1)
        return np.where(np.eye(classes, dtype=bool)[answers], self.sure, rest)


def make_dataset(answers, targets, *, labels=FER7, splits=None, votes=None):
    """Return pictures whose first pixel makes `FakeClassifier` answer `answers`; all other pixels are unique."""
    count = len(answers)
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.asarray(answers) * 10
    splits = np.full(count, 1) if splits is None else np.asarray(splits)
    return Dataset(
        name="made",
        labels=tuple(labels),
        images=images,
        targets=np.asarray(targets, np.int64),
        split_ids=splits.astype(np.int8),
        rows=np.arange(count),
        data_hash="ab" * 32,
        votes=votes,
    )


@pytest.fixture
def two_thirds():
    """Thirty public_test pictures, of which twenty are answered right, and thirty train pictures."""
    targets = np.tile(np.arange(7), 9)[:60]
    answers = targets.copy()
    answers[:10] = (answers[:10] + 1) % 7
    return make_dataset(answers, targets, splits=[1] * 30 + [0] * 30)


def test_a_report_counts_what_was_answered(two_thirds):
    report = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST)
    figures = json.loads(json.dumps(report.to_dict()))
    assert set(figures) >= KEYS
    assert figures["n"] == 30 and figures["split"] == "public_test" and figures["model"] == "fake-7"
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["accuracy_ci95"] == pytest.approx(intervals.wilson_interval(20, 30))
    assert figures["ece"] == pytest.approx(0.9 - 2 / 3)
    assert np.array(figures["confusion"]).sum() == 30
    targets = two_thirds.targets[:30]
    assert [row["support"] for row in figures["per_class"].values()] == np.bincount(targets).tolist()
    low, high = figures["macro_f1_ci95"]
    assert low < figures["macro_f1"] < high
    assert sum(row["count"] for row in figures["reliability"]) == 30


def test_rows_of_the_confusion_matrix_are_the_truth():
    report = evaluate(FakeClassifier(), make_dataset([1, 1, 1], [0, 0, 1]), split=PUBLIC_TEST)
    assert report.confusion[0].tolist() == [0, 2, 0, 0, 0, 0, 0]
    assert report.confusion[1].tolist() == [0, 1, 0, 0, 0, 0, 0]


def test_pictures_that_stand_in_train_are_left_out_of_the_leak_free_accuracy(two_thirds):
    two_thirds.images[31:34] = two_thirds.images[:3]  # three wrongly answered ones
    report = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST).to_dict()
    assert report["accuracy"] == pytest.approx(20 / 30)
    assert (report["n_leak_free"], report["accuracy_leak_free"]) == (27, pytest.approx(20 / 27))
    assert report["accuracy_leak_free_ci95"] == pytest.approx(intervals.wilson_interval(20, 27))


@pytest.mark.parametrize("split", [PUBLIC_TEST, TRAIN])
def test_leak_free_is_null_without_another_train_split(two_thirds, split):
    dataset = two_thirds.split(split)
    report = evaluate(FakeClassifier(), dataset, split=split).to_dict()
    assert report["accuracy_leak_free"] is report["n_leak_free"] is report["accuracy_leak_free_ci95"] is None


def test_leak_free_is_null_and_counts_zero_when_every_picture_leaks():
    dataset = make_dataset([0, 1, 0, 1], [0, 1, 0, 1], splits=[0, 0, 1, 1])
    dataset.images[2:] = dataset.images[:2]
    report = evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST).to_dict()
    assert (report["n_leak_free"], report["accuracy_leak_free"], report["accuracy"]) == (0, None, 1.0)


def test_flip_averages_a_picture_and_its_mirror_image():
    dataset = make_dataset([3], [3])
    dataset.images[0, 0, -1, 0] = 50
    plain = predict_dataset(FakeClassifier(), dataset)
    flipped = predict_dataset(FakeClassifier(), dataset, tta="flip")
    assert plain[0, 3] == pytest.approx(0.9)
    assert flipped[0, 3] == flipped[0, 5] == pytest.approx((0.9 + 0.1 / 6) / 2)
    assert evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST, tta="flip").to_dict()["tta"] == "flip"


def test_five_crops_are_the_corners_and_the_centre_at_nine_tenths_of_the_side():
    picture = np.arange(20 * 40).reshape(1, 20, 40, 1)
    views = TTA["five_crops"](picture)
    assert [view.shape for view in views] == [(1, 18, 36, 1)] * 5
    first = [divmod(int(view[0, 0, 0, 0]), 40) for view in views]
    last = [divmod(int(view[0, -1, -1, 0]), 40) for view in views]
    assert first == [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)]
    assert last == [(17, 35), (17, 39), (19, 35), (19, 39), (18, 37)]


def test_flip_five_crops_are_ten_different_views_half_of_them_mirrored():
    picture = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    views, plain = TTA["flip_five_crops"](picture), TTA["five_crops"](picture)
    assert len({view.tobytes() for view in views}) == 10
    np.testing.assert_array_equal(views[5][:, :, ::-1], plain[1])  # the mirrored left corner was the right one


@pytest.mark.parametrize(("name", "views"), [("flip", 2), ("five_crops", 5), ("flip_five_crops", 10)])
def test_tta_averages_the_views_and_is_named_in_the_report(name, views):
    targets = np.arange(7)
    dataset = make_dataset(targets, targets)
    dataset = replace(dataset, images=dataset.images % 70)  # every pixel is an answer of `FakeClassifier`
    asked = []

    class Recording(FakeClassifier):
        def probs(self, crops, *, batch_size=64):
            asked.append(super().probs(crops, batch_size=batch_size))
            return asked[-1]

    probs = predict_dataset(Recording(), dataset, tta=name)
    assert len(asked) == views and np.ptp(asked, axis=0).max() > 0.5
    np.testing.assert_allclose(probs, np.mean(asked, axis=0))
    report = evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST, tta=name).to_dict()
    assert report["tta"] == name and f"with test-time augmentation ({name})" in as_text(report)


def test_progress_ends_at_the_number_of_pictures_and_batches_are_as_asked():
    dataset, classifier, seen = make_dataset([0] * 10, [0] * 10), FakeClassifier(), []
    predict_dataset(classifier, dataset, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 10), (10, 10)]
    assert classifier.batches == [(8, 2), (2, 2)]


def test_labels_in_another_order_or_spelling_are_matched_by_name(two_thirds):
    order = [6, 5, 4, 3, 2, 1, 0]
    spelt = tuple({"happy": "Happiness", "angry": "anger"}.get(FER7[k], FER7[k]) for k in order)

    class Reordered(FakeClassifier):
        def probs(self, crops, *, batch_size=64):
            return super().probs(crops, batch_size=batch_size)[:, order]

    ours = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST)
    theirs = evaluate(Reordered(spelt), two_thirds, split=PUBLIC_TEST)
    np.testing.assert_array_equal(ours.confusion, theirs.confusion)
    assert theirs.labels == FER7 and theirs.dropped_labels == ()


def test_a_label_that_only_the_model_knows_is_dropped_and_its_probability_shared_out():
    contempt, happy = FERPLUS8.index("contempt"), FERPLUS8.index("happy")
    dataset = make_dataset([contempt, happy], [0, FER7.index("happy")])
    report = evaluate(FakeClassifier(FERPLUS8), dataset, split=PUBLIC_TEST)
    assert report.dropped_labels == ("contempt",)
    probs = predict_dataset(FakeClassifier(FERPLUS8), dataset)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    np.testing.assert_allclose(probs[0], 1 / 7)
    assert probs[1, FER7.index("happy")] == pytest.approx(0.9 / (1 - 0.1 / 7))
    certain = predict_dataset(FakeClassifier(FERPLUS8, sure=1.0), dataset)
    np.testing.assert_allclose(certain[0], 1 / 7)


def test_a_label_that_the_model_lacks_is_an_error_only_if_it_occurs():
    model = FakeClassifier(FER7[:6])
    assert evaluate(model, make_dataset([0, 1], [0, 1]), split=PUBLIC_TEST).accuracy.value == 1
    with pytest.raises(ModelError, match=r"cannot answer neutral: .*knows 6 labels \(angry.*data has 7"):
        evaluate(model, make_dataset([0, 1], [0, 6]), split=PUBLIC_TEST)
    with pytest.raises(ModelError, match=r"LABEL_0.*angry"):
        evaluate(FakeClassifier([f"LABEL_{k}" for k in range(7)]), make_dataset([0], [0]), split=PUBLIC_TEST)


def test_one_picture_and_a_split_that_lacks_classes_give_defined_figures():
    report = evaluate(FakeClassifier(), make_dataset([2], [3]), split=PUBLIC_TEST).to_dict()
    assert report["n"] == 1 and report["accuracy"] == report["macro_f1"] == report["balanced_accuracy"] == 0
    assert report["per_class"]["angry"] == {
        **{"precision": 0, "recall": 0, "recall_ci95": None, "f1": 0, "f1_ci95": None, "support": 0}
    }
    assert "NaN" not in json.dumps(report)


def test_answers_that_are_not_numbers_are_an_error(two_thirds):
    class Broken(FakeClassifier):
        def probs(self, crops, *, batch_size=64):
            return np.full((len(crops), 7), np.nan)

    with pytest.raises(ModelError, match="not finite in 30 of 30 rows"):
        evaluate(Broken(), two_thirds, split=PUBLIC_TEST)


def test_answers_of_the_wrong_shape_are_an_error(two_thirds):
    class Short(FakeClassifier):
        def probs(self, crops, *, batch_size=64):
            return np.full((len(crops), 6), 1 / 6)

    with pytest.raises(ModelError, match=r"shape \(30, 6\), expected \(30, 7\)"):
        evaluate(Short(), two_thirds, split=PUBLIC_TEST)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "publictest"}, DataError, "did you mean 'public_test'"),
        ({"split": PRIVATE_TEST}, DataError, "has no private_test images"),
        ({"split": PUBLIC_TEST, "tta": "flop"}, ConfigError, "did you mean 'flip'"),
    ],
)
def test_misspelt_arguments_name_the_choices(two_thirds, arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(FakeClassifier(), two_thirds, **arguments)


def test_votes_add_the_accuracy_against_their_majority():
    votes = np.zeros((4, 7), np.float32)
    votes[0, :2] = 0.5  # a tie: either is right
    votes[1, 2] = 1
    votes[2, 3] = 1  # the fourth picture has no votes
    dataset = make_dataset([1, 2, 4, 0], [0, 0, 3, 0], votes=votes)
    report = evaluate(FakeClassifier(), dataset, split=PUBLIC_TEST).to_dict()
    assert report["accuracy"] == 0.25
    assert (report["n_votes"], report["accuracy_votes"]) == (3, pytest.approx(2 / 3))
    assert (report["n_errors_with_votes"], report["errors_shared_by_votes"]) == (3, pytest.approx(2 / 3))
    assert evaluate(FakeClassifier(), make_dataset([0], [0]), split=PUBLIC_TEST).votes is None


def test_measure_takes_probabilities_that_were_computed_before(two_thirds):
    part = two_thirds.split(PUBLIC_TEST)
    probs = predict_dataset(FakeClassifier(), part)
    again = measure(probs, part, model="fake-7", leaks=leak_mask(two_thirds, PUBLIC_TEST)).to_dict()
    first = evaluate(FakeClassifier(), two_thirds, split=PUBLIC_TEST).to_dict()
    assert again | {"seconds": 0} == first | {"seconds": 0}


# --- command line -----------------------------------------------------------------------------------------


@pytest.fixture
def run(tiny_onnx, monkeypatch):
    """Run `fervit evaluate` on a small model and 140 drawn faces; return its result."""
    monkeypatch.setattr("sys.argv", ["fervit", "evaluate", "--data", "synthetic:140"])

    def call(*arguments):
        return CliRunner().invoke(app, ["evaluate", str(tiny_onnx), "--data", "synthetic:140", *arguments])

    return call


def test_the_command_prints_tables_in_reading_order(run):
    result = run("--threads", "1")
    assert result.exit_code == 0, result.output
    names = ["expression", "macro-F1", "balanced accuracy", "accuracy, all 21", "leak-free", "ECE"]
    places = [result.stdout.index(name) for name in names]
    assert places == sorted(places)
    assert "67.22 %" in result.stdout and "do not compare" in result.stdout


def test_json_to_stdout_is_one_object_and_nothing_else(run, tmp_path):
    result = run("--json", "-", "--tta", "flip", "--report", str(tmp_path / "deep" / "report"))
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert set(figures) >= KEYS and figures["tta"] == "flip" and figures["model"] == "tiny"
    assert (tmp_path / "deep" / "report" / "report.html").is_file()


def test_json_to_a_file_leaves_the_tables_on_stdout(run, tmp_path):
    result = run("--json", str(tmp_path / "figures.json"), "--split", "private_test")
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["split"] == "private_test" and "macro-F1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "unknown split 'test'"),
        (["--tta", "flips"], "did you mean 'flip'"),
        (["--json", "."], "is a folder"),
        (["--json", "nowhere/figures.json"], "no folder nowhere"),
        (["--report", "taken"], "a file stands there"),
        (["--no-faces"], "add --report DIR"),
    ],
)
def test_mistakes_are_told_before_any_work(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setattr("fervit.data.load", lambda *_, **__: pytest.fail("it read the data first"))
    result = run(*arguments)
    assert isinstance(result.exception, FervitError)
    assert message in str(result.exception)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_real_split_of_fer2013_has_its_known_leaks():
    data = DATA / "fer2013.parquet"
    if not data.is_file():
        pytest.skip(f"no FER2013 at {data}")
    from fervit.data import load

    dataset = load(data)
    # counted on the csv: 280 PublicTest and 288 PrivateTest pictures also stand in Training
    assert [int(leak_mask(dataset, split).sum()) for split in (PUBLIC_TEST, PRIVATE_TEST)] == [280, 288]


def test_the_command_measures_groups_thresholds_and_shows_robustness(tiny_onnx, tmp_path):
    (tmp_path / "g.csv").write_text("row,age\n" + "".join(f"{row},{row % 2}\n" for row in range(70)))
    common = [str(tiny_onnx), "--data", "synthetic:70", "--split", "train"]
    robust = tmp_path / "r.json"
    done = CliRunner().invoke(app, ["robustness", *common, "--only", "jpeg", "--faces", "7", "--json", str(robust)])
    assert done.exit_code == 0, done.output
    options = ["--groups", str(tmp_path / "g.csv"), "--precision", "0.01", "--robustness", str(robust), "--no-faces"]
    done = CliRunner().invoke(
        app, ["evaluate", *common, *options, "--report", str(tmp_path / "out"), "--json", str(tmp_path / "e.json")]
    )
    assert done.exit_code == 0, done.output
    assert "by age" in done.output and "no gap is claimed" in done.output and "1 %" in done.output
    written = json.loads((tmp_path / "e.json").read_text())
    assert written["thresholds"][0]["wanted"] == 0.01 and written["groups"][0]["column"] == "age"
    assert not (tmp_path / "out" / "faces").exists() and (tmp_path / "out" / "robustness.png").is_file()


def test_groups_that_miss_faces_stop_before_the_model_is_opened(tmp_path):
    (tmp_path / "g.csv").write_text("row,age\n0,a\n")
    arguments = [
        "evaluate",
        "none.onnx",
        "--data",
        "synthetic:70",
        "--split",
        "train",
        "--groups",
        str(tmp_path / "g.csv"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, DataError) and "misses 48 of 49" in str(done.exception)
    done = CliRunner().invoke(app, [*arguments[:-2], "--group-by", "age"])
    assert isinstance(done.exception, ConfigError) and "need --groups" in str(done.exception)


def test_a_recorded_command_tells_no_path_of_the_machine(monkeypatch):
    from fervit.cli._shared import command_line

    arguments = ["evaluate", "runs/a", "--data", "/home/me/data/fer 2013.csv", "--report=../out", "--split", "train"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/fervit", *arguments])
    assert command_line() == "fervit evaluate runs/a --data 'fer 2013.csv' --report=out --split train"
