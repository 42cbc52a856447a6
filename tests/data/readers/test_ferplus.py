"""FER+ votes: joined by row, and refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest

from fervit.data import Dataset, load, save
from fervit.data.readers.ferplus import VOTE_COLUMNS
from fervit.errors import DataError
from tests.helpers.data_files import write_rows, write_table

pytestmark = pytest.mark.usefixtures("cache_folder")

USAGE_OF = ("Training", "PublicTest", "PrivateTest")


def write_votes(path: Path, faces: Dataset, counts: np.ndarray) -> Path:
    rows = [
        ",".join([USAGE_OF[split], f"fer{row:07d}.png", *map(str, votes)])
        for row, (split, votes) in enumerate(zip(faces.split_ids, counts, strict=True))
    ]
    return write_rows(path, rows, header=",".join(["Usage", "Image name", *VOTE_COLUMNS]))


def test_votes_are_joined_by_row_and_sum_to_one_or_nothing(faces: Dataset, tmp_path: Path) -> None:
    counts = np.zeros((30, 10), dtype=int)
    counts[:, 1] = 6  # happiness
    counts[:, 4] = 2  # anger
    counts[:, 7] = 2  # contempt: not in FER7
    counts[3] = [0] * 9 + [10]
    save(faces, tmp_path / "faces.csv")
    votes = load(tmp_path / "faces.csv", votes=write_votes(tmp_path / "fer2013new.csv", faces, counts)).votes
    assert votes is not None and votes.dtype == np.float32
    assert votes[0].tolist() == [0.25, 0, 0, 0.75, 0, 0, 0]
    assert votes.sum(axis=1).tolist() == [1.0] * 3 + [0.0] + [1.0] * 26
    table = {"usage": [USAGE_OF[k] for k in faces.split_ids], **dict(zip(VOTE_COLUMNS, counts.T, strict=True))}
    path = write_table(tmp_path / "ferplus.parquet", **table)
    again = load(tmp_path / "faces.csv", votes=path).votes
    assert again is not None and (again == votes).all()


def test_votes_that_do_not_fit_the_data_are_refused(faces: Dataset, tmp_path: Path) -> None:
    save(faces, tmp_path / "faces.parquet")
    counts = np.ones((30, 10), dtype=int)
    short = write_votes(tmp_path / "short.csv", faces.take(np.arange(29)), counts[:29])
    with pytest.raises(DataError, match=r"29 rows of votes, faces.parquet has 30 images"):
        load(tmp_path / "faces.parquet", votes=short)
    other = write_votes(tmp_path / "other.csv", faces.take(np.arange(30)[::-1]), counts)
    with pytest.raises(DataError, match="disagree on Usage"):
        load(tmp_path / "faces.parquet", votes=other)
    with pytest.raises(DataError, match="no FER"):
        load(tmp_path / "faces.parquet", votes=tmp_path / "none.csv")
    bad = write_rows(
        tmp_path / "bad.csv", ["Training,x,1,2,three,4,5,6,7,8,9,0"], "Usage,Image name," + ",".join(VOTE_COLUMNS)
    )
    with pytest.raises(DataError, match="line 2: expected ten counts"):
        load(tmp_path / "faces.parquet", votes=bad)


def test_votes_are_refused_for_folders_whose_order_is_not_the_csv_s(faces: Dataset, tmp_path: Path) -> None:
    save(faces, tmp_path / "d")
    votes = write_votes(tmp_path / "v.csv", faces, np.ones((30, 10), dtype=int))
    with pytest.raises(DataError, match="has no such order"):
        load(tmp_path / "d", votes=votes)
