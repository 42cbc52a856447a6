"""Python in a process of its own, with a bound on its memory and its time."""

import resource
import subprocess
import sys

MEMORY = 6 << 30  # of addresses, most of which torch's libraries reserve and never touch
RESIDENT_KB = 2_000_000
REPORT = """
from pathlib import Path
from fervit.errors import FervitError
try:
{code}
except FervitError as error:
    print("REFUSED", error)
else:
    print("ACCEPTED")
status = Path("/proc/self/status").read_text()  # unlike getrusage, it does not count what the parent had in memory
print("PEAK", status.split("VmHWM:")[1].split()[0])
"""


def refusal(code: str, *, seconds: float = 60) -> str:
    """Run code that a `FervitError` must end in `seconds` s and below 2 GB; return its message, which is one line."""
    indented = "\n".join(f"    {line}" for line in code.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(code=indented)],
        capture_output=True,
        text=True,
        timeout=seconds,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, peak = done.stdout.rstrip().rsplit("\nPEAK ", 1)
    assert said.startswith("REFUSED ") and len(said.splitlines()) == 1, said[:2000]
    assert int(peak) < RESIDENT_KB
    assert len(said) < 1000
    return said.removeprefix("REFUSED ")
