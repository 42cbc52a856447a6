"""A process ends with its parent, by the kernel's help or by a thread that watches."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.served import all_end

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SCRIPT = """
import multiprocessing, signal, sys, time
from fervit.serve.transport import parent

def child(by_kernel, connection):
    if not by_kernel:
        parent._ask_kernel = lambda number: False
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent.signal_on_parent_death({number})
    connection.send("ready")
    time.sleep(60)

if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=child, args=({by_kernel}, theirs))
    process.start()
    ours.recv()
    print(process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", ["15", "parent.KILL"])
@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_child_gets_its_signal_when_the_parent_is_killed(by_kernel: bool, number: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(by_kernel=by_kernel, number=number))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert not all_end([child], within_s=0.3)
        process.kill()
    assert all_end([child])


def test_a_process_without_a_parent_of_ours_is_left_alone() -> None:
    run = "from fervit.serve.transport.parent import signal_on_parent_death as s; s(9); print('lives')"
    assert subprocess.run([sys.executable, "-c", run], capture_output=True).stdout == b"lives\n"
