"""Programs of tests that run in a process of their own, with a limit on their time."""

import os
import subprocess
import sys

from tests.helpers import ROOT


def run_program(program: str, *arguments: object, limit_s: float = 60, env: dict[str, str] | None = None) -> str:
    """Run Python source in a process of its own and return what it printed.

    Raises:
        AssertionError: it failed, or took longer than `limit_s`; its whole process group is ended.
    """
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), **(env or {})},
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        raise AssertionError(f"still running after {limit_s:g} s; it printed:\n{output}") from None
    assert process.returncode == 0, output
    return output
