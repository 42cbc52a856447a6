"""A parquet file of few bytes that becomes gigabytes ends in one line."""

import mmap
import re
from pathlib import Path

import numpy as np
import pytest

from fervit.data.readers.parquet_pages import check_pages, pages
from tests.helpers.limits import refusal

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dictionary", "struct", "plain"])
@pytest.mark.parametrize("rows", [1, 300])
def test_a_value_of_600_mb_costs_neither_time_nor_memory(tmp_path: Path, form: str, rows: int) -> None:
    zeros = pyarrow.py_buffer(np.zeros(600_000_000, np.uint8))  # pages that are only read take no memory
    offsets = pyarrow.py_buffer(np.array([0, zeros.size], np.int32))
    large = pyarrow.Array.from_buffers(pyarrow.binary(), 1, [None, offsets, zeros])
    images = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), large)
    if form == "struct":
        images = pyarrow.StructArray.from_arrays([images], ["bytes"])
    if form == "plain":
        images = pyarrow.chunked_array([large, pyarrow.array([b"small"] * (rows - 1), pyarrow.binary())])
    table = {"image": images, "label": ["happy"] * rows, "usage": ["Training"] * rows}
    pyarrow.parquet.write_table(
        pyarrow.table(table), tmp_path / "d.parquet", compression="zstd", write_statistics=False
    )
    said = refusal(f"import fervit; fervit.load_dataset({str(tmp_path / 'd.parquet')!r})", seconds=60)
    assert re.search("a page of the column image becomes 600 MB, expected at most 400 MB", said)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
def test_every_form_of_pages_is_read(tmp_path: Path, version: str, codec: str) -> None:
    path = tmp_path / "d.parquet"
    images = [bytes([k]) * 5000 for k in range(256)] * 10
    options = {"compression": codec, "data_page_version": version, "row_group_size": 700, "write_page_checksum": True}
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "other": range(2560)}), path, **options)
    metadata = pyarrow.parquet.read_metadata(path)
    assert 5000 < check_pages(path, metadata, "image") < 2_000_000
    whole = sum(metadata.row_group(k).column(0).total_uncompressed_size for k in range(metadata.num_row_groups))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        unpacked = sum(size for _, size in pages(content, metadata, "image"))
    assert 0.98 * whole < unpacked <= whole
