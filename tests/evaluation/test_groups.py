"""Figures by groups of people, and tables joined to pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load
from fervit.data.join import join, read_subset, read_table
from fervit.errors import DataError
from fervit.evaluation import metrics
from fervit.evaluation.groups import Breakdown, measure_groups, read_groups, recall_figure, widest_gap
from fervit.evaluation.intervals import FEWEST
from tests.helpers import DATA


@pytest.fixture(scope="module")
def part() -> Dataset:
    dataset = load("synthetic:420").split("train")
    return replace(dataset, sources=[f"face{row}.png" for row in dataset.rows])


def probabilities(part: Dataset, correct: np.ndarray) -> np.ndarray:
    probs: np.ndarray = 0.3 * np.eye(7)[np.where(correct, part.targets, (part.targets + 1) % 7)] + 0.1
    return probs


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    lines = [",".join(header), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def two_groups(part: Dataset, path: Path) -> Path:
    assert part.sources is not None
    rows = [(name, "young" if k % 2 else "old") for k, name in enumerate(part.sources)]
    return write(path, ("filename", "age"), rows)


def test_figures_of_each_group_are_those_of_its_pictures(part: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probs = probabilities(part, rng.random(len(part)) < 0.7)
    (result,) = measure_groups(probs, part, read_groups(part, two_groups(part, tmp_path / "g.csv")))
    assert [group.name for group in result.groups] == ["old", "young"]
    old = np.arange(len(part)) % 2 == 0
    confusion = metrics.confusion_matrix(part.targets[old], probs[old].argmax(axis=1), 7)
    group = result.groups[0]
    assert group.n == old.sum()
    assert group.accuracy is not None and group.accuracy.value == pytest.approx(metrics.accuracy(confusion))
    assert group.macro_f1 == pytest.approx(metrics.macro_f1(confusion))
    assert group.ece == pytest.approx(metrics.ece(probs[old], part.targets[old]))
    assert group.recall is not None
    shown = [recall for recall in group.recall.values() if recall is not None]
    np.testing.assert_allclose(shown, metrics.recall(confusion)[metrics.support(confusion) >= FEWEST])


def test_a_real_gap_is_found_and_a_chance_one_is_not(part: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grouping = read_groups(part, two_groups(part, tmp_path / "g.csv"))
    old = np.arange(len(part)) % 2 == 0
    (same,) = measure_groups(probabilities(part, rng.random(len(part)) < 0.7), part, grouping)
    assert same.gaps[0].interval[0] < 0 < same.gaps[0].interval[1]
    assert "chance explains it" in same.sentences[0]
    (unfair,) = measure_groups(probabilities(part, rng.random(len(part)) < np.where(old, 0.9, 0.6)), part, grouping)
    gap = unfair.gaps[0]
    assert (gap.best, gap.worst) == ("old", "young") and gap.interval[0] > 0
    assert gap.interval[0] < gap.value < gap.interval[1]
    assert "more than chance explains" in gap.sentence


def test_the_widest_gap_in_a_recall_is_found_among_all_labels(part: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grouping = read_groups(part, write(tmp_path / "g.csv", ("row", "age"), [(row, row // 7 % 2) for row in part.rows]))
    old = part.rows // 7 % 2 == 1
    right = rng.random(len(part)) < 0.8
    right[old & (part.targets == 2)] = False
    (result,) = measure_groups(probabilities(part, right), part, grouping)
    assert min(group.support["fear"] for group in result.groups) < FEWEST
    assert all("recall" not in gap.figure for gap in result.gaps)  # 21 faces each: too few to say
    twice = part.take(np.tile(np.arange(len(part)), 2))
    doubled = replace(grouping, columns={"age": [*grouping.columns["age"]] * 2})
    (result,) = measure_groups(probabilities(twice, np.tile(right, 2)), twice, doubled)
    gap = result.gaps[2]
    assert (gap.figure, gap.worst, gap.pairs) == ("recall of fear", "1", 7) and gap.interval[0] > 0


def test_among_many_groups_of_one_kind_chance_is_not_taken_for_a_gap() -> None:
    rng, each, groups = np.random.default_rng(0), 60, 9
    targets = np.tile(np.arange(7), groups * each)
    members = {str(k): np.arange(7 * each) + 7 * each * k for k in range(groups)}
    claimed = 0
    for _ in range(40):
        predicted = np.where(rng.random(len(targets)) < 0.7, targets, (targets + rng.integers(1, 7, len(targets))) % 7)
        cells = {name: metrics.cells(targets[rows], predicted[rows], 7) for name, rows in members.items()}
        gap = widest_gap([recall_figure(k, str(k)) for k in range(7)], cells)
        assert gap is not None and gap.pairs == 252
        claimed += gap.beyond_chance
    assert claimed <= 5  # 2 are expected; ends of a bootstrap of 2,000 gave 7


def test_more_groups_widen_the_interval(part: Dataset, tmp_path: Path) -> None:
    probs = probabilities(part, np.random.default_rng(0).random(len(part)) < 0.7)
    rows = [(row, k % 2, k % 6) for k, row in enumerate(part.rows)]
    few, many = measure_groups(probs, part, read_groups(part, write(tmp_path / "g.csv", ("row", "a", "b"), rows)))
    assert (few.gaps[0].pairs, many.gaps[0].pairs) == (1, 15)
    widths = [gap.interval[1] - gap.interval[0] for gap in (few.gaps[0], many.gaps[0])]
    assert widths[1] > widths[0] * 1.5


def test_a_breakdown_survives_its_json_form(part: Dataset, tmp_path: Path) -> None:
    rows = [(row, "few" if k < 9 else k % 2) for k, row in enumerate(part.rows)]
    grouping = read_groups(part, write(tmp_path / "g.csv", ("row", "kind"), rows))
    (result,) = measure_groups(probabilities(part, part.rows % 3 > 0), part, grouping)
    assert result.gaps and Breakdown.from_dict(result.to_dict()).to_dict() == result.to_dict()


def test_fewer_than_thirty_pictures_claim_nothing(part: Dataset, tmp_path: Path) -> None:
    rows = [(row, "few" if k < FEWEST - 1 else "many") for k, row in enumerate(part.rows)]
    grouping = read_groups(part, write(tmp_path / "g.csv", ("row", "kind"), rows))
    (result,) = measure_groups(probabilities(part, part.targets == 0), part, grouping)
    few = result.groups[0].to_dict()
    assert few["n"] == FEWEST - 1 and not few["enough"]
    assert few["accuracy"] is None and few["accuracy_ci95"] is None
    assert few["macro_f1"] is None and few["ece"] is None and few["recall"] is None
    assert result.gaps == () and "no gap is claimed" in result.sentences[0]


def test_a_label_that_few_pictures_of_a_group_show_has_no_recall(part: Dataset, tmp_path: Path) -> None:
    rows = [(row, k % 3) for k, row in enumerate(part.rows)]
    grouping = read_groups(part, write(tmp_path / "g.csv", ("row", "kind"), rows))
    (result,) = measure_groups(probabilities(part, part.targets >= 0), part, grouping)
    for group in result.groups:
        assert group.recall is not None
        for label, count in group.support.items():
            assert (group.recall[label] is None) == (count < FEWEST)


def test_missing_pictures_are_counted_and_left_out_only_when_allowed(part: Dataset, tmp_path: Path) -> None:
    rows = [(name, "a") for name in (part.sources or [])[10:]]
    path = write(tmp_path / "g.csv", ("filename", "kind"), rows)
    with pytest.raises(DataError, match=r"misses 10 of .*--allow-missing"):
        read_groups(part, path)
    grouping = read_groups(part, path, allow_missing=True)
    (result,) = measure_groups(probabilities(part, part.targets >= 0), part, grouping)
    assert result.missing == 10 and result.groups[0].n == len(part) - 10


def test_a_file_about_other_pictures_is_an_error_even_when_some_may_miss(part: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "g.csv", ("filename", "kind"), [("nobody.png", "a")])
    with pytest.raises(DataError, match="names no image"):
        read_groups(part, path, allow_missing=True)


def test_two_lines_that_disagree_are_refused_and_two_that_agree_are_not(part: Dataset, tmp_path: Path) -> None:
    rows = [(row, "a") for row in part.rows]
    read_groups(part, write(tmp_path / "g.csv", ("row", "kind"), [*rows, rows[0]]))
    with pytest.raises(DataError, match="both 'a' and 'b'"):
        read_groups(part, write(tmp_path / "g.csv", ("row", "kind"), [*rows, (part.rows[0], "b")]))


def test_a_measurement_is_no_grouping(part: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "g.csv", ("row", "age"), [(row, row) for row in part.rows])
    with pytest.raises(DataError, match="different values"):
        read_groups(part, path)


def test_columns_can_be_chosen_and_an_unknown_one_names_the_others(part: Dataset, tmp_path: Path) -> None:
    path = write(tmp_path / "g.csv", ("row", "age", "gender"), [(row, "a", "b") for row in part.rows])
    assert list(read_groups(part, path, columns=["gender"]).columns) == ["gender"]
    with pytest.raises(DataError, match="did you mean 'gender'"):
        read_groups(part, path, columns=["gendre"])


def test_a_table_without_groups_or_keys_says_what_it_lacks(part: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column of groups"):
        read_groups(part, write(tmp_path / "g.csv", ("row",), [(row,) for row in part.rows]))
    with pytest.raises(DataError, match="names no images"):
        read_groups(part, write(tmp_path / "g.csv", ("age",), [("old",)]))


@pytest.mark.parametrize("content", [b"", b"row,age\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_table_is_an_error(part: Dataset, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "g.csv"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_groups(part, path)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "none.csv")


def test_names_are_narrowed_by_split_then_by_label_and_never_guessed() -> None:
    dataset = load("synthetic:140")
    dataset = replace(dataset, sources=["same.png"] * len(dataset))
    train = int((dataset.split_ids == 0).sum())
    first = dataset.take([0, train])  # rows of different splits or labels
    first = replace(first, split_ids=np.array([0, 2], np.int8), targets=np.array([1, 1]))
    line = {"filename": "same.png"}
    assert join(first, [line], where="t").ambiguous == 1
    assert join(first, [{**line, "usage": "PrivateTest"}], where="t").positions.tolist() == [1]
    assert join(first, [{**line, "usage": "PublicTest"}], where="t").elsewhere == 1
    labelled = replace(first, targets=np.array([1, 3]))
    assert join(labelled, [{**line, "label": "happiness"}], where="t").positions.tolist() == [1]
    assert join(labelled, [{"filename": "other.png"}], where="t").missing == 1


def test_names_match_by_path_or_by_file_name(part: Dataset) -> None:
    named = replace(part, sources=[f"train/x/{k}.png" for k in range(len(part))])
    for name in ("train/x/7.png", "7.png", "elsewhere\\7.png"):
        assert join(named, [{"filename": name}], where="t").positions.tolist() == [7]


def test_data_without_names_asks_for_row_numbers(part: Dataset) -> None:
    with pytest.raises(DataError, match="add a column `row`"):
        join(replace(part, sources=None), [{"filename": "a.png"}], where="t")
    with pytest.raises(DataError, match="expected a row number"):
        join(part, [{"row": "x"}], where="t")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("occlusion", 605), ("pose30", 1170), ("pose45", 633)])
def test_the_subset_lists_of_fer2013_join_line_by_line(name: str, count: int) -> None:
    path = DATA / f"ferplus_{name}.csv"
    if not path.is_file():
        pytest.skip(f"no subset list at {path}")
    rows, joined = read_subset(load(DATA / "fer2013.parquet").split("private_test"), path)
    assert len(rows) == count and joined.describe() == f"{count:,} matched"
