"""FER+ as it is published: the majority and the distribution protocol on votes worked out by hand, and its files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fervit.data import load
from fervit.data.readers.named.ferplus import distribution_rows, majority_rows
from fervit.errors import DataError
from fervit.labels import FERPLUS8
from tests.helpers import DATA
from tests.helpers.public_sets import faces, ferplus, ferplus_folders

pytestmark = pytest.mark.usefixtures("cache_folder")

#        neutral happy surprise sad angry disgust fear contempt unknown not-a-face
CLEAR = [9, 1, 0, 0, 0, 0, 0, 0, 0, 0]
HALF = [5, 0, 0, 5, 0, 0, 0, 0, 0, 0]
SINGLES = [4, 0, 3, 1, 1, 1, 0, 0, 0, 0]
CONTEMPT = [0, 2, 0, 0, 0, 0, 0, 8, 0, 0]
UNKNOWN = [2, 0, 0, 0, 0, 0, 0, 0, 8, 0]
NO_FACE = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]
SCATTERED = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
FOUR = [3, 3, 2, 2, 0, 0, 0, 0, 0, 0]
FIVE_TIED = [2, 2, 2, 2, 2, 0, 0, 0, 0, 0]
THEN_UNKNOWN = [5, 0, 0, 0, 0, 0, 0, 0, 5, 0]
LATE_UNKNOWN = [6, 0, 0, 0, 0, 0, 0, 0, 4, 0]


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        (CLEAR, "neutral"),
        (HALF, None),
        (SINGLES, "neutral"),
        (CONTEMPT, "contempt"),
        (UNKNOWN, None),
        (NO_FACE, None),
        (SCATTERED, None),
        (FOUR, None),
        (LATE_UNKNOWN, "neutral"),
    ],
)
def test_majority_is_more_than_half_of_the_votes_without_single_ones(votes: list[int], label: str | None) -> None:
    soft, kept = majority_rows(np.array([votes], float))
    assert bool(kept[0]) == (label is not None)
    if label is not None:
        assert FERPLUS8[soft[0].argmax()] == label and soft[0].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        (CLEAR, {"neutral": 1.0}),
        (HALF, {"neutral": 0.5, "sad": 0.5}),
        (SINGLES, {"neutral": 4 / 7, "surprise": 3 / 7}),
        (UNKNOWN, None),
        (NO_FACE, None),
        (SCATTERED, None),
        (FOUR, None),  # the two most frequent have 6 of 10, and the next two come together: four are too many
        (FIVE_TIED, None),
        (THEN_UNKNOWN, None),  # half of the votes is not more than half
        (LATE_UNKNOWN, {"neutral": 1.0}),
    ],
)
def test_a_distribution_is_of_the_most_frequent_expressions(
    votes: list[int], expected: dict[str, float] | None
) -> None:
    soft, kept = distribution_rows(np.array([votes], float))
    assert bool(kept[0]) == (expected is not None)
    if expected is not None:
        assert {FERPLUS8[k]: value for k, value in enumerate(soft[0]) if value} == pytest.approx(expected)


def changed_votes(root: Path, *changes: tuple[int, list[int]]) -> Path:
    """Write FER+ small, with the votes of some rows changed."""
    folder = ferplus(root, faces())
    lines = (folder / "fer2013new.csv").read_text().splitlines()
    for row, votes in changes:
        usage, name, *_ = lines[row + 1].split(",")
        lines[row + 1] = ",".join([usage, name, *map(str, votes)])
    (folder / "fer2013new.csv").write_text("\n".join(lines))
    return folder


def test_counts_before_and_after_are_said_for_each_split(tmp_path: Path) -> None:
    folder = changed_votes(tmp_path / "set", (0, HALF), (3, HALF), (5, NO_FACE), (4, CONTEMPT))
    majority = load(f"ferplus:{folder}")
    assert len(majority) == 67 and "contempt" in majority.labels
    assert any(
        "single votes dropped, more than half of the rest for one expression, unknown and not-a-face out: "
        "train 40 of 42, public_test 13 of 14, private_test 14 of 14 images stay" in note
        for note in majority.notes
    )
    votes = load(f"ferplus-votes:{folder}")
    assert np.bincount(votes.split_ids).tolist() == [41, 13, 14], "only train has images without a majority"
    assert votes.votes is not None and majority.votes is not None
    assert sorted(votes.votes[0].tolist())[-2:] == [0.5, 0.5]
    for dataset in (majority, votes):
        assert dataset.votes is not None
        np.testing.assert_allclose(dataset.votes.sum(axis=1), 1, atol=1e-6)
        assert load(f"ferplus:{folder}", drop_labels="contempt").labels[0] == "angry"


def test_votes_may_lie_elsewhere_and_are_asked_for(tmp_path: Path) -> None:
    folder = ferplus(tmp_path / "set", faces()[:35])
    whole = load(f"ferplus:{folder}")
    votes = shutil.move(folder / "fer2013new.csv", tmp_path / "votes.csv")
    with pytest.raises(DataError, match=r"has no votes: expected fer2013new\.csv or .*or --votes FILE"):
        load(f"ferplus:{folder}")
    with pytest.raises(DataError, match=r"there are no votes beside .*fer2013\.csv"):
        load(f"ferplus:{folder / 'fer2013.csv'}")
    for source in (folder, folder / "fer2013.csv"):
        assert load(f"ferplus:{source}", votes=votes).data_hash == whole.data_hash
    with pytest.raises(DataError, match=r"no images at nothing; expected fer2013\.csv"):
        load("ferplus:nothing")
    (folder / "fer2013.csv").unlink()
    with pytest.raises(DataError, match="which FER\\+ is about"):
        load(f"ferplus:{folder}")


def test_votes_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    folder = changed_votes(tmp_path / "set", *((row, NO_FACE) for row in range(70)))
    with pytest.raises(DataError, match=r"the votes leave no image of .*: expected votes for expressions"):
        load(f"ferplus:{folder}")


def test_the_folders_of_ferplus_s_own_script_give_the_same_data(tmp_path: Path) -> None:
    table, folders = ferplus(tmp_path / "table", faces()), ferplus_folders(tmp_path / "folders", faces())
    for form in ("ferplus", "ferplus-votes"):
        one, other = load(f"{form}:{table}"), load(f"{form}:{folders}")
        assert sorted(image.tobytes() for image in one.images) == sorted(image.tobytes() for image in other.images)
        assert other.votes is not None and (other.votes.argmax(axis=1) == other.targets).all()
        assert np.bincount(one.split_ids).tolist() == np.bincount(other.split_ids).tolist()
    with (folders / "FER2013Test" / "label.csv").open("a") as file:
        file.write("fer0000004.png,1,2\n")
    with pytest.raises(DataError, match=r"label\.csv, line 15: expected a file name and ten counts of votes"):
        load(f"ferplus:{folders}")


@pytest.mark.slow
def test_the_real_votes_leave_as_many_images_as_others_report() -> None:
    if not (DATA / "ferplus.parquet").is_file():
        pytest.skip(f"no FER+ votes at {DATA}")
    dataset = load(f"ferplus:{DATA}")
    assert np.bincount(dataset.split_ids).tolist() == [25_059, 3_199, 3_153]
