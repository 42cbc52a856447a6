"""Opening csv files: encodings, delimiters, and files that are none."""

import os
from pathlib import Path

import pytest

from fervit.data.source_files import find_columns, open_csv
from fervit.errors import DataError

ROWS = [["emotion", "pixels", "Usage"], ["3", "1 2, 3; 4", "Training"]]


def read(path: Path) -> list[list[str]]:
    with open_csv(path) as reader:
        return list(reader)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep="])
def test_a_csv_is_read_in_the_encodings_and_delimiters_of_spreadsheets(
    tmp_path: Path, encoding: str, delimiter: str, first: str
) -> None:
    lines = [first + delimiter] if first else []
    lines += [delimiter.join(f'"{cell}"' if not cell.isalnum() else cell for cell in row) for row in ROWS]
    (tmp_path / "x.csv").write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    assert read(tmp_path / "x.csv") == ROWS


def test_delimiters_within_quotes_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('"a;b;c;d",x\n1,2\n')
    assert read(tmp_path / "x.csv") == [["a;b;c;d", "x"], ["1", "2"]]


def test_an_encoding_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("emotion;Gefühl\n".encode("latin-1"))
    with pytest.raises(DataError, match="expected text in UTF-8 or UTF-16"):
        read(tmp_path / "x.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(DataError, match="it is a named pipe, expected a regular file"):
        read(tmp_path / "x.csv")


def test_columns_are_found_in_any_case_and_missing_ones_are_named(tmp_path: Path) -> None:
    assert find_columns(tmp_path, [" Pixels", "EMOTION "], ("emotion", "pixels")) == [1, 0]
    with pytest.raises(DataError, match=r"lacks the column\(s\) usage; it has a"):
        find_columns(tmp_path, ["a"], ("usage",))
