"""Damaged images and videos of every format end in a result or in one clear line: no other error, hang or crash.

FERVIT_FUZZ_CASES=20000 pytest tests/media/test_fuzz.py -k damaged -s     # before a release
FERVIT_FUZZ_START=1234 FERVIT_FUZZ_CASES=1 pytest tests/media/test_fuzz.py -k damaged     # one case again
"""

import os
import sys
from pathlib import Path

import pytest

from tests.helpers.fuzzing.cases import make_case
from tests.helpers.fuzzing.watchdog import run_cases

START, CASES = int(os.environ.get("FERVIT_FUZZ_START", "0")), int(os.environ.get("FERVIT_FUZZ_CASES", "500"))

pytest.importorskip("skimage", reason="the faces in the cases are of its photo")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its limits are those of POSIX systems")


@pytest.mark.slow
@pytest.mark.timeout(120 + CASES)
def test_damaged_files_end_in_a_result_or_one_clear_line(tmp_path: Path) -> None:
    summary = run_cases(START, START + CASES, tmp_path)
    print(summary.table())  # noqa: T201  (the counts of a long run)
    assert not summary.failures, "\n\n".join(map(str, summary.failures))
    assert summary.cases == CASES
    if CASES >= 500:  # neither all refused nor all read, in any family: the test looks at what it means to
        for kind in ("jpeg", "png", "gif", "bmp", "ppm", "webp", "tiff", ".mp4", ".webm", ".avi"):
            assert summary.outcomes[kind, "read"] > 0 < summary.outcomes[kind, "refused"], kind


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "problem"),
    {
        "raises": "ValueError: not a FervitError",
        "talks": "a message of one printable line was expected",
        "spins": "hung: more than 2 s of processor time",
        "waits": "hung: did nothing for 2 s",
        "crashes": "crashed: SIGSEGV",
        "hoards": "MB of memory, more than",
        "returns floats": "image was expected, got (4, 4, 3) float64",
        "prints": "printed on stdout: 'hello",
    }.items(),
)
def test_a_reader_that_misbehaves_is_caught_with_its_case_and_its_file(
    broken: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "waits":
        monkeypatch.setattr("tests.helpers.fuzzing.watchdog.MOST_WALL_S", 2.0)
    summary = run_cases(40, 42, tmp_path, broken)
    assert [failure.seed for failure in summary.failures] == [40, 41], "the run goes on after a failure"
    for failure in summary.failures:
        assert problem in str(failure)
        assert f"FERVIT_FUZZ_START={failure.seed} FERVIT_FUZZ_CASES=1" in str(failure)
        assert Path(failure.path).read_bytes() == make_case(failure.seed).data
        assert failure.path in str(failure)
        if broken in ("raises", "spins", "crashes"):  # where it was, also of a process that died
            assert f"in _{broken}" in failure.detail


def test_a_case_follows_from_its_number() -> None:
    assert make_case(7) == make_case(7)
    assert len({make_case(seed).data for seed in range(30)}) > 25
