"""Folders that runs write to: one process at a time holds them, and a kill leaves them usable."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fervit.errors import ConfigError
from fervit.folders import ASIDE, LOCK_FILE, RUN_FILE, clear_run, holds_nothing, locked, recover, run_folder

HOLD = """
import sys, time
from pathlib import Path
from fervit.folders import run_folder
with run_folder(Path(sys.argv[1]), resume=True):
    print("held", flush=True)
    time.sleep(60)
"""


def a_run(folder: Path) -> Path:
    (folder / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (folder / "checkpoints" / "checkpoint-1" / "state").write_text("1")
    (folder / "metrics.csv").write_text("epoch\n")
    (folder / RUN_FILE).write_text("{}")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_made_held_and_deleted_again_where_nothing_was_written(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "mine"
    with run_folder(out):
        assert (out / LOCK_FILE).read_text().strip() == str(os.getpid())
    assert names(tmp_path) == []
    with run_folder(out):
        (out / "model").touch()
    assert names(out) == ["model"]


def test_a_folder_that_another_process_holds_is_refused_and_a_kill_releases_it(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        for resume in (True, False):
            found = pytest.raises(ConfigError, match=rf"in use by process {other.pid}: .* another --out")
            with found, run_folder(out, resume=resume, overwrite=not resume):
                pytest.fail("it is held")
        other.kill()
    assert (out / LOCK_FILE).is_file()
    with run_folder(out, resume=True):
        pass
    assert names(out) == ["checkpoints", "metrics.csv", RUN_FILE]


def test_a_caller_that_holds_the_folder_can_call_what_holds_it_and_another_thread_cannot(tmp_path: Path) -> None:
    found: list[str] = []

    def elsewhere() -> None:
        try:
            with locked(tmp_path / "run"):
                pytest.fail("it is held")
        except ConfigError as error:
            found.append(str(error))

    with locked(tmp_path / "run"):
        with locked(tmp_path / "run"):
            pass
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "in use" in found[0]


def test_an_error_of_the_block_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "run"), locked(tmp_path / "run"):
        (tmp_path / "absent").read_text()


@pytest.mark.parametrize("size", ["2", " 16 "])
def test_one_of_several_processes_of_a_launcher_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(ConfigError, match=r"WORLD_SIZE is \d+: .* start it without torchrun"), locked(tmp_path / "run"):
        pytest.fail("there are two")
    assert names(tmp_path) == []


@pytest.mark.parametrize("size", ["1", "", "some"])
def test_the_only_process_of_a_launcher_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with locked(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "run", Path("/proc/run"), tmp_path / ("long" * 100)):
        with pytest.raises(ConfigError, match="cannot write"), run_folder(out):
            pytest.fail("it cannot be written")


def test_a_run_is_deleted_in_place(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(out)
    with run_folder(tmp_path / "link", overwrite=True):
        clear_run(tmp_path / "link")
        assert names(out) == [LOCK_FILE]


@pytest.mark.parametrize("moved", range(4))
def test_a_kill_before_the_whole_run_was_set_aside_keeps_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    out = a_run(tmp_path / "run")
    rename, count = Path.rename, 0

    def killed(self: Path, target: Path | None = None) -> Path:
        nonlocal count
        count += 1
        if count > moved or target is None:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clear_run(out)
    if moved == 3:  # all three, run.json at the end: only the deletion was left
        assert names(out) == [ASIDE] and holds_nothing(out)
        with run_folder(out), run_folder(out, resume=True), run_folder(out, overwrite=True):
            recover(out)
        assert not out.exists() or names(out) == []
    else:
        with run_folder(out, resume=True):
            recover(out)
        assert names(out) == ["checkpoints", "metrics.csv", RUN_FILE]
        assert (out / "checkpoints" / "checkpoint-1" / "state").read_text() == "1"


def test_a_kill_while_it_is_deleted_leaves_what_can_be_overwritten_and_resumed(tmp_path: Path) -> None:
    for flags in ({"overwrite": True}, {"resume": True}, {}):
        out = tmp_path / "run"
        half = out / ASIDE
        a_run(half)
        (half / "metrics.csv").unlink()
        with run_folder(out, **flags):
            clear_run(out)
            assert names(out) == [LOCK_FILE]


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locked(tmp_path / "run"):
        assert "without locks" in caplog.text
