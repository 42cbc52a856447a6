"""Standard streams that are closed, full or without a reader end every command cleanly."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="pipes and shells of POSIX systems"),
    pytest.mark.slow,  # every case is a process of its own, or several
]
FERVIT = [sys.executable, "-m", "fervit"]
MANY = 40  # photos; their rows come one after the other for a second or so


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a folder of their own: some write into the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k in range(MANY):
        Image.fromarray(np.full((48, 48, 3), 5 * k, np.uint8)).save(folder / f"{k:02}.png")
    return folder


def shell(script: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run fervit as `"$@"` within a line of bash."""
    command = ["bash", "-o", "pipefail", "-c", script, "bash", *FERVIT, *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment, errors="replace"
    )


def without_reader(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run fervit with a pipe as its stdout that nobody reads from the start."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [*FERVIT, *map(str, arguments)]
        return subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    finally:
        os.close(writer)


def assert_clean(done: subprocess.CompletedProcess[str], statuses: tuple[int, ...]) -> None:
    assert done.returncode in statuses, done.stderr
    for noise in ("Traceback", "Exception ignored", "Error"):
        assert noise not in done.stderr


COMMANDS = {
    "version": ["--version"],
    "help": ["--help"],
    "a command's help": ["train", "--help"],
    "a photo": ["predict", "{photos}/00.png", "--model", "{model}", "--crop"],
    "rows": ["predict", "{photos}", "--model", "{model}", "--crop", "--json", "-"],
    "a table": ["predict", "{photos}", "--model", "{model}", "--crop"],
    "evaluation": ["evaluate", "{model}", "--data", "synthetic:70"],
    "evaluation as JSON": ["evaluate", "{model}", "--data", "synthetic:70", "--json", "-"],
    "inspection": ["data", "inspect", "synthetic:70"],
    "comparison": ["compare", "{model}", "{model}", "--data", "synthetic:70"],
    "robustness": ["robustness", "{model}", "--data", "synthetic:35", "--json", "-"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stdout_that_nobody_reads_ends_every_command_with_141_and_a_closed_one_with_0(
    name: str, photos: Path, tiny_onnx: Path
) -> None:
    arguments = [part.format(photos=photos, model=tiny_onnx) for part in COMMANDS[name]]
    assert_clean(without_reader(*arguments), (141,))
    assert_clean(shell('"$@" >&-', *arguments), (0,))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("rows", [[], ["--json", "-"], ["--json", "/dev/stdout"]])
def test_head_gets_its_line_and_the_run_ends(rows: list[str], unbuffered: str, photos: Path, tiny_onnx: Path) -> None:
    arguments = ["predict", photos, "--model", tiny_onnx, "--crop", "--batch-size", 1, *rows]
    done = shell('"$@" | head -1', *arguments, PYTHONUNBUFFERED=unbuffered)
    assert_clean(done, (141, 0))
    assert "00.png" in done.stdout and len(done.stdout.splitlines()) == 1
    assert_clean(shell('"$@" 2>&1 | head -1', *arguments, PYTHONUNBUFFERED=unbuffered), (141, 0))


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_number_of_a_closed_stream(closed: str, photos: Path, tiny_onnx: Path) -> None:
    before = {path: path.read_bytes() for path in photos.iterdir()}
    arguments = ["predict", photos, "--model", tiny_onnx, "--crop"]
    for rows in ([], ["--json", "-"], ["--json", "/dev/stdout"]):
        assert_clean(shell(f'"$@" {closed}', *arguments, *rows), (0,))
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_a_run_whose_results_go_to_a_file_goes_on_when_nobody_reads_its_messages(
    photos: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.json"
    for ending in ("2> >(exit 0)", "2>/dev/full", "2>&-", "2>&1 | head -c 1"):
        done = shell(f'"$@" {ending}', "predict", photos, "--model", tiny_onnx, "--crop", "--json", rows, "--overwrite")
        assert done.returncode == 0
        assert len(rows.read_text().splitlines()) == MANY


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["predict", "{photos}/00.png", "--model", "{model}", "--crop"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments: list[str], photos: Path, tiny_onnx: Path) -> None:
    done = shell('"$@" >/dev/full', *(part.format(photos=photos, model=tiny_onnx) for part in arguments))
    assert done.returncode == 2
    assert done.stderr == "fervit: cannot write to stdout: No space left on device\n"


ODD = [b"n\xff.png", b"n\xfe.png", rb"n\xff.png", b"\xef\xbf\xbd.png", "ü.png".encode()]
"""Names that must not fall together; the third has a backslash, and the fourth what stands for an unreadable byte."""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    if sys.platform != "linux":
        pytest.skip("such names are of Linux")
    folder = tmp_path / "odd"
    folder.mkdir()
    for k, name in enumerate(ODD):
        Image.new("RGB", (48, 48), (40 * k, 0, 0)).save(folder / "a.png")
        (folder / "a.png").rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    return folder


def test_names_that_are_not_utf8_stay_apart_in_every_output(odd: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    files = {kind: tmp_path / f"rows.{kind}" for kind in ("json", "csv", "parquet")}
    options = itertools.chain.from_iterable((f"--{kind}", path) for kind, path in files.items())
    done = shell('"$@"', "predict", odd, "--model", tiny_onnx, "--crop", *options, "--annotate", tmp_path / "out")
    assert_clean(done, (0,))
    names = {json.loads(line)["source"] for line in files["json"].read_text("utf-8").splitlines()}
    assert {name.rpartition("/")[2] for name in names} == {
        r"n\xff.png", r"n\xfe.png", r"n\\xff.png", "\N{REPLACEMENT CHARACTER}.png", "ü.png",
    }  # fmt: skip
    assert set(pandas.read_csv(files["csv"]).source) == set(pandas.read_parquet(files["parquet"]).source) == names
    assert sorted(os.fsencode(path.name) for path in (tmp_path / "out").iterdir()) == sorted(ODD)


def test_skip_done_drops_none_of_them(odd: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    first, second, third = (os.fsdecode(os.fsencode(odd) + b"/" + name) for name in ODD[:3])
    command = ["predict", "--model", tiny_onnx, "--crop", "--json", rows]
    assert_clean(shell('"$@"', *command, first, second), (0,))
    done = shell('"$@"', *command, "--skip-done", first, second, third)
    assert "1 of 3 images were done before" in done.stderr  # the last of a run may be cut off and is done again
    sources = [json.loads(line)["source"] for line in rows.read_text("utf-8").splitlines()]
    assert len(sources) == len(set(sources)) == 3


def test_a_damaged_file_is_told_in_one_line_and_not_in_its_librarys_words(tmp_path: Path, tiny_onnx: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker" * 20
    Image.new("RGB", (48, 48)).save(tmp_path / "exif.jpg", exif=exif)
    data = bytearray((tmp_path / "exif.jpg").read_bytes())
    at = data.index(b"Exif") + 6 + 16  # the offset of the maker's name
    data[at : at + 8] = b"\xff\xff\xff\x7f" * 2
    (tmp_path / "exif.jpg").write_bytes(data)
    done = shell('"$@"', "predict", tmp_path / "exif.jpg", "--model", tiny_onnx, "--crop")
    assert done.returncode == 0
    assert done.stderr == ""
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    done = shell('"$@"', "predict", tmp_path / "cut.mp4", "--model", tiny_onnx)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
