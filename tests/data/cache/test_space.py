"""What the cache takes: listed, cleared, and kept below a limit, the least recently used entries first."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fervit.data import load
from fervit.data.cache import cached_array
from fervit.data.cache.space import (
    BUILDING,
    DEFAULT_LIMIT_BYTES,
    META,
    VERSION,
    cache_limit,
    clear,
    last_stored,
    list_entries,
    remove,
)
from fervit.errors import ConfigError


def fill(*keys: str, size: int = 1000) -> None:
    for age, key in enumerate(reversed(keys)):
        cached_array("soft-targets", key, lambda: np.zeros(size, np.uint8))
        entry = next(entry for entry in list_entries() if entry.path.name.endswith(key))
        os.utime(entry.path, (1e9 - age, 1e9 - age))


def names() -> list[str]:
    return [entry.path.name.rpartition("-")[2] for entry in list_entries()]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *((None, DEFAULT_LIMIT_BYTES), ("", DEFAULT_LIMIT_BYTES), ("20GB", 20 * 10**9), ("1.5 gb", 15 * 10**8)),
        *(("500MB", 5 * 10**8), ("2 GiB", 2 * 10**9), ("0", 0), ("None", None)),
    ],
)
def test_the_limit_is_a_size_with_its_unit(monkeypatch: pytest.MonkeyPatch, text: str | None, size: int | None) -> None:
    monkeypatch.delenv("FERVIT_CACHE_LIMIT", raising=False)
    if text is not None:
        monkeypatch.setenv("FERVIT_CACHE_LIMIT", text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["20", "-1GB", "much", "GB", "1e9B"])
def test_a_limit_that_is_no_size_is_refused_before_anything_is_decoded(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("FERVIT_CACHE_LIMIT", text)
    with pytest.raises(ConfigError, match=r"FERVIT_CACHE_LIMIT is .*expected a size such as 20GB or 500MB, 0, or none"):
        load("synthetic:7")
    assert not cache_folder.exists()


def test_entries_are_listed_by_use_with_what_they_hold(cache_folder: Path) -> None:
    assert list_entries() == []
    fill("a", "b", size=5000)
    load("synthetic:7")
    entries = list_entries()
    assert [entry.what for entry in entries] == ["soft targets, 5,000 rows"] * 2 + ["synthetic:7, 7 images"]
    assert all(entry.whole and entry.size_bytes > 5000 for entry in entries)
    sizes = [sum(file.stat().st_size for file in entry.path.iterdir()) for entry in entries]
    assert [entry.size_bytes for entry in entries] == sizes


def test_the_least_recently_used_entries_go_first(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERVIT_CACHE_LIMIT", "0.025MB")
    monkeypatch.setattr("fervit.data.cache.entries._opened", set())
    fill("a", "b", "c", size=6000)
    monkeypatch.setattr("fervit.data.cache.entries._opened", set())
    cached_array("soft-targets", "a", lambda: np.zeros(0, np.uint8))  # used now: the oldest no more
    monkeypatch.setattr("fervit.data.cache.entries._opened", set())
    cached_array("soft-targets", "d", lambda: np.zeros(6000, np.uint8))
    assert set(names()) == {"a", "c", "d"}


def test_what_this_process_has_opened_stays_and_more_than_the_limit_is_said(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FERVIT_CACHE_LIMIT", "0")
    first, second = load("synthetic:7"), load("synthetic:8")
    assert len(list_entries()) == 2 and first.images.sum() > 0 and second.images.sum() > 0
    assert "more than FERVIT_CACHE_LIMIT (0.0 kB)" in caplog.text


def test_clearing_deletes_entries_and_nothing_of_the_user_s(cache_folder: Path) -> None:
    fill("a", "b")
    mine = [cache_folder / "notes.txt", cache_folder / "v1-mine" / "thesis.txt", cache_folder / "photos" / "x.jpg"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (cache_folder / f"v{VERSION}-link").symlink_to(cache_folder / "photos")
    entries = list_entries()
    assert len(entries) == 2
    assert clear(entries) == sum(entry.size_bytes for entry in entries) > 2000
    assert list_entries() == [] and all(path.read_text() == "mine" for path in mine)


def test_what_killed_processes_and_other_versions_left_is_listed_as_not_whole(cache_folder: Path) -> None:
    fill("a")
    for name, files in ((f"{BUILDING}x", ["images.npy"]), ("v2-old", [META, "images.npy"]), (f"v{VERSION}-broken", [])):
        (cache_folder / name).mkdir()
        for file in files:
            (cache_folder / name / file).write_bytes(b"x" * 100)
    found = {entry.path.name: (entry.what, entry.whole) for entry in list_entries()}
    assert found.pop(f"v{VERSION}-soft-targets-a")[1]
    assert found == {
        f"{BUILDING}x": ("unfinished", False),
        "v2-old": ("of another version of fervit", False),
        f"v{VERSION}-broken": ("damaged", False),
    }


def test_the_revision_that_was_stored_last_is_found_by_its_name(cache_folder: Path) -> None:
    assert last_stored("hub-a--b-") is None
    for age, name in enumerate(["hub-a--b-0123abc", "hub-a--b-fedcba9-32px", "hub-a--b-c-7777777"]):
        (cache_folder / f"v{VERSION}-{name}").mkdir(parents=True)
        (cache_folder / f"v{VERSION}-{name}" / META).write_text(json.dumps({}))
        os.utime(cache_folder / f"v{VERSION}-{name}" / META, (age, age))
    assert last_stored("hub-a--b-") == "fedcba9"
    assert last_stored("hub-a--b-c-") == "7777777"


def test_removing_what_is_gone_is_no_error(cache_folder: Path) -> None:
    cache_folder.mkdir()
    remove(cache_folder / f"v{VERSION}-gone")
    (cache_folder / f"v{VERSION}-file").write_text("x")
    remove(cache_folder / f"v{VERSION}-file")
    assert list(cache_folder.iterdir()) == []
