"""Any number of models, compared in pairs."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fervit.data import Dataset
from fervit.errors import ConfigError
from fervit.evaluation.comparison import compare
from fervit.evaluation.tables.pairs import CSV_HEADER, HEADER, Comparisons, compare_models, holm
from fervit.evaluation.tables.setup import Setup, make_setup
from fervit.labels import FERPLUS8
from tests.helpers.classifiers import FakeClassifier, labelled_images

# statsmodels 0.15.0, statsmodels.stats.multitest.multipletests(p, method="holm")
HOLM = [
    ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
    ([0.04, 0.001, 0.03], [0.06, 0.003, 0.06]),
    ([0.5, 0.9, 0.6], [1.0, 1.0, 1.0]),
    ([0.03], [0.03]),
    ([0.0042, 0.031, 0.031, 0.2, 0.0007, 0.47], [0.021, 0.124, 0.124, 0.4, 0.0042, 0.47]),
    ([], []),
]


@pytest.mark.parametrize(("p", "corrected"), HOLM)
def test_holm_agrees_with_statsmodels(p: list[float], corrected: list[float]) -> None:
    assert holm(p) == pytest.approx(corrected, abs=1e-12)


def test_holm_agrees_with_its_definition() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(9) ** 3
    order = np.argsort(p)
    for rank, place in enumerate(order):
        steps = [min(1.0, (len(p) - k) * p[order[k]]) for k in range(rank + 1)]
        assert holm(list(p))[place] == pytest.approx(max(steps))


class Worse(FakeClassifier):
    """Predicts the next label for every n-th image that it is given."""

    def __init__(self, name: str, every: int):
        super().__init__()
        self.spec, self.every = replace(self.spec, name=name), every

    def probs(self, crops: Sequence[np.ndarray] | np.ndarray, *, batch_size: int = 64) -> np.ndarray:
        probs = super().probs(crops, batch_size=batch_size)
        wrong = np.arange(len(crops)) % self.every == 0
        probs[wrong] = np.roll(probs[wrong], 1, axis=1)
        return probs


@pytest.fixture
def data() -> Dataset:
    targets = np.tile(np.arange(7), 30)
    return labelled_images(targets, targets)


@pytest.fixture
def setup(data: Dataset) -> Setup:
    other = replace(data, name="other_set")
    return make_setup([FakeClassifier(), Worse("half", 2), Worse("tenth", 10)], [data, other])


@pytest.fixture
def found(setup: Setup) -> Comparisons:
    return compare_models(setup)


def test_all_pairs_on_all_data_sets_are_compare_with_a_corrected_p(found: Comparisons, setup: Setup) -> None:
    pairs = [("fake-7", "half"), ("fake-7", "tenth"), ("half", "tenth")]
    assert [pair.names for pair in found.pairs] == pairs * 2
    assert [pair.dataset for pair in found.pairs] == ["made"] * 3 + ["other_set"] * 3
    alone = compare(setup.models[0], setup.models[2], setup.datasets[0], split="public_test")
    assert found.pairs[1] == alone
    assert found.p_holm == tuple(holm([pair.test.p for pair in found.pairs]))
    assert all(corrected >= pair.test.p for corrected, pair in zip(found.p_holm, found.pairs, strict=True))
    assert found.better == ("fake-7", "fake-7", "tenth") * 2


def test_a_baseline_is_compared_with_each_other_model(setup: Setup) -> None:
    found = compare_models(setup, baseline=True, split="public_test")
    assert [pair.names for pair in found.pairs] == [("fake-7", "half"), ("fake-7", "tenth")] * 2


def test_a_difference_that_one_pair_shows_may_not_hold_among_many(data: Dataset) -> None:
    few = data.take(np.arange(60))
    nearly = Worse("nearly", 10)  # 6 of 60 wrong: p = 0.031 alone
    assert compare(FakeClassifier(), nearly, few, split="public_test").distinguishable
    many = [FakeClassifier(), nearly, *(Worse(f"same {k}", 100) for k in range(2))]
    found = compare_models(make_setup(many, [few]), split="public_test")
    assert found.pairs[0].test.p == pytest.approx(0.03125) and found.p_holm[0] == pytest.approx(6 * 0.03125)
    assert found.better[0] is None


def test_tables_have_a_line_for_each_pair(found: Comparisons) -> None:
    markdown = found.to_markdown().splitlines()
    assert markdown[2].startswith(
        "| fake-7 | half | made, public_test | 210 | 100.00 % | 50.00 % | -50.00 | -56.67 to "
    )
    assert markdown[2].endswith(" | fake-7 |") and markdown[0].count("|") == len(HEADER) + 1
    assert "corrected for the 6 comparisons" in found.to_markdown()
    assert r"other\_set, public\_test" in found.to_latex()
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert tuple(rows[0]) == CSV_HEADER and [row["better"] for row in rows] == ["fake-7", "fake-7", "tenth"] * 2
    assert float(rows[0]["p_holm"]) == found.p_holm[0]
    written = json.loads(json.dumps(found.to_dict()))
    assert written["comparisons"][2]["better"] == "tenth" and written["comparisons"][0]["n"] == 210


def test_all_pairs_see_the_same_images(data: Dataset) -> None:
    targets = np.concatenate([data.targets, np.full(20, 7)])
    wide = labelled_images(targets, np.zeros(230, int))
    names = (*data.labels, "contempt")
    wide = replace(wide, labels=names, targets=targets)
    models = [FakeClassifier(), FakeClassifier(names), FakeClassifier(FERPLUS8)]
    found = compare_models(make_setup(models, [wide]))
    assert [pair.count for pair in found.pairs] == [210] * 3 and found.pairs[1].left_out == {"contempt": 20}
    assert "20 of contempt" in "\n".join(found.notes)


def test_one_model_is_not_a_comparison(data: Dataset) -> None:
    with pytest.raises(ConfigError, match="two or more models"):
        compare_models(make_setup([FakeClassifier()], [data]))
