"""`fervit cache`: list and clear."""

import json
from pathlib import Path

import pytest

from fervit.data import load
from fervit.errors import ConfigError, DataError
from tests.helpers.commands import error_of, run


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FERVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FERVIT_CACHE_LIMIT", raising=False)
    load("synthetic:7")
    load("synthetic:14")
    return tmp_path / "cache"


@pytest.mark.parametrize("command", [("cache",), ("cache", "list")])
def test_the_cache_is_listed_with_sizes_limit_and_use(cache_folder: Path, command: tuple[str, ...]) -> None:
    result = run(*command)
    assert result.exit_code == 0, result.output
    for words in ("synthetic:7, 7 images", "kB", "0 min ago", f"{cache_folder}: 2 entries", "limit 10.0 GB"):
        assert words in result.output
    assert "no limit" in run(*command, env={"FERVIT_CACHE_LIMIT": "none"}).output


def test_the_list_as_json_is_one_object(cache_folder: Path) -> None:
    listed = json.loads(run("cache", "list", "--json", "-").stdout)
    assert listed["folder"] == str(cache_folder) and listed["limit_bytes"] == 10 * 10**9
    assert [entry["what"] for entry in listed["entries"]] == ["synthetic:7, 7 images", "synthetic:14, 14 images"]
    assert listed["size_bytes"] == sum(entry["size_bytes"] for entry in listed["entries"]) > 14 * 48 * 48


def test_clearing_deletes_all_or_what_is_named_or_what_is_damaged(cache_folder: Path) -> None:
    name = json.loads(run("cache", "list", "--json", "-").stdout)["entries"][0]["name"]
    assert "1 entry deleted" in run("cache", "clear", name).output
    (remaining,) = cache_folder.iterdir()
    (remaining / "meta.json").unlink()
    (cache_folder / "mine.txt").write_text("mine")
    assert "damaged" in run("cache").output
    assert "1 entry deleted" in run("cache", "clear", "--damaged").output
    load("synthetic:7")
    result = run("cache", "clear")
    assert f"{cache_folder}: 1 entry deleted, " in result.output and "freed" in result.output
    assert [path.name for path in cache_folder.iterdir()] == ["mine.txt"]
    assert f"{cache_folder}: 0 entries, 0.0 kB" in run("cache").output


def test_mistakes_are_named() -> None:
    assert "unknown cache entry 'synthetic'" in error_of(run("cache", "clear", "synthetic"))
    assert isinstance(run("cache", "clear", "synthetic").exception, DataError)
    assert isinstance(run("cache", "clear", "x", "--damaged").exception, ConfigError)
    assert "FERVIT_CACHE_LIMIT is 'big'" in error_of(run("cache", env={"FERVIT_CACHE_LIMIT": "big"}))


def test_fetched_weights_are_listed_and_deleted_by_name_or_with_yes(cache_folder: Path) -> None:
    weights = cache_folder / "weights" / "small-0123456789ab"
    for _ in range(2):
        weights.mkdir(parents=True)
        (weights / "model.safetensors").write_bytes(bytes(2000))
        listed = " ".join(run("cache").output.split())
        assert "weights/small-0123456789ab weights of small, of another version of fervit 2.0 kB" in listed
        done = run("cache", "clear")
        assert weights.is_dir() and "kept: 1 entry with weights, 2.0 kB; --yes deletes them, too" in done.stderr
        assert f"{cache_folder}: 1 entry deleted, 2.0 kB freed" in run("cache", "clear", "--yes").output
        assert not weights.exists()
    weights.mkdir()
    (weights / "notes.txt").write_text("mine")
    assert "0 entries deleted" in run("cache", "clear", "--yes").output and weights.is_dir()
